r"""Numerals with a stated base: `2516_9`, `(1011)_2`, `BAD_{16}`, `12 \text{ base } 5`.

The grammar drops a number's subscript, so that 2516_9 equals 2516_8. Here a numeral is its value:
12_5 is 7. Where both texts state a base the bases must agree, since the base was the question.
"""

from __future__ import annotations

import re

from oneshot_rlvr.verifiers.fonts import FONT

_NAMES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "sixteen": 16,
}  # fmt: skip
_DIGITS = r"[0-9A-F](?:[0-9A-F ,]{0,80}[0-9A-F])?"
_BASE = (
    rf"(?:\d{{1,2}}|\{{\s?(?:{FONT}\s?\{{)?\s?(?:base[\s-]*\}}?\s?)?"
    r"(?:\d{1,2}|[a-z]{3,7})\s?\}?\s?\})"
)
_NUMERAL = re.compile(
    rf"-?\s?(?:{FONT}\s?\{{\s?)?\(?\s?(?P<digits>{_DIGITS})\s?\)?\s?\}}?\s?_\s?(?P<base>{_BASE})"
    rf"|-?\s?(?P<said>{_DIGITS})\s?(?:{FONT}\s?\{{)?[\s(,]*(?:in )?base[\s-]*\}}?\s?"
    r"(?P<named>\d{1,2}|[a-z]{3,7})[\s)}]*"
)
_INSIDE = re.compile(r"(?<![\w.\\}])(\d{1,80})\s?_\s?(?:\{\s?(\d{1,2})\s?\}|(\d))(?![\d.])")

_MARKED = re.compile(
    r"(?<![\w}])\d+\s?(?:_\s?(?:\{[^{}]*[^{}\s][^{}]*\}|\w)|['’′]|\^\s?\{?\s?\\prime)"
)


def numeral(text: str) -> tuple[int | None, int] | None:
    """(value, base) of a text that is one numeral with a base; value None for digits it lacks."""
    match = _NUMERAL.fullmatch(text.strip())
    if match is None:
        return None
    digits = (match["digits"] or match["said"]).replace(" ", "").replace(",", "")
    name = re.sub(rf"{FONT}|base|[^0-9a-z]", "", match["base"] or match["named"])
    base = int(name) if name.isdigit() else _NAMES.get(name, 0)
    if not 2 <= base <= 36 or (not any(d.isdigit() for d in digits) and len(digits) < 2):
        return None
    try:
        value = int(digits, base)
    except ValueError:
        return None, base
    return (-value if text.strip().startswith("-") else value), base


def evaluated(text: str) -> str | None:
    """A text whose numerals with a base are their values; None where a digit exceeds its base, or
    a number bears another index or a prime, which the grammar would drop."""
    bad = False

    def value(match: re.Match[str]) -> str:
        nonlocal bad
        base = int(match[2] or match[3])
        try:
            return str(int(match[1], base))
        except ValueError:
            bad = True
            return match[0]

    told = _INSIDE.sub(value, text)
    return None if bad or _MARKED.search(told) else told
