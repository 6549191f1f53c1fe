#!/bin/bash
# latex2sympy2_extended 1.11.0 reads the letter \gamma as the gamma function of what follows it: the
# Lorentz factor in m(\gamma^{2}-1) becomes complex infinity, so that the expression holds `zoo`
# whatever else stands in it, and two different energies are equal for a grader built on it
# (math-verify 0.9.0). Other marks vanish without an error: the base of 2516_{9}, the exponent of
# x^{T} (a transpose, of a scalar too), the prime of f'(x); and R-r is 0, since case is folded.
# Seen: "gamma True; base 2516; power x; prime f(x); case 0; verify True".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" -q install latex2sympy2_extended==1.11.0 math-verify==0.9.0 sympy==1.14.0 \
  antlr4-python3-runtime==4.13.2
seen=$("$folder/env/bin/python" - <<'PY'
import sympy
from latex2sympy2_extended import latex2sympy
from math_verify import parse, verify

left, right = r"$m(\gamma^{2}-1)$", r"$m(\gamma^{2}-5)$"
told = [
    f"gamma {latex2sympy(chr(92) + 'gamma^{2}-1').has(sympy.zoo)}",
    f"base {latex2sympy('2516_{9}')}",
    f"power {latex2sympy('x^{T}')}",
    f"prime {latex2sympy(chr(102) + chr(39) + '(x)')}",
    f"case {latex2sympy('R-r').doit()}",
    f"verify {verify(parse(left), parse(right))}",
]
print("; ".join(told))
PY
)
echo "$seen"
test "$seen" = "gamma True; base 2516; power x; prime f(x); case 0; verify True"
