#!/usr/bin/env bash
# safetensors 0.8.0 writes weights that only their owner may read (mode 0600), whatever the umask says;
# 0.5.3 follows the umask (0644 here). A model directory then holds a config.json that everybody reads
# beside weights that nobody else can, and a server or a colleague on the same cluster gets
# "Permission denied" from a directory that looks whole.
#
# Expected: weights get the mode of the other files in their directory.
# Seen with umask 022: 0.5.3 writes 644, 0.8.0 writes 600; the JSON beside it is 644 both times.
# What follows: set the mode after saving.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
umask 022
seen=""
for version in 0.5.3 0.8.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q "safetensors==$version" numpy==2.2.6 2>/dev/null
    (cd "$work" && "$work/$version/bin/python" - <<'PY'
import numpy
from safetensors.numpy import save_file

save_file({"weight": numpy.zeros(2)}, "model.safetensors")
open("config.json", "w").write("{}")
PY
    )
    line="safetensors $version: weights $(stat -c %a "$work/model.safetensors"), config $(stat -c %a "$work/config.json")"
    echo "$line"; seen+="$line"$'\n'
    rm "$work/model.safetensors"
done
expected="safetensors 0.5.3: weights 644, config 644
safetensors 0.8.0: weights 600, config 644
"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
