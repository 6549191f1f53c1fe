#!/usr/bin/env bash
# datasets 5.2.0: load_dataset("json") infers a type from what quoted strings look like. A column of
# answers such as "2011-06-11" becomes timestamps, and str() of one is "2011-06-11 00:00:00", which no
# answer of a model equals. One row that is no date keeps the whole column as strings, so the type of
# a gold depends on the other rows of the file (and differs between splits).
#
# Expected: a quoted JSON string is a string.
# Seen: timestamp[s] for the first file, string for the second.
# What follows: give the features, or read JSON lines with the json module.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q datasets==5.2.0 pyarrow==26.0.1 2>/dev/null
seen="$(cd "$work" && HF_HUB_OFFLINE=1 "$work/venv/bin/python" - 2>/dev/null <<'PY'
import json
import datasets

datasets.disable_progress_bars()
for name, answers in [("dates", ["2011-06-11", "2012-02-29"]), ("mixed", ["2011-06-11", "in May"])]:
    with open(f"{name}.jsonl", "w") as file:
        file.writelines(json.dumps({"question": "When?", "answer": a}) + "\n" for a in answers)
    rows = datasets.load_dataset("json", data_files=f"{name}.jsonl", split="train", cache_dir="cache")
    print(f"{name}: {rows.features['answer'].dtype}, {rows[0]['answer']}")
PY
)"
echo "$seen"
expected="dates: timestamp[s], 2011-06-11 00:00:00
mixed: string, 2011-06-11"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
