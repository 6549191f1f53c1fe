#!/usr/bin/env bash
# verl 0.9.1, the reward of data_source "openai/gsm8k": the pattern for a number takes the full stop
# behind it, and the text is then compared with the gold letter for letter. A right answer at the end
# of a sentence gets 0, in the strict reading (after ####) and in the flexible one (the last number).
# The flexible reading also keeps the comma of 1,000, which the strict one takes out, so it refuses
# what the strict one accepts.
#
# Expected: "#### 5." is 5; flexible accepts whatever strict accepts.
# Seen: 0 for both readings of a sentence that ends in a full stop; 1 and 0 for "#### 1,000".
# The file is run by its path, without the trainer around it, so no torch is needed.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps verl==0.9.1 2>/dev/null
seen="$("$work/venv/bin/python" - <<'PY'
import pathlib, runpy, sysconfig

folder = pathlib.Path(sysconfig.get_path("purelib"), "verl", "utils", "reward_score")
score = runpy.run_path(str(folder / "gsm8k.py"))["compute_score"]
for text, gold in [("#### 5", "5"), ("#### 5.", "5"), ("The answer is 5.", "5"), ("#### 1,000", "1000")]:
    strict, flexible = (float(score(text, gold, method=m)) for m in ("strict", "flexible"))
    print(f"{text!r} for {gold}: strict {strict:.0f}, flexible {flexible:.0f}")
PY
)"
echo "$seen"
expected="'#### 5' for 5: strict 1, flexible 1
'#### 5.' for 5: strict 0, flexible 0
'The answer is 5.' for 5: strict 0, flexible 0
'#### 1,000' for 1000: strict 1, flexible 0"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
