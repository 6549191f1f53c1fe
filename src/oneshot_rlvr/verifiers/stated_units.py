r"""What two answers state beside their values and must not contradict: °C and °F, degrees, dollars.

math_answer does not compare units (that is `numeric`'s work), so a unit that only one side states
is no matter. Two that contradict each other are: `45^\circ` is an angle and `45^\circ C` is not.
Dollars and cents are converted.
"""

from __future__ import annotations

import re
from fractions import Fraction

from oneshot_rlvr.verifiers.fonts import FONT

_DEGREE = r"(?:\^\s?(?:\\circ|\{\s?\\circ\s?\})|°|\\degrees?(?![A-Za-z]))"
_SCALE = re.compile(
    rf"{_DEGREE}\s?(?:\\[,;: ]|~)?\s?(?:(?:{FONT}|\\rm)\s?\{{?\s?)?([CF])(?![A-Za-z])"
)
_ANGLE = re.compile(rf"{_DEGREE}\s*\$?\s*$")
_RADIANS = re.compile(r"\brad(?:ians?)?\b")
_HALF_DAY = re.compile(rf"\d\s?(?:{FONT}\s?\{{)?[\s~]*([apAP])\.?\s?[mM]\b")
_DOLLARS = re.compile(r"\\\$|^\s*\$\s?\d[\d.,]*\s*$|\bdollars?\b|\bUSD\b")
_OTHER_MONEY = (
    ("euros", re.compile(r"€|\beuros?\b|\bEUR\b")),
    ("sterling", re.compile(r"£|\bGBP\b")),
    ("yen", re.compile(r"¥|\byen\b|\bJPY\b")),
    ("rupees", re.compile(r"₹|\brupees?\b|\bINR\b")),
)
_CENTS = re.compile(r"\bcents?\b|¢|\\cent(?![a-z])")


def factor(wanted: str, said: str) -> Fraction | None:
    """By what `said` is multiplied to be in the unit of `wanted`; None where they contradict."""
    left, right = _kind(wanted), _kind(said)
    if left is None or right is None or left == right:
        return Fraction(1)
    if (left, right) == ("dollars", "cents"):
        return Fraction(1, 100)
    if (left, right) == ("cents", "dollars"):
        return Fraction(100)
    return None


def _kind(text: str) -> str | None:
    scale = _SCALE.search(text)
    if scale:
        return scale[1]
    half = _HALF_DAY.search(text)
    if half and ":" in text:
        return half[1].lower()
    if _ANGLE.search(text):
        return "degrees"
    kinds = (("radians", _RADIANS), ("cents", _CENTS), ("dollars", _DOLLARS), *_OTHER_MONEY)
    for kind, pattern in kinds:
        if pattern.search(text):
            return kind
    return None
