r"""Spans and boxes of numeric answers: right by their ends, scored by intersection over union.

With `score = "overlap"` the gold is a span, by its two ends ("12 to 19.5 s", `[12, 19.5]`, "from 12
to 19.5", `12 \le t \le 19.5`), or a box, by four coordinates x1, y1, x2, y2 of opposite corners. An
answer is right where every end is the gold's within the tolerance; else its score is the size
(length, area) of what both cover, over that of what either covers (Jaccard 1901). Ends count as a
part in both, so that open and closed brackets are one. Not here: sets of spans, and intervals as
mathematics, of which an open end is another one (math_answer).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import correct, option, shown, wrong
from oneshot_rlvr.verifiers.numbers import bare
from oneshot_rlvr.verifiers.quantity import Quantity, plain_text, quantity
from oneshot_rlvr.verifiers.readings import nearness, readings
from oneshot_rlvr.verifiers.unit_names import NO_UNIT, read_unit

Ends = tuple[Quantity, ...]
Number = Fraction | float
_NAME = r"(?:[A-Za-z]\w{0,11}|\\[a-z]{2,8})"
_NAMED = re.compile(rf"{_NAME}\s?(?:=|\\in(?![a-z])|∈|:)\s*(?=[\[(\d+-])")
_BRACKETS = re.compile(
    r"(?:\\left)?\s?[\[(](?P<inside>[^\[\]()]+?)(?:\\right)?[\])]\s?(?P<unit>.*)"
)
_BETWEEN = re.compile(
    rf"(?P<low>.+?)\s?(?:<=?|≤|\\leq?(?![a-z])|\\leqslant(?![a-z]))\s?{_NAME}\s?"
    r"(?:<=?|≤|\\leq?(?![a-z])|\\leqslant(?![a-z]))\s?(?P<high>.+)"
)
_WORDS = re.compile(
    r"(?:(?P<from>from)\s+|(?P<between>between)\s+)?(?P<low>\S.*?)\s+"
    r"(?P<joint>to|through|until|and)\s+(?P<high>\S.*)",
    re.IGNORECASE,
)
_DASH, _TWO_DASHES = (
    re.compile(rf"(?P<low>[-+]?[^-–—]*\d[^-–—]*?)\s?{dash}\s?(?P<high>[-+\u2212]?[^-–—]*\d.*)")
    for dash in ("[-–—]", "--")
)
_INNER = re.compile(r"^\s*\[\s*\[(.*?)\]\s*,\s*\[(.*?)\]\s*\]\s*$")
_SPACED_COMMA = re.compile(r",\s+|;")


def asked(example: Example) -> bool:
    """Whether the example's numbers are spans. DataError for an option that makes no sense."""
    if "score" not in example.extra:
        return False
    way = option(example, "score", str, "")
    if way not in ("", "overlap"):
        raise DataError(f'example {example.id!r}: option score is {way!r}; wanted "overlap".')
    if way and example.extra.get("bands") is not None:
        raise DataError(
            f"example {example.id!r}: options score and bands are both given; bands are of single "
            "numbers, overlap of spans. Leave one out."
        )
    return bool(way)


def quick(answer: str, example: Example) -> Verdict | None:
    """The verdict where no conversion is needed, else None."""
    said = read_ends(answer)
    golds = _golds(example)
    if said is None:
        return wrong(Reason.UNPARSEABLE, answer, rule="no-span")
    near, certain = nearness(example), True
    for gold in golds:
        for values in _in_unit_of(said, gold, convert=False):
            if values is None:
                certain = False
            elif all(near(end.value, value) for end, value in zip(gold, values, strict=True)):
                return correct(answer, rule="span")
    return wrong(Reason.MISMATCH, answer, rule="span") if certain else None


def compare(answer: str, example: Example) -> Verdict:
    """The verdict, by any means."""
    said, near = read_ends(answer), nearness(example)
    assert said is not None  # or quick would have told
    for gold in _golds(example):
        for values in _in_unit_of(said, gold, convert=True):
            if values is not None and all(
                near(end.value, value) for end, value in zip(gold, values, strict=True)
            ):
                return correct(answer, rule="span")
    return wrong(Reason.MISMATCH, answer, rule="span")


def score(answer: str, example: Example) -> float:
    """Intersection over union with the gold that it overlaps most, 0..1."""
    said, best = read_ends(answer), 0.0
    for gold in _golds(example) if said is not None else ():
        assert said is not None
        ends = [end.value for end in gold]
        for values in _in_unit_of(said, gold, convert=True):
            if values is not None:
                best = max(best, overlap_of_boxes(values, ends))
    return best


