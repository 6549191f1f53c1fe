"""Proofs that two expressions are equal or differ, before sympy's `simplify` is asked.

Different: at one point where both are defined their values, to 30 digits, are apart. Equal: their
difference expands to zero, or their values agree to 25 digits at every one of several points of all
signs where both are defined. A point where one side is complex counts only if every symbol is
positive there: `\\sqrt{1/k}` is `1/\\sqrt{k}`, and `\\sqrt{x^2}` is not `x`.
Decimals are only ever told apart, beyond what rounding to six places may join. Only for ordinary
expressions: no relations, sets or matrices, no percent, no sums or integrals. Importing this
imports sympy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import sympy

MAX_OPERATIONS = 60  # of an expression; larger ones may take longer to expand than to simplify
MAX_SYMBOLS = 8
POINTS = 6
DIGITS = 30
APART = sympy.Float("1e-12")  # share of the values
AGREE = sympy.Float("1e-25")  # share of the values, at every point
LARGE = sympy.Float("1e15")  # beyond it 30 digits do not tell neighbours apart
DECIMALS_APART = sympy.Float("1e-9")  # share of the values, and this much more:
ROUNDED_APART = sympy.Float("2e-6")

_UNFIT = (
    sympy.UnevaluatedExpr,
    sympy.Integral,
    sympy.Sum,
    sympy.Product,
    sympy.Limit,
    sympy.Derivative,
    sympy.Piecewise,
    sympy.MatrixExpr,
)
_HUGE = sympy.Integer(10**6)


def equal(wanted: Any, said: Any) -> bool | None:
    """True or False where it is shown, else None."""
    if not (_fit(wanted) and _fit(said)):
        return None
    try:
        wanted, said = _named(wanted), _named(said)
        decimals = wanted.has(sympy.Float) or said.has(sympy.Float)
        symbols = sorted(wanted.free_symbols | said.free_symbols, key=str)
        points = _points(symbols)
        first = next(points)
        left, right = _value(wanted, first), _value(said, first)
        if left is None or right is None:
            return None
        scale = abs(left) + abs(right)
        apart = DECIMALS_APART * scale + ROUNDED_APART if decimals else APART * scale
        if bool(abs(left - right) > apart):
            return False
        if decimals:
            return None
        if sympy.expand(wanted - said) == 0:
            return True
        if not symbols:
            close = bool(scale < LARGE) and bool(abs(left - right) <= AGREE * scale)
            return True if close else None
        return _agree(wanted, said, islice(points, POINTS), 1)
    except MemoryError:
        raise
    except Exception:  # sympy on strange objects: no proof
        return None


def proportional(wanted: Any, said: Any) -> int | None:
    """The sign of a constant c with said = c * wanted at several points; 0 for none, else None."""
    if not (_fit(wanted) and _fit(said)):
        return None
    try:
        wanted, said = _named(wanted), _named(said)
        symbols = sorted(wanted.free_symbols | said.free_symbols, key=str)
        ratio, agreed = None, 0
        for point in islice(_points(symbols), POINTS + 1):
            left, right = _value(wanted, point), _value(said, point)
            if left is None or right is None or not left or not right:
                continue
            if ratio is None:
                ratio = right / left
            elif bool(abs(right / left - ratio) > APART * abs(ratio)):
                return 0
            agreed += 1
        if ratio is None or agreed < (2 if symbols else 1) or not ratio.is_real:
            return None
        return 1 if ratio > 0 else -1
    except MemoryError:
        raise
    except Exception:  # sympy on strange objects: no proof
        return None


def _agree(wanted: Any, said: Any, points: Iterator[Any], agreed: int) -> bool | None:
    for point in points:
        left, right = _value(wanted, point), _value(said, point)
        if left is None or right is None:
            continue
        positive = all(value > 0 for value in point.values())
        if not positive and not (_real_inside(wanted, point) and _real_inside(said, point)):
            continue
        if bool(abs(left - right) > AGREE * (abs(left) + abs(right))):
            return False
        agreed += 1
    return True if agreed >= 3 else None


def _real_inside(expression: Any, point: dict[Any, Any]) -> bool:
    """Whether every root and logarithm in an expression is of a positive number at a point."""
    roots = [p.base for p in expression.atoms(sympy.Pow) if not p.exp.is_integer]
    inside = [*roots, *(log.args[0] for log in expression.atoms(sympy.log))]
    return all(bool(part.subs(point).doit().evalf(DIGITS) > 0) for part in inside)


def _points(symbols: list[Any]) -> Iterator[dict[Any, Any]]:
    """Points of rational coordinates: positive, small, then of mixed signs, then large."""
    yield {s: sympy.Rational(17 + 6 * i, 7 + 2 * i) for i, s in enumerate(symbols)}
    yield {s: sympy.Rational(3 + i, 11 + 5 * i) * 9 ** (i % 3) for i, s in enumerate(symbols)}
    for flip in (-1, 0, 1):
        yield {
            s: sympy.Rational(29 + 4 * i, 19 + 3 * i) * (-1 if flip < 0 or (i + flip) % 2 else 1)
            for i, s in enumerate(symbols)
        }
    yield {s: -sympy.Rational(2 + i, 13 + 7 * i) for i, s in enumerate(symbols)}
    yield {s: sympy.Rational(41 + 8 * i, 2 + i) * 8 ** (i % 4) for i, s in enumerate(symbols)}
    yield {s: sympy.Rational(5 + i, 6 + 7 * i) for i, s in enumerate(symbols)}


def _value(expression: Any, point: dict[Any, Any]) -> Any | None:
    value = expression.subs(point).doit().evalf(DIGITS)
    return value if value.is_number and value.is_finite else None


def _named(expression: Any) -> Any:
    """Values of unknown functions as symbols: f(x) is a name, and f(y) another."""
    applied = expression.atoms(sympy.core.function.AppliedUndef)
    return expression.xreplace({f: sympy.Symbol(str(f), real=True) for f in applied})


def _fit(value: Any) -> bool:
    return (
        isinstance(value, sympy.Expr)
        and not value.has(*_UNFIT)
        and value.count_ops() <= MAX_OPERATIONS
        and len(value.free_symbols) <= MAX_SYMBOLS
        and not any(abs(n) > _HUGE for p in value.atoms(sympy.Pow) for n in _integers(p.exp))
    )


def _integers(value: Any) -> set[Any]:
    return value.atoms(sympy.Integer)
