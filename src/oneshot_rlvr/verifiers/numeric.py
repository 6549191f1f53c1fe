"""numeric: a number with a tolerance and a unit, as finance and health write them.

Reads signs, thousands separators, currency, percent, scientific notation, fractions, mixed numbers,
"3.2 million" (and $5k, €3.2bn), "2 h 30 min", and a unit after the number (quantity.py). Tolerance:
|said - gold| <= max(abs_tol, rel_tol * |gold|), decided exactly on what is written; the defaults
(rel_tol 1e-6, abs_tol 0) forgive float noise only. The gold's unit is `extra["unit"]` or what
follows the number in the gold. An answer without a unit is read in the gold's; with another unit it
is converted by pint, imported only then. Where the gold has no unit, the answer may have any, but
nothing that makes another number of it (`5x`, `5 tenths`, `5 or 6`). A ratio is both a unit and a
number: for a gold of 5 % or 0.05, both 5 % and 0.05 are right. What stands before an equals sign
must name the value or come to it (chains.py). A blood pressure is two numbers, not a fraction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers import spans
from oneshot_rlvr.verifiers.base import Verifier, correct, option, shown, wrong
from oneshot_rlvr.verifiers.chains import read_chain
from oneshot_rlvr.verifiers.extraction import final_answer
from oneshot_rlvr.verifiers.numbers import bare
from oneshot_rlvr.verifiers.quantity import Quantity, quantity
from oneshot_rlvr.verifiers.readings import FLOAT_NOISE, asks_for_a_ratio, nearness, readings
from oneshot_rlvr.verifiers.scoring import bands_of
from oneshot_rlvr.verifiers.unit_names import NO_UNIT, read_unit

MAX_ANSWER_CHARS = 300


@dataclass(frozen=True, slots=True)
class _Said:
    """What an answer states: a quantity, and the same as it was written before rounding.

    `same`: what it is said to equal in another unit, which only a conversion can confirm.
    """

    last: Quantity
    earlier: tuple[Fraction, ...]
    same: tuple[Quantity, ...] = ()

    def values(self) -> tuple[Fraction, ...]:
        return (self.last.value, *self.earlier)


RULES = {
    "no-answer": "No answer was stated where one is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "unreadable": "It states no one number: a relation, a list, a false chain, an equation.",
    "number": "Compared in the gold's unit, or without one, within the tolerance.",
    "conversion": "Converted to the gold's unit by pint, then compared within the tolerance.",
    "unit": "Its unit cannot be converted to the gold's, or what follows the number is no unit.",
    "pressure": "A blood pressure: both of its numbers are compared.",
    "span": "Every end is compared with the gold's (score = overlap).",
    "no-span": "It states no span of two numbers, the lower first, and no box of four.",
}


class Numeric(Verifier):
    """Options: answer_tags, extraction, rel_tol, abs_tol, unit, golds (further right answers),
    bands, score ("overlap": golds are spans)."""

    name = "numeric"
    options = frozenset(
        {"answer_tags", "extraction", "rel_tol", "abs_tol", "unit", "golds", "bands", "score"}
    )
    rules = RULES

    def extract(self, text: str, example: Example) -> str | Verdict:
        answer = final_answer(text, example)
        if not answer:
            return wrong(Reason.NO_ANSWER, answer, rule="no-answer")
        if len(answer) > MAX_ANSWER_CHARS:
            return wrong(Reason.UNPARSEABLE, answer[:MAX_ANSWER_CHARS], rule="too-long")
        return answer

    def quick(self, answer: str, example: Example) -> Verdict | None:
        if spans.asked(example):
            return spans.quick(answer, example)
        golds = _golds(example)
        said = _read(answer)
        if said is None:
            return wrong(Reason.UNPARSEABLE, answer, rule="unreadable")
        near = nearness(example)
        certain, rule = True, "number"
        for gold in golds:
            if gold.lower is None and said.last.lower and not said.last.words and not gold.words:
                if near(gold.value, said.last.value / said.last.lower):
                    return correct(answer, rule="number")  # a fraction, as it turns out
                continue
            if said.last.lower is not None or gold.lower is not None:
                rule = "pressure"
                if _same_pressure(said, gold, near):
                    return correct(answer, rule=rule)
                continue
            values = self._readings(said, gold, example)
            rule = "number" if values or values is None else "unit"
            if values is None:
                certain = False
            elif any(near(gold.value, value) for value in values):
                if said.same:
                    return None
                return correct(answer, rule="number")
        return wrong(Reason.MISMATCH, answer, rule=rule) if certain else None

    @staticmethod
    def _readings(said: _Said, gold: Quantity, example: Example) -> list[Fraction] | None:
        asked = said.last.unit.is_ratio and asks_for_a_ratio(example.question)
        return readings(said.last, gold, said.earlier, ratio_asked=asked)

    def warm(self) -> None:
        from oneshot_rlvr.verifiers import units

        units.known("kg")  # reads pint's definitions, which takes longer than any conversion

    def compare(self, answer: str, example: Example) -> Verdict:
        quick = self.quick(answer, example)
        if quick is not None:
            return quick
        if spans.asked(example):
            return spans.compare(answer, example)
        from oneshot_rlvr.verifiers import units

        said = _read(answer)
        assert said is not None  # or quick would have told
        near, rule = nearness(example), "unit"
        for other in said.same:
            converted = units.convert(other.value, other.unit, said.last.unit)
            if converted is None or not _rounds_to(Fraction(converted), said.last):
                return wrong(Reason.UNPARSEABLE, answer, rule="unreadable")
        for gold in _golds(example):
            if said.last.lower is not None or gold.lower is not None:
                continue
            values = self._readings(said, gold, example)
            if values is not None and any(near(gold.value, value) for value in values):
                return correct(answer, rule="number")
            if gold.unit == NO_UNIT:
                if units.is_known(said.last.unit) and near(gold.value, said.last.value):
                    return correct(answer, rule="number")
                continue
            for value in said.values():
                converted = units.convert(value, said.last.unit, gold.unit)
                if converted is not None:
                    rule = "conversion"
                    if near(gold.value, converted):
                        return correct(answer, rule=rule)
        return wrong(Reason.MISMATCH, answer, rule=rule)

    def partial(self, answer: str, example: Example) -> float:
        """By the option `bands`: the score of the narrowest relative error that holds; by `score`:
        how far the span covers the gold's."""
        if spans.asked(example):
            return spans.score(answer, example)
        bands = bands_of(example)
        for rel_tol, score in bands:
            wider = {**example.extra, "rel_tol": max(rel_tol, example.extra.get("rel_tol") or 0.0)}
            variant = replace(example, extra=wider)
            if (self.quick(answer, variant) or self.compare(answer, variant)).correct:
                return score
        return 0.0

    def check_options(self, example: Example) -> None:
        """DataError for `bands` or `score` that make no sense."""
        if not spans.asked(example):
            bands_of(example)

    def checks_gold_at_length(self, example: Example) -> bool:
        """Only where a unit is given: knowing the units takes pint half a second."""
        return bool(example.extra.get("unit"))

    def check_gold(self, example: Example) -> None:
        """DataError also for an option `unit` that is neither a currency nor known to pint."""
        unit = option(example, "unit", str, "").strip()
        if unit:
            from oneshot_rlvr.verifiers import units

            if not units.known(unit):
                raise DataError(
                    f"example {example.id!r}: option unit is {shown(unit)}, which is no unit that "
                    "can be converted. Write it as pint does (mg, m/s^2, degC), or leave it out."
                )
        super().check_gold(example)


