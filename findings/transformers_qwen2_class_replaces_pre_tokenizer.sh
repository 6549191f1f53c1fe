#!/usr/bin/env bash
# transformers 5: a tokenizer_config.json that names Qwen2Tokenizer replaces the pre-tokenizer of
# tokenizer.json by the regular expression in Qwen2's class. A tokenizer of one's own that splits
# otherwise (here: digits stay together) gets other ids than `tokenizers` gives for the same file, and
# every text still decodes to itself, so a round trip does not show it.
#
# Expected: ids are those of tokenizer.json, as transformers 4 gave them.
# Seen with transformers 4.57.1: equal. Seen with 5.23.0: other ids, same text.
# What follows: compare ids with those of tokenizer.json read alone; a round trip is not enough.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
cat > "$work/look.py" <<'PY'
import json, pathlib, sys
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = "1234 apples and 1234 pears"
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator([TEXT] * 5, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
folder = pathlib.Path(sys.argv[1])
tokenizer.save(str(folder / "tokenizer.json"))
(folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
(folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Qwen2Tokenizer"}))
loaded = transformers.AutoTokenizer.from_pretrained(folder)
ids = loaded(TEXT, add_special_tokens=False).input_ids
same = ids == tokenizer.encode(TEXT).ids
print(f"transformers {transformers.__version__}: same ids {same}, same text {loaded.decode(ids) == TEXT}")
PY
seen=""
for version in 4.57.1 5.23.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q "transformers==$version" 2>/dev/null
    mkdir "$work/model-$version"
    line="$("$work/$version/bin/python" "$work/look.py" "$work/model-$version" 2>/dev/null)"
    echo "$line"; seen+="$line"$'\n'
done
expected="transformers 4.57.1: same ids True, same text True
transformers 5.23.0: same ids False, same text True
"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
