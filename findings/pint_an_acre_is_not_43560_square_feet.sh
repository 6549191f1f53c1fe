#!/bin/sh
# pint 0.25.3: an acre is made of US survey feet, a foot is the international one, so
# Quantity(1, "acre").to("ft^2") is 43560.174...: 4 millionths off, more than the tolerance of 1e-6
# with which graders forgive float noise. The textbook answer "43,560 ft^2" for "1 acre" is refused.
# Seen with Python 3.11. Exits non-zero if that changes.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pint==0.25.3
"$folder/venv/bin/python" - <<'PYTHON'
import math

import pint

feet = pint.UnitRegistry().Quantity(1, "acre").to("ft^2").magnitude
print(f"1 acre = {feet} square feet")
assert math.isclose(feet, 43560.174, rel_tol=1e-8)
assert not math.isclose(feet, 43560, rel_tol=1e-6)
PYTHON
