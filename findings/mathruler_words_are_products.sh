#!/usr/bin/env bash
# mathruler 0.1.0, the grader of verl's EasyR1 line: `grade_answer` hands what is left of an answer to
# sympy, where a word is a product of its letters and products commute. Words with the same letters
# are one answer: "on" is "no", the congruence "SSA" is "SAS". Letter case is folded before, so "R-r"
# is "r-r". Brackets round a pair are dropped when they look like a number with a thousands mark: the
# point (1,234) is the number 1234.
#
# Expected: words are compared as words, a point is not a number.
# Seen: True for each of the first four, False for a pair in another order.
# What follows: words need a rule of their own before algebra sees them.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mathruler==0.1.0 sympy==1.14.0 pylatexenc==2.10 tqdm==4.67.1 2>/dev/null
seen="$("$work/venv/bin/python" -W ignore - <<'PY'
from mathruler.grader import grade_answer

for answer, gold in [("on", "no"), ("SSA", "SAS"), ("R-r", "r-r"), ("(1,234)", "1234"), ("(2,1)", "(1,2)")]:
    print(f"answer {answer}, gold {gold}: {grade_answer(answer, gold)}")
PY
)"
echo "$seen"
expected="answer on, gold no: True
answer SSA, gold SAS: True
answer R-r, gold r-r: True
answer (1,234), gold 1234: True
answer (2,1), gold (1,2): False"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
