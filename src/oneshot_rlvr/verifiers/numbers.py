r"""Plain numbers, read exactly: integers, decimals and simple fractions, as Fractions.

Only spellings that have one meaning. Everything else (`1,234`, `5 cm`, `\sqrt 2`) is None here and
left to the verifier that knows better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

DECIMALS = 6  # places to which a decimal must agree with what it may be rounded from
MAX_DIGITS = 40  # of an integer; nothing longer is a plain answer
_INTEGER = rf"(?:0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})"
_PLAIN = re.compile(
    rf"(?P<sign>[-+\u2212]?)\s?(?:"
    rf"(?P<whole>{_INTEGER})(?:\.(?P<decimals>[0-9]{{1,15}}))?"
    rf"|\\[dt]?frac\s?\{{\s?(?P<top>{_INTEGER})\s?\}}\s?\{{\s?(?P<bottom>{_INTEGER})\s?\}}"
    rf"|(?P<over>{_INTEGER})\s?/\s?(?P<under>{_INTEGER})"
    rf")"
)


@dataclass(frozen=True, slots=True)
class PlainNumber:
    """A number and whether it was spelled as a decimal (and so may be rounded)."""

    value: Fraction
    decimal: bool


@lru_cache(maxsize=4096)
def plain_number(text: str) -> PlainNumber | None:
    """The number that the whole text (outer spaces and dollar signs apart) spells, or None."""
    match = _PLAIN.fullmatch(bare(text))
    if match is None:
        return None
    negative = match["sign"] in ("-", "\u2212")
    decimals = match["decimals"]
    if match["whole"] is not None:
        value = Fraction(int(match["whole"] + (decimals or "")), 10 ** len(decimals or ""))
    else:
        top, bottom = match["top"] or match["over"], match["bottom"] or match["under"]
        if int(bottom) == 0:
            return None
        value = Fraction(int(top), int(bottom))
    return PlainNumber(-value if negative else value, decimals is not None)


def bare(text: str) -> str:
    r"""Without outer spaces and one pair of `$ $` or `\( \)`."""
    text = text.strip()
    if text[:1] not in ("$", "\\"):
        return text
    for left, right in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if text.startswith(left) and text.endswith(right) and len(text) > len(left) + len(right):
            return text[len(left) : -len(right)].strip()
    return text
