#!/bin/sh
# pint 0.25.3: symbols of everyday medicine, finance and physics parse without a complaint, and mean
# something else. A grader that trusts "pint knows the unit" converts by them.
#   "units" is a micronit (a prefix u- on the nit), so 10 units of insulin are a luminance; "Nm" is
#   the textile "number metric" (m/g), no torque; "bps" is baud and "bp" a typographer's point;
#   "kmph" is a kilomile per hour; "AU" an absorbance unit (astronomical ones are "au"); "cfm" is a
#   centifermi; "ppt" a picopint; "Pas" a pascal (a plural), no pascal second; "decade" is
#   dimensionless, so two decades are no 20 years. mEq, IU, bpm and USD it does not know at all.
# Seen (the script's output) with Python 3.11. Exits non-zero if that changes.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pint==0.25.3
"$folder/venv/bin/python" - <<'PYTHON'
import pint

registry = pint.UnitRegistry()
seen = {name: str(registry.parse_units(name)) for name in
        ("units", "Nm", "bps", "bp", "kmph", "AU", "cfm", "ppt", "Pas", "decade")}
print(seen)
assert seen == {
    "units": "micronit", "Nm": "number_meter", "bps": "baud", "bp": "point",
    "kmph": "kilomile_per_hour", "AU": "absorbance_unit", "cfm": "centifermi", "ppt": "picopint",
    "Pas": "pascal", "decade": "decade",
}
assert registry.Quantity(1, "decade").dimensionless
for unknown in ("mEq", "IU", "bpm", "USD"):
    try:
        registry.parse_units(unknown)
    except pint.UndefinedUnitError:
        print(unknown, "is not defined")
    else:
        raise SystemExit(f"{unknown} is defined now")
PYTHON
