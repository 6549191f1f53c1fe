#!/usr/bin/env bash
# verl 0.9.1: the name in a row's data_source decides what the reward means. The same wrong answer is
# 0 under "HuggingFaceH4/MATH-500" and -1 under "math" or any name that begins with "aime", and the
# same right answer is right under one and wrong under the other (a boxed 0.5 for 1/2).
#
# Expected: the name chooses a data set, rewards of mathematics share one scale.
# Seen: 0/1 for MATH-500's names, -1/+1 with a dictionary for the others.
# What follows: a mixture of data sets trains on two scales, and a mean reward of -0.2 may be 40 % right.
# The files are run without the trainer around them, so no torch is needed: the packages above
# reward_score are entered by their folders only.
set -euo pipefail
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps verl==0.9.1 2>/dev/null
seen="$("$work/venv/bin/python" -W ignore - <<'PY'
import pathlib, sys, sysconfig, types

folder = pathlib.Path(sysconfig.get_path("purelib"), "verl")
for name, path in [("verl", folder), ("verl.utils", folder / "utils")]:
    module = types.ModuleType(name)
    module.__path__ = [str(path)]
    sys.modules[name] = module
from verl.utils.reward_score import default_compute_score

for source in ["HuggingFaceH4/MATH-500", "math", "aime2025"]:
    rewards = []
    for text, gold in [(r"\boxed{6}", "5"), (r"\boxed{5}", "5"), (r"Answer: \boxed{0.5}", r"\frac{1}{2}")]:
        reward = default_compute_score(source, text, gold)
        rewards.append(reward["score"] if isinstance(reward, dict) else reward)
    print(source, *rewards)
PY
)"
echo "$seen"
expected="HuggingFaceH4/MATH-500 0.0 1.0 1.0
math -1.0 1.0 -1.0
aime2025 -1.0 1.0 -1.0"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
