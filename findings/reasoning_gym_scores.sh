#!/bin/sh
# reasoning-gym 0.1.25: scores that a reader of its examples would not expect.
# 1. game_of_life_halting takes every text that is not empty for right: it compares the truth value
#    of two texts, and bool("False") is True. Seen: "False" and "no idea" score 1.0 for "True".
# 2. The scorer of arc_agi needs tuples in the entry: written to JSON and read back (lists), an
#    entry's own answer falls from 1.0 to 0.05.
# 3. Scorers give credit for any text: countdown 0.01, sentence_reordering 0.05 for the empty text.
# 4. prime_factorization raises on a text that is no number, where the others return 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check reasoning-gym==0.1.25
"$folder/venv/bin/python" - <<'PY'
import json
from reasoning_gym import create_dataset

def first(name):
    data = create_dataset(name, seed=7, size=1)
    return data, data[0]

data, entry = first("game_of_life_halting")
halting = [data.score_answer(text, entry) for text in ("True", "False", "no idea")]
data, entry = first("arc_agi")
back = json.loads(json.dumps(entry))
arc = [data.score_answer(entry["answer"], e) for e in (entry, back)]
floors = []
for name in ("countdown", "sentence_reordering"):
    data, entry = first(name)
    floors.append(data.score_answer("", entry))
data, entry = first("prime_factorization")
try:
    raised = f"returned {data.score_answer('three', entry)}"
except ValueError as error:
    raised = type(error).__name__
print("game_of_life_halting, for three texts:", halting)
print("arc_agi, its own answer, before and after JSON:", arc)
print("the empty text in countdown and sentence_reordering:", floors)
print("prime_factorization on a word:", raised)
seen = (halting, arc, floors, raised)
raise SystemExit(seen != ([1.0] * 3, [1.0, 0.05], [0.01, 0.05], "ValueError"))
PY
