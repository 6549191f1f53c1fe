#!/usr/bin/env bash
# numba 0.68.1, numpy 2.4.6: a function with cache=True whose cache file is cut short (a full disk, a
# killed machine) does not compile again: the call raises, in this and every later process, until
# somebody removes the file: UnpicklingError for a cut index (.nbi) as for a cut entry (.nbc), while
# a missing entry is compiled again in silence.
# Seen (Python 3.11, x86-64 Linux):
#   whole: 8
#   missing entry: 8
#   cut entry: UnpicklingError, again: UnpicklingError
#   cut index: UnpicklingError, again: UnpicklingError
# Exits with 1 when a line is another one.
set -euo pipefail
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat > "$place/loops.py" <<'PYTHON'
from numba import njit

@njit(cache=True)
def twice(x):
    return 2 * x

try:
    print(twice(4))
except Exception as error:
    print(type(error).__name__)
PYTHON
call() { (cd "$place" && NUMBA_CACHE_DIR="$place/cache" venv/bin/python -B loops.py); }
cut_short() { for file in "$place"/cache/*/*."$1"; do truncate -s 20 "$file"; done; }
wanted="whole: 8
missing entry: 8
cut entry: UnpicklingError, again: UnpicklingError
cut index: UnpicklingError, again: UnpicklingError"
call > /dev/null
seen="whole: $(call)"
rm "$place"/cache/*/*.nbc
seen+=$'\n'"missing entry: $(call)"
cut_short nbc
seen+=$'\n'"cut entry: $(call), again: $(call)"
rm -r "$place/cache" && call > /dev/null
cut_short nbi
seen+=$'\n'"cut index: $(call), again: $(call)"
echo "$seen"
[ "$seen" = "$wanted" ]
