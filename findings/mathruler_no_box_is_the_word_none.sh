#!/usr/bin/env bash
# mathruler 0.1.0: `extract_boxed_content` gives the four letters None, a string, for a text without a
# box, and for a text whose last box is cut off though an earlier one is whole. `grade_answer` then
# compares that word like any answer, so a missing answer can agree with a gold ("None", "none").
#
# Expected: None, the object, and a missing answer that equals nothing.
# Seen: the str 'None'; it is graded True against the gold "none" (how many solutions? none).
# What follows: ask for the type of what an extractor returns, and grade a missing answer nowhere.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mathruler==0.1.0 sympy==1.14.0 pylatexenc==2.10 tqdm==4.67.1 2>/dev/null
seen="$("$work/venv/bin/python" -W ignore - <<'PY'
from mathruler.grader import extract_boxed_content, grade_answer

nothing = extract_boxed_content("I am not sure.")
cut = extract_boxed_content(r"So \boxed{5}, that is \boxed{")
print(f"no box: {type(nothing).__name__} {nothing}; a good box before a cut one: {cut}")
print(f"graded against the gold none: {grade_answer(nothing, 'none')}")
PY
)"
echo "$seen"
expected="no box: str None; a good box before a cut one: None
graded against the gold none: True"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
