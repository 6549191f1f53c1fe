#!/usr/bin/env bash
# verl 0.9.1, math_dapo: words from a list of units (square, dollars, degrees, ways, feet ...) are taken
# out wherever they stand, also inside other words and where they are the whole answer. So "dollars" is
# "square" (both are empty), a half-left word is graded, and a left side goes whatever it holds: 2x=5 is 5.
# A full stop behind the answer makes it wrong.
#
# Expected: an answer that is a word is compared as a word; x must be 5, not 2x.
# Seen: as printed below.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps verl==0.9.1 2>/dev/null
seen="$("$work/venv/bin/python" - <<'PY'
import pathlib, runpy, sysconfig

folder = pathlib.Path(sysconfig.get_path("purelib"), "verl", "utils", "reward_score")
score = runpy.run_path(str(folder / "math_dapo.py"))["compute_score"]
for text, gold in [("dollars", "square"), ("always", "al"), ("2x=5", "5"), ("5.", "5"), ("1/2", r"\frac{1}{2}")]:
    print(f"Answer: {text} for {gold}: {score('Answer: ' + text, gold)['score']:+.0f}")
PY
)"
echo "$seen"
expected="Answer: dollars for square: +1
Answer: always for al: +1
Answer: 2x=5 for 5: +1
Answer: 5. for 5: -1
Answer: 1/2 for \\frac{1}{2}: -1"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