def overlap_of_boxes(one: Sequence[Number], other: Sequence[Number]) -> float:
    """Intersection over union of two boxes, 0..1.

    One dimension: (low, high); two: (x1, y1, x2, y2), and so on. 0 where neither has a size.
    """
    half = len(one) // 2
    if len(one) != len(other) or not all(map(math.isfinite, (*one, *other))):
        return 0.0
    sides = [
        [Fraction(high) - Fraction(low) for low, high in zip(box[:half], box[half:], strict=True)]
        for box in (one, other)
    ]
    common = [
        min(Fraction(one[i + half]), Fraction(other[i + half]))
        - max(Fraction(one[i]), Fraction(other[i]))
        for i in range(half)
    ]
    both = math.prod(common) if min(common) > 0 else Fraction(0)
    either = math.prod(sides[0]) + math.prod(sides[1]) - both
    return float(both / either) if either > 0 else 0.0


@lru_cache(maxsize=4096)
def read_ends(text: str) -> Ends | None:
    """The ends that a text spells, low ones first: two of a span, four of a box; None for none.

    A unit behind the last end is that of every end without one.
    """
    text = _NAMED.sub("", plain_text(bare(text)), count=1).strip()
    text = _INNER.sub(r"[\1, \2]", text).rstrip(".").strip()
    return next((ends for way in _ways(text) if (ends := _ends(*way)) is not None), None)


def _ends(parts: Sequence[str], unit: str) -> Ends | None:
    """The ends, each in its unit; None unless all are numbers of one unit, the low ones first."""
    found = [quantity(part.strip()) for part in parts]
    shared = read_unit(plain_text(unit)) if unit else found[-1].unit if found[-1] else None
    if shared is None or not all(end is not None and end.lower is None for end in found):
        return None
    ends = [end for end in found if end is not None]
    ends = [replace(end, unit=shared) if end.unit == NO_UNIT else end for end in ends]
    ordered = all(
        low.value <= high.value for low, high in zip(ends, ends[len(ends) // 2 :], strict=False)
    )
    return tuple(ends) if ordered and all(end.unit == shared for end in ends) else None


def _ways(text: str) -> Iterator[tuple[Sequence[str], str]]:
    """The two or four numbers that a text may name, and the unit behind their bracket."""
    bracketed = _BRACKETS.fullmatch(text)
    inside, unit = (bracketed["inside"], bracketed["unit"]) if bracketed else (text, "")
    for pieces in (_SPACED_COMMA.split(inside), inside.split(",")):
        if len(pieces) in (2, 4):
            yield pieces, unit.strip()
    if bracketed:
        return
    words = _WORDS.fullmatch(text)
    if words and (words["joint"].lower() == "and") == bool(words["between"]):
        yield words.group("low", "high"), ""
    for pattern in (_BETWEEN, _DASH, _TWO_DASHES):
        found = pattern.fullmatch(text)
        if found:
            yield found.group("low", "high"), ""


def _golds(example: Example) -> list[Ends]:
    unit = option(example, "unit", str, "").strip()
    read = read_unit(unit)
    golds = []
    for text in (example.answer, *map(str, option(example, "golds", (list, tuple), ()))):
        ends = read_ends(text)
        if ends is None or read is None:
            raise DataError(
                f"example {example.id!r}: the gold {shown(text)} is no span of two numbers, the "
                'lower one first ("12 to 19.5 s", "[12, 19.5]"), nor a box of four (x1, y1, x2, '
                'y2), which numeric needs with score = "overlap".'
            )
        golds.append(tuple(replace(end, unit=read) for end in ends) if unit else ends)
    return golds


def _in_unit_of(said: Ends, gold: Ends, convert: bool) -> list[list[Number] | None]:
    """The ways to read an answer's ends in the gold's unit; [None] where a conversion must tell,
    [] where there is none."""
    if len(said) != len(gold):
        return []
    known = [readings(mine, wanted) for mine, wanted in zip(said, gold, strict=True)]
    if all(values is not None for values in known):
        return [list(way) for way in zip(*(v for v in known if v is not None), strict=False)]
    if not convert:
        return [None]
    from oneshot_rlvr.verifiers import units

    ends: list[Number] = []
    for mine, wanted in zip(said, gold, strict=True):
        if wanted.unit == NO_UNIT:
            if not units.is_known(mine.unit):
                return []
            ends.append(mine.value)
            continue
        converted = units.convert(mine.value, mine.unit, wanted.unit)
        if converted is None:
            return []
        ends.append(converted)
    return [ends]