def _read(answer: str) -> _Said | None:
    """What an answer states, or None. A chain whose parts disagree states nothing."""
    chain = read_chain(bare(answer))
    if chain is None:
        return None
    last = quantity(chain.last)
    if last is None:
        return None
    if not chain.earlier:
        return _Said(last, ())
    shares = {Fraction(1), last.unit.scale} if last.unit.is_ratio else {Fraction(1)}
    earlier, same = [], []
    for part, value in chain.earlier:
        agreeing = [value / share for share in shares if _rounds_to(value / share, last)]
        if agreeing:
            earlier.append(agreeing[0])
            continue
        other = quantity(part)
        if (
            other is None
            or other.unit == last.unit
            or not (other.unit.factors and last.unit.factors)
        ):
            return None
        same.append(other)
    return _Said(last, tuple(earlier), tuple(same))


def _rounds_to(value: Fraction, last: Quantity) -> bool:
    """Whether a value may be written as the last one, half a unit of its last digit away."""
    step = last.step
    if step >= 1:  # trailing zeros may be rounding too: 1,234 is about 1,200
        while last.value and last.value % (step * 10) == 0:
            step *= 10
    return abs(value - last.value) <= max(step / 2, FLOAT_NOISE * abs(last.value))


def _same_pressure(said: _Said, gold: Quantity, near: Callable[[Fraction, Fraction], bool]) -> bool:
    """Two blood pressures in one unit, both of whose numbers agree."""
    mine, wanted = said.last, gold
    return (
        mine.lower is not None
        and wanted.lower is not None
        and (mine.unit == wanted.unit or NO_UNIT in (mine.unit, wanted.unit))
        and near(wanted.value, mine.value)
        and near(wanted.lower, mine.lower)
    )


@lru_cache(maxsize=4096)
def _gold(text: str) -> Quantity | None:
    said = _read(text)
    return said.last if said is not None else None


def _golds(example: Example) -> list[Quantity]:
    """The gold and the further right answers, each in the unit of the option or its own."""
    if "unit" not in example.extra and "golds" not in example.extra:
        gold = _gold(example.answer)
        if gold is not None:
            return [gold]
    unit = option(example, "unit", str, "").strip()
    further = option(example, "golds", (list, tuple), ())
    golds: list[Quantity] = []
    for text in (example.answer, *map(str, further)):
        gold = _gold(text)
        if gold is None:
            raise DataError(
                f"example {example.id!r}: the gold {shown(text)} is not a number with an optional "
                "unit, which numeric needs."
            )
        if unit:
            read = read_unit(unit)
            if read is None:
                raise DataError(f"example {example.id!r}: option unit {shown(unit)} is no unit.")
            gold = replace(gold, unit=read)
        golds.append(gold)
    return golds
