#!/usr/bin/env bash
# transformers 5.23: the tokenizer of a GGUF file is cut as GPT-2 cuts text whenever the file names a rule
# (`tokenizer.ggml.pre`) that transformers does not list, "smollm" among them, without a warning.
#
# Expected: the rule that the file names (SmolLM: every digit apart), or a refusal, as for unknown vocabularies.
# Seen with transformers 5.23.0 and gguf 0.19.0: a text of three spaces and two digits is cut alike under "smollm",
# "gpt-2" and a name that nobody has: the last space goes to the number, and the digits stay together. By
# SmolLM's rule the three spaces are one token and each digit another.
# What follows: set the pre-tokenizer by the file's name after loading, and refuse names that are not known.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "torch==2.13.0" "transformers==5.23.0" "gguf==0.19.0" "accelerate==1.15.0" 2>/dev/null
cat > "$work/look.py" <<'PY'
import sys
import gguf
import numpy
import transformers

tokens = ["Ġ", "1", "2", "ĠĠ", "ĠĠĠ", "12", "<|endoftext|>"]
for pre in ("smollm", "gpt-2", "no-such-rule"):
    writer = gguf.GGUFWriter(f"{sys.argv[1]}/{pre}.gguf", "llama")
    writer.add_name("tiny")
    writer.add_block_count(1)
    writer.add_embedding_length(16)
    writer.add_head_count(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 6 + [3])
    writer.add_token_merges(["Ġ Ġ", "ĠĠ Ġ", "1 2"])
    writer.add_eos_token_id(6)
    writer.add_tensor("token_embd.weight", numpy.zeros((7, 16), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    loaded = transformers.AutoTokenizer.from_pretrained(sys.argv[1], gguf_file=f"{pre}.gguf")
    print(pre, loaded.convert_ids_to_tokens(loaded("   12", add_special_tokens=False).input_ids))
PY
seen="$("$work/venv/bin/python" "$work/look.py" "$work" 2>/dev/null)"
echo "$seen"
expected="smollm ['ĠĠ', 'Ġ', '12']
gpt-2 ['ĠĠ', 'Ġ', '12']
no-such-rule ['ĠĠ', 'Ġ', '12']"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
