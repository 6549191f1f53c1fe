#!/bin/sh
# reasoning-gym 0.1.25: data sets of neighbouring seeds are the same questions, moved by one.
# Question i of seed s is drawn from Random(s + i), so that a "held-out" set with the next seed
# shares all its questions but one with the training set. Seen: 99 of 100 shared for seeds 1 and 2,
# none for seeds 1 and 1000001.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check reasoning-gym==0.1.25
"$folder/venv/bin/python" - <<'PY'
from reasoning_gym import create_dataset

def asked(seed):
    return {item["question"] for item in create_dataset("chain_sum", seed=seed, size=100)}

near, far = len(asked(1) & asked(2)), len(asked(1) & asked(1_000_001))
print(f"shared by seeds 1 and 2: {near} of 100; by seeds 1 and 1000001: {far}")
raise SystemExit(0 if (near, far) == (99, 0) else 1)
PY
