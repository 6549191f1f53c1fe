#!/bin/bash
# math-verify 0.9.0 compares a bare gold with the right side of whatever equation the answer is, and
# with the left of an approximation: for the gold 5 it accepts x+y=5, 2x=5, x^2=5 and the congruence
# x \equiv 5; for 12 it accepts 12 \approx 13; and for the gold x+y=5 it accepts 5. It does so in its
# default, "strict" mode, in which one would expect an equation to be more than its right side.
# Seen: "True True True True True True".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" -q install math-verify==0.9.0 latex2sympy2_extended==1.11.0 sympy==1.14.0 \
  antlr4-python3-runtime==4.13.2
seen=$("$folder/env/bin/python" - <<'PY'
from math_verify import parse, verify

pairs = [("5", "x+y=5"), ("5", "2x=5"), ("5", "x^2=5"), ("5", r"x \equiv 5"), ("12", r"12 \approx 13")]
pairs.append(("x+y=5", "5"))
print(*(verify(parse(f"${gold}$"), parse(f"${said}$")) for gold, said in pairs))
PY
)
echo "$seen"
test "$seen" = "True True True True True True"
