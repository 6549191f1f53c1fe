"""Whether two prompts ask one question, whatever instructions stand around it. Pure text.

A held-out question that was trained on proves nothing, and a prompt's suffix must not hide it. Two
prompts ask the same question where they are equal but for white space, case, dollar signs and
punctuation, or where one is the other with sentences before or after it. Two are near-duplicates
where they share most of their runs of three words (Jaccard's index of the shingles, Broder 1997):
one may be the other reworded, or another exercise of one template, which only a reader can tell.

Not here: what is done about it (`running/prepare.py`), and other languages' meaning of a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

NEAR = 0.6
"""Share of all three-word runs of two questions that both have, from which they are told."""
_LEAST = 10  # characters without white space; shorter questions are only compared whole
_LONG = 40  # from here on a question inside another is no accident, whatever stands beside it
_SHINGLE = 3
_COMMON = 200  # a run of words in more questions than this says nothing of two of them


class Pair(NamedTuple):
    """Two questions, by number in their lists, and how alike they are (1: the same)."""

    one: int
    other: int
    alike: float


def normal(text: str) -> str:
    """In one form of Unicode, lower case, without dollar signs; white space is one blank."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("$", " ").split())


def squeezed(text: str) -> str:
    """The normal form without blanks, quotes and marks of punctuation."""
    return re.sub(r"[\s.,;:!?'\"`*_]+", "", normal(text))


def same_questions(one: Sequence[str], other: Sequence[str]) -> list[Pair]:
    """Pairs that ask the same question, in order; a question has one pair at most."""
    first, second = [normal(t) for t in one], [normal(t) for t in other]
    whole: dict[str, int] = {}
    for number, text in enumerate(second):
        whole.setdefault(squeezed(text), number)
    found = []
    sizes = [len(squeezed(text)) for text in second]
    for number, text in enumerate(first):
        at = whole.get(squeezed(text))
        if at is None:
            size = len(squeezed(text))
            inside = (
                n
                for n, held in enumerate(second)
                if (size > sizes[n] and _holds(text, held, sizes[n]))
                or (size < sizes[n] and _holds(held, text, size))
            )
            at = next(inside, None)
        if at is not None:
            found.append(Pair(number, at, 1.0))
    return found


def _holds(longer: str, shorter: str, size: int) -> bool:
    """Whether the shorter stands in the longer as whole sentences, or is too long for chance."""
    at = longer.find(shorter) if size >= _LEAST else -1
    if at < 0:
        return False
    if size >= _LONG:
        return True
    before, after = longer[:at].rstrip(), longer[at + len(shorter) :]
    opens = not before or before[-1] in ".:?!>"
    closes = not after or (shorter[-1] in ".?!" and after[0] == " ")
    return opens and closes


def near_duplicates(one: Sequence[str], other: Sequence[str], least: float = NEAR) -> list[Pair]:
    """Pairs that share `least` of their runs of three words, the most alike first.

    Runs that more than 200 questions have (a common prompt) are not counted.
    """
    sides = [[_runs(normal(text)) for text in texts] for texts in (one, other)]
    number_of = Counter(run for side in sides for runs in side for run in runs)
    ones, others = ([{r for r in runs if number_of[r] <= _COMMON} for runs in s] for s in sides)
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for number, runs in enumerate(others):
        for run in runs:
            holders[run].append(number)
    pairs = []
    for number, runs in enumerate(ones):
        shared = Counter(n for run in runs for n in holders[run])
        for n, count in shared.items():
            alike = count / len(runs | others[n])
            if alike >= least:
                pairs.append(Pair(number, n, alike))
    return sorted(pairs, key=lambda pair: (-pair.alike, pair.one, pair.other))


def _runs(text: str) -> set[str]:
    words = re.findall(r"[^\s.,;:!?'\"`*_()\[\]{}]+", text)
    return {" ".join(words[n : n + _SHINGLE]) for n in range(len(words) - _SHINGLE + 1)}
