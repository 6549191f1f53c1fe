"""What a quantity is in the unit of another one, as far as no conversion is needed, and how near.

Not here: how numbers are spelled (quantity.py) and what pint converts (units.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers.base import option
from oneshot_rlvr.verifiers.quantity import Quantity
from oneshot_rlvr.verifiers.unit_names import (
    CURRENCIES,
    DOLLARS,
    NO_UNIT,
    OF_HUNDRED_CENTS,
    Unit,
    is_unit,
)

REL_TOL = 1e-6  # forgives float noise only
FLOAT_NOISE = Fraction(1, 10**9)  # of a converted value, which pint holds as a float


def readings(
    said: Quantity, gold: Quantity, earlier: tuple[Fraction, ...] = (), ratio_asked: bool = False
) -> list[Fraction] | None:
    """Values that a quantity may have in the gold's unit; None where a conversion must tell.

    `earlier`: other values of it, in its own unit, as they were written before rounding.
    `ratio_asked`: the question wants per cent (or ppm), so that a bare gold may be in it.
    """
    values = [said.value, *earlier]
    if said.unit is gold.unit is NO_UNIT and not said.bracketed:
        return values
    mine, wanted = _as_the_other_means(said.unit, gold.unit), gold.unit
    if said.bracketed and (gold.unit.factors and gold.unit.factors[0][0] in CURRENCIES):
        values = [-value for value in values]  # (5), where the gold is money
    if mine.factors == wanted.factors and (mine.factors or mine.scale == wanted.scale):
        if mine.scale == wanted.scale:
            return values
        return [value * mine.scale / wanted.scale for value in values]
    if mine == NO_UNIT:
        return values + ([v / wanted.scale for v in values] if wanted.is_ratio else [])
    if mine.is_ratio and (wanted == NO_UNIT or wanted.is_ratio):
        scaled = [value * mine.scale / wanted.scale for value in values]
        return scaled + (values if wanted == NO_UNIT and ratio_asked else [])
    if wanted == NO_UNIT:
        known = is_unit(mine, said.words, said.attached)
        return None if known is None else values if known else []
    return None


_RATIO = re.compile(
    r"per\s?cent|%|\bpct\b|\bpp[mb]\b|parts per|\bbps?\b|basis points|per\s?mille|‰", re.IGNORECASE
)


@lru_cache(maxsize=1024)
def asks_for_a_ratio(question: str) -> bool:
    """Whether a question names per cent or the like."""
    return _RATIO.search(question) is not None


def _as_the_other_means(unit: Unit, other: Unit) -> Unit:
    """Money named loosely, in the currency of the other side: $, cents, pounds."""
    theirs = {name for name, _ in other.factors}
    money = sorted(theirs & CURRENCIES)
    if len(money) != 1:
        if "cent" in theirs and {n for n, _ in unit.factors} & OF_HUNDRED_CENTS:
            scale, factors = unit.scale, []
            for name, power in unit.factors:
                if name in OF_HUNDRED_CENTS:
                    name, scale = "cent", scale * Fraction(100) ** power
                factors.append((name, power))
            return Unit(scale, tuple(sorted(factors)))
        return unit
    scale, factors = unit.scale, []
    for name, power in unit.factors:
        if name == "cent" and money[0] in OF_HUNDRED_CENTS:
            name, scale = money[0], scale / Fraction(100) ** power
        elif name == "pound" and money[0] == "GBP":
            name = "GBP"
        elif (name == "dollar" and money[0] in DOLLARS) or (
            name in DOLLARS and money[0] == "dollar"
        ):
            name = money[0]
        factors.append((name, power))
    return Unit(scale, tuple(sorted(factors)))


def nearness(example: Example) -> Callable[[Fraction, Fraction | float], bool]:
    """Whether a value is the gold's, within the example's tolerance, the edge included."""
    if "rel_tol" not in example.extra and "abs_tol" not in example.extra:
        return _within(REL_TOL, 0.0)
    rel_tol = float(option(example, "rel_tol", (int, float), REL_TOL))
    abs_tol = float(option(example, "abs_tol", (int, float), 0.0))
    if not (0 <= rel_tol < math.inf and 0 <= abs_tol < math.inf):
        raise DataError(
            f"example {example.id!r}: rel_tol is {rel_tol} and abs_tol {abs_tol}; "
            "both must be 0 or more."
        )
    return _within(rel_tol, abs_tol)


@lru_cache(maxsize=256)
def _within(rel_tol: float, abs_tol: float) -> Callable[[Fraction, Fraction | float], bool]:
    """The tolerance is the decimal that is written: 2.6 is within 0.1 of 2.5.

    A converted value, a float, is given a float's noise as well.
    """
    relative, absolute = Fraction(repr(rel_tol)), Fraction(repr(abs_tol))

    def near(gold: Fraction, value: Fraction | float) -> bool:
        if value == gold:
            return True
        try:  # apart beyond what floats could be wrong about: most wrong answers
            wanted = gold.numerator / gold.denominator
            said = value if isinstance(value, float) else value.numerator / value.denominator
            apart = abs(wanted - said) - 1e-9 * (abs(wanted) + abs(said))
            if apart > abs_tol and apart > rel_tol * abs(wanted):
                return False
        except OverflowError:
            pass
        tolerance = max(absolute, relative * abs(gold))
        if isinstance(value, float):
            if not math.isfinite(value):
                return False
            value = Fraction(value)
            tolerance += FLOAT_NOISE * max(abs(gold), tolerance)
        return abs(value - gold) <= tolerance

    return near
