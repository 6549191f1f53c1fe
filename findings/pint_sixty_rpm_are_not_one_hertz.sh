#!/bin/sh
# pint 0.25.3: Quantity(60, "rpm").to("Hz") is 6.283..., not 1: a revolution is 2 pi radians, a radian
# is dimensionless, and a hertz is 1/s. So a grader that converts the answer into the gold's unit
# refuses "1 Hz" for "60 rpm" and accepts "6.28 Hz". By the same rule 5 Gy become 5 Sv: an absorbed
# dose and an equivalent dose are both J/kg.
# Seen with Python 3.11. Exits non-zero if that changes.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pint==0.25.3
"$folder/venv/bin/python" - <<'PYTHON'
import math

import pint

registry = pint.UnitRegistry()
hertz = registry.Quantity(60, "rpm").to("Hz").magnitude
sieverts = registry.Quantity(5, "Gy").to("Sv").magnitude
print(f"60 rpm = {hertz} Hz; 5 Gy = {sieverts} Sv")
assert math.isclose(hertz, 2 * math.pi)
assert math.isclose(sieverts, 5)
PYTHON
