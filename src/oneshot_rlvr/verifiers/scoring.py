"""How good an answer is that is not right: scores in 0..1, each a pure function.

Not here: whether an answer is right, and what a score is worth (`rewards/arms.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Set
from itertools import pairwise

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers.base import shown

_ITEMS = re.compile(r"[,;\n]")


def edit_similarity(said: str, gold: str) -> float:
    """1 - (edits that make one text the other) / (characters of the longer one); 1: equal.

    Edits are insertions, deletions and substitutions of a character (Levenshtein 1966).
    """
    longest = max(len(said), len(gold))
    return 1.0 - edit_distance(said, gold) / longest if longest else 1.0


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's distance, a column of the table at a time as bits of one number.

    Myers, J. ACM 46 (1999), in the form of Hyyrö (2001): texts of 10,000 characters take
    milliseconds, where the table has 100 million cells.
    """
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for i, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << i
    whole, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    up, down, distance = whole, 0, len(one)  # +1 and -1 from one row of the column to the next
    for character in other:
        equal = places.get(character, 0) | down
        same = (((equal & up) + up) ^ up) | equal  # cells that equal the one above to the left
        right = (down | ~(same | up)) & whole
        left = same & up
        distance += bool(right & last) - bool(left & last)
        right = (right << 1 | 1) & whole
        left = left << 1 & whole
        up = (left | ~(same | right)) & whole
        down = right & same
    return distance


def items_of(text: str) -> frozenset[str]:
    """The items of a list that is written out: parted by commas, semicolons or lines, in
    brackets or not. Neither order nor repetition counts."""
    bare = text.strip().removeprefix("\\").strip("{}[]()\\ \n")
    return frozenset(filter(None, (" ".join(item.split()) for item in _ITEMS.split(bare))))


def overlap(said: Set[str], gold: Set[str]) -> float:
    """Items in both, of those in either (intersection over union, Jaccard 1901); 1: equal."""
    either = said | gold
    return len(said & gold) / len(either) if either else 1.0


def reached(value: float, worst: float, best: float) -> float:
    """Where a value lies between `worst` (0) and `best` (1), either of which may be the larger."""
    if not math.isfinite(value):
        return 0.0
    return min(1.0, max(0.0, (value - worst) / (best - worst)))


def bands_of(example: Example) -> list[tuple[float, float]]:
    """The option `bands` of a number: (relative error, score), the narrowest first.

    DataError unless errors are positive and a wider band scores less, below 1.
    """
    raw = example.extra.get("bands")
    if raw is None:
        return []
    try:
        bands = sorted((float(error), float(score)) for error, score in raw)
    except (TypeError, ValueError):
        bands = []
    scores = [score for _, score in bands]
    falling = all(left > right for left, right in pairwise(scores))
    if (
        not bands
        or not 0 < bands[0][0] <= bands[-1][0] < math.inf
        or not falling
        or not 0 < scores[-1] <= scores[0] < 1
    ):
        raise DataError(
            f"example {example.id!r}: option bands is {shown(str(raw))}; wanted pairs of a "
            "relative error and a score below 1, such as [[0.01, 0.8], [0.1, 0.5]], wider ones "
            "with less."
        )
    return bands
