#!/usr/bin/env bash
# transformers 5.5 to 5.20: a byte-level tokenizer whose tokenizer_config.json names LlamaTokenizer or
# LlamaTokenizerFast (as DeepSeek's distilled models do) is loaded with SentencePiece's pre-tokenizer
# and decoder instead of those in its tokenizer.json. Every space and line break is lost, without a warning.
#
# Expected: the class name is a hint and tokenizer.json decides, as `tokenizers` reads it.
# Seen with transformers 5.9.0: 'the sum of 3\nand 4' comes back as 'thesumof3and4'.
# Seen with transformers 5.23.0: the text comes back whole; a log line says that the class was replaced.
# What follows: encode and decode a text with spaces once after loading, whatever the version.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
cat > "$work/look.py" <<'PY'
import json, pathlib, sys
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = "the sum of 3\nand 4"
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator([TEXT] * 5, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
folder = pathlib.Path(sys.argv[1])
tokenizer.save(str(folder / "tokenizer.json"))
(folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
(folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizerFast"}))
loaded = transformers.AutoTokenizer.from_pretrained(folder)
back = loaded.decode(loaded(TEXT, add_special_tokens=False).input_ids)
alone = tokenizer.decode(tokenizer.encode(TEXT).ids)
print(f"transformers {transformers.__version__}: {back!r}; tokenizer.json alone: {alone!r}")
PY
seen=""
for version in 5.9.0 5.23.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q "transformers==$version" 2>/dev/null
    mkdir "$work/model-$version"
    line="$("$work/$version/bin/python" "$work/look.py" "$work/model-$version" 2>/dev/null)"
    echo "$line"; seen+="$line"$'\n'
done
expected="transformers 5.9.0: 'thesumof3and4'; tokenizer.json alone: 'the sum of 3\\nand 4'
transformers 5.23.0: 'the sum of 3\\nand 4'; tokenizer.json alone: 'the sum of 3\\nand 4'
"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
