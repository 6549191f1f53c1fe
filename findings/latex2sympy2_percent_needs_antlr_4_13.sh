#!/bin/bash
# latex2sympy2_extended 1.11.0 (sympy 1.14.0) ships one generated parser per antlr4 runtime, and they
# differ: with antlr4-python3-runtime 4.9.3 every percentage raises AttributeError ('AtomContext'
# object has no attribute 'FUNC_GAMMA'), with 4.13.2 the same texts are read. A plain install takes
# whichever runtime other packages (omegaconf and hydra pin 4.9.3) brought, so that one and the same
# grader refuses `5\%, 6\%` on a training machine and accepts it on a laptop.
# Seen: 4.9.3 "AttributeError" three times; 4.13.2 "read" three times.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
seen=""
for runtime in 4.9.3 4.13.2; do
  python3 -m venv "$folder/$runtime"
  "$folder/$runtime/bin/pip" -q install latex2sympy2_extended==1.11.0 sympy==1.14.0 \
    "antlr4-python3-runtime==$runtime"
  seen="$seen$("$folder/$runtime/bin/python" - "$runtime" <<'PY'
import sys

from latex2sympy2_extended import latex2sympy

for text in (r"5\%, 6\%", r"[5\%, 10\%]", r"\{5\%, 6\%\}"):
    try:
        latex2sympy(text)
        print(sys.argv[1], "read", end="; ")
    except AttributeError as error:
        print(sys.argv[1], type(error).__name__, end="; ")
PY
)"
done
echo "$seen"
old="4.9.3 AttributeError; "
new="4.13.2 read; "
test "$seen" = "$old$old$old$new$new$new"
