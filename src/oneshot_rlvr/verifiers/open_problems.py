"""Programs that say how far a text gets on an open problem, for the kind `custom`.

Each takes a text and its example and returns a number, or None where the text is no solution. Not
here: what the number is worth (custom.py).
"""

from __future__ import annotations

import re

from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers.base import option
from oneshot_rlvr.verifiers.custom import verifier

MAX_CHARS = 20_000


@verifier
def golomb_marks(text: str, example: Example) -> float | None:
    """How many marks a ruler has on which every distance between two marks occurs once.

    The marks are the different whole numbers of the text, in order, up to the first that lies
    beyond `extra["length"]` or repeats a distance. Golomb rulers: the largest known ones were found
    by searches of years, and which are optimal is open beyond 28 marks (OGR-28, distributed.net
    2022). Up to a length of 60 at most 10 marks fit (a ruler of 11 needs 72).
    """
    length = int(option(example, "length", int, 60))
    marks: set[int] = set()
    distances: set[int] = set()
    for digits in re.findall(r"[0-9]+", text[:MAX_CHARS]):
        mark = int(digits[:9])
        if mark in marks:
            continue
        new = {abs(mark - other) for other in marks}
        if mark > length or len(new) < len(marks) or new & distances:
            break
        marks.add(mark)
        distances |= new
    return float(len(marks)) if marks else None
