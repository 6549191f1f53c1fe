"""Unit conversion by pint, for numeric answers. Importing this imports pint (half a second).

Names come here as unit_names.py reads them. What pint does not know (people, drops, IU, dollars)
must be the same on both sides, to the same power; the rest is converted.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from oneshot_rlvr.verifiers.unit_names import CURRENCIES, Unit, is_unit, read_unit

# pint takes these for what nobody means by them behind a number.
_NOT_MEANT = frozenset({"c", "k", "R", "e", "pi", "x", "y", "IU", "equivalent", "drop", "pH"})
# Equal in dimension and yet not to be converted into each other: absorbed and equivalent dose.
_KINDS = ({"gray", "rads"}, {"sievert", "rem"}, {"becquerel", "curie"}, {"hertz"})
_TURNS = {"revolutions_per_minute", "revolutions_per_second", "turn", "radian", "degree"}
_TEMPERATURES = {"degree_Celsius", "degree_Fahrenheit", "kelvin"}
_AS_TEMPERATURE = {"C": "degC", "F": "degF"}


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(cache_folder=None)


@lru_cache(maxsize=4096)
def _known_name(name: str) -> str | None:
    """pint's own name for one unit, or None where it has none."""
    if name in _NOT_MEANT or not name.replace("_", "").isalpha():
        return None
    try:
        (found,) = _registry().parse_units(name)._units
        return str(found)
    except Exception:  # pint raises a dozen kinds on text that is no unit
        return None


def known(unit: str) -> bool:
    """Whether the unit is one that can be converted: all its names are pint's, or money."""
    read = read_unit(unit)
    if read is None or (not read.factors and read.scale == 1):
        return False
    return all(
        _known_name(name) is not None or name in CURRENCIES or is_unit(read, unit, True)
        for name, _ in read.factors
    )


def is_known(unit: Unit) -> bool:
    """Whether pint knows every name of a unit."""
    return all(_known_name(name) is not None for name, _ in unit.factors)


def convert(value: Fraction, unit: Unit, wanted: Unit) -> float | None:
    """`value unit` in `wanted`, or None where one cannot become the other."""
    source, others = _split(unit)
    target, wanted_others = _split(wanted)
    if others != wanted_others:
        return None
    names = {name for name, _ in source}, {name for name, _ in target}
    if any(names[0] & kind and names[1] & other for kind in _KINDS for other in _KINDS
           if kind is not other):  # fmt: skip
        return None
    converted = _converted(float(value * unit.scale), source, target)
    if converted is None:
        converted = _temperatures(float(value * unit.scale), unit, wanted)
    elif "hertz" in names[1] and names[0] & _TURNS:
        converted /= 2 * 3.141592653589793  # pint makes 60 rpm 6.28 Hz, a radian being 1
    elif "hertz" in names[0] and names[1] & _TURNS:
        converted *= 2 * 3.141592653589793
    return None if converted is None else converted / float(wanted.scale)


def _temperatures(value: float, unit: Unit, wanted: Unit) -> float | None:
    """98.6 F in °C: a letter is a temperature where only a temperature can be compared."""
    (one, other) = (
        Unit(u.scale, tuple((_AS_TEMPERATURE.get(n, n), p) for n, p in u.factors))
        for u in (unit, wanted)
    )
    if (one, other) == (unit, wanted) or one.scale != 1 or other.scale != 1:
        return None
    source, target = _split(one)[0], _split(other)[0]
    if not all(len(u) == 1 and u[0][0] in _TEMPERATURES for u in (source, target)):
        return None
    return _converted(value, source, target)


def _split(
    unit: Unit,
) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
    """The factors that pint knows, by its names, and the others."""
    mine, others = [], []
    for name, power in unit.factors:
        found = _known_name(name)
        if found is None:
            others.append((name, power))
        else:
            mine.append((found, power))
    return tuple(mine), tuple(others)


def _converted(
    value: float, source: tuple[tuple[str, int], ...], target: tuple[tuple[str, int], ...]
) -> float | None:
    try:
        here, there = _pint_unit(source), _pint_unit(target)
        return float(_registry().Quantity(value, here).to(there).magnitude)
    except Exception:  # dimensions that do not fit, offsets, overflow
        return None


@lru_cache(maxsize=4096)
def _pint_unit(factors: tuple[tuple[str, int], ...]) -> Any:
    text = " * ".join(f"{name} ** {power}" for name, power in factors) or "dimensionless"
    return _registry().parse_units(text)
