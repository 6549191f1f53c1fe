"""Unit conversion by pint, for numeric answers. Importing this imports pint (half a second)."""

from __future__ import annotations

from functools import cache
from typing import Any

MAX_UNIT_CHARS = 60


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(cache_folder=None)


@cache
def _parsed(unit: str) -> Any:
    """A pint unit, or None where pint knows no such unit."""
    try:
        return _registry().parse_units("degree" if unit == "°" else unit)
    except Exception:  # pint raises a dozen kinds on text that is no unit
        return None


def known(unit: str) -> bool:
    """Whether pint knows the unit."""
    return len(unit) <= MAX_UNIT_CHARS and _parsed(unit) is not None


def convert(value: float, unit: str, wanted: str) -> float | None:
    """`value unit` in `wanted`, or None where one cannot become the other."""
    if len(unit) > MAX_UNIT_CHARS or len(wanted) > MAX_UNIT_CHARS:
        return None
    source, target = _parsed(unit), _parsed(wanted or "dimensionless")
    if source is None or target is None:
        return None
    try:
        return float(_registry().Quantity(value, source).to(target).magnitude)
    except Exception:  # dimensions that do not fit, offsets, overflow
        return None
