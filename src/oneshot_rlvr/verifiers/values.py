r"""Single values: what stands beside an expression (a percent sign, a base), then the expression.

`equal` says whether two values are the same and which rule said so. Importing this imports sympy.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import sympy

from oneshot_rlvr.verifiers import bases, expressions, proof
from oneshot_rlvr.verifiers.fonts import FONT
from oneshot_rlvr.verifiers.numbers import DECIMALS, plain_number
from oneshot_rlvr.verifiers.words import Words, plain_text

MAX_LIST = 64

_PERCENT = re.compile(
    rf"\s*(?:\\?%|{FONT}\s?\{{\s?(?:\\?%|per\s?cent|percentage|pct)\s?\}}|per\s?cent|percentage|pct)\s*$"
)
_SPACING = re.compile(r"\s|\\[,;:!> ]|(?<=[A-Za-z])\.(?![A-Za-z]{3})")
_ONE_IN_BRACES = re.compile(r"\{([^{}\\])\}")
_HALF_DAY = re.compile(r"(?<=\d)\s*([ap])\.?\s?m\b\.?", re.IGNORECASE)
_LETTERS = re.compile(r"[A-Za-z]+")
_DECIMALS = re.compile(r"[-+]?\s?\d*\.?(\d*)")
_APART = sympy.Float("1e-20")


def text(node: Any) -> str:
    """The text of a Value or of Words; of a sequence, its items'."""
    if hasattr(node, "items"):
        return ",".join(text(item) for item in node.items)
    return str(node.text if isinstance(node, Words) else node.latex)


def plain(node: Any) -> str:
    """A node's text as words would be compared; "" for one that is no single text."""
    if isinstance(node, Words):
        return node.text
    latex = getattr(node, "latex", "")
    return " ".join(plain_text(latex).casefold().split())


def equal(
    wanted: str, said: str, percent_asked: bool = False, decimals: int = DECIMALS
) -> tuple[bool, str]:
    """Whether two values are equal, to that many places where one is a decimal; by which rule."""
    if canonical(wanted) == canonical(said) and readable(wanted):
        return True, "same-text"
    left, right = bases.numeral(wanted), bases.numeral(said)
    if left is not None or right is not None:
        return _same_numeral(left, right, wanted, said), "base"
    percent_wanted, percent_said = is_percentage(wanted), is_percentage(said)
    if percent_wanted or percent_said:
        core_wanted, core_said = _PERCENT.sub("", wanted), _PERCENT.sub("", said)
        if percent_wanted and percent_said:
            return _same(core_wanted, core_said, decimals), "percent"
        if percent_wanted:
            same = _same(core_wanted, said, decimals) or _same(
                _hundredth(core_wanted), said, decimals
            )
        else:
            same = _same(wanted, _hundredth(core_said), decimals) or (
                percent_asked and _same(wanted, core_said, decimals)
            )
        return same, "percent"
    return _same(wanted, said, decimals), "expression"


def _same_numeral(
    left: tuple[int | None, int] | None,
    right: tuple[int | None, int] | None,
    wanted: str,
    said: str,
) -> bool:
    if left is not None and right is not None:
        return left == right and left[0] is not None
    known, other = (left, said) if left is not None else (right, wanted)
    assert known is not None
    return known[0] is not None and _same(str(known[0]), other)


def _same(wanted: str, said: str, decimals: int = DECIMALS) -> bool:
    a, b = plain_number(wanted), plain_number(said)
    if a is not None and b is not None and not (a.decimal or b.decimal):
        return a.value == b.value
    left, right = expressions.expression(wanted), expressions.expression(said)
    if left is None or right is None:
        return left is right is None and loose(wanted) == loose(said) != ""
    return expressions.equal(left, right, decimals)


def is_percentage(latex: str) -> bool:
    r"""Whether a whole value is a percentage; `\frac{1}{2} + 5\%` is a sum that ends in one."""
    return _PERCENT.search(latex) is not None and not (
        any(place > 0 for place in _top_level_signs(latex))
    )


def _top_level_signs(latex: str) -> list[int]:
    """Where a + or - stands outside all brackets."""
    depth, found = 0, []
    for place, character in enumerate(latex.strip()):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in "+-":
            found.append(place)
    return found


def core(latex: str) -> str:
    """A value without its percent sign, where it is one percentage."""
    return _PERCENT.sub("", latex) if is_percentage(latex) else latex


def _hundredth(core: str) -> str:
    return rf"\frac{{{core}}}{{100}}"


def readable(latex: str) -> bool:
    """Whether a value means anything: it parses, or holds a letter or a digit."""
    return expressions.expression(latex) is not None or any(c.isalnum() for c in latex)


def canonical(latex: str) -> str:
    """A text without spaces and without braces around single characters."""
    latex = re.sub(r"(?<=\d)\s+(?=\d)", "_", latex)
    return _ONE_IN_BRACES.sub(r"\1", _SPACING.sub("", latex).replace("\\dfrac", "\\frac"))


def loose(latex: str) -> str:
    """As `canonical`, for texts that no grammar reads; without case where all letters are words."""
    told = re.sub(r"(?<=\d)\s+(?=\d)", "_", plain_text(latex))  # 1 2 is not 12
    told = _HALF_DAY.sub(lambda m: f"{m[1].lower()}m", told)
    bare = re.sub(r"[\s.]", "", told)
    runs = _LETTERS.findall(told)
    wordy = "\\" not in told and all(len(run) > 2 and not run.isupper() for run in runs)
    return bare.casefold() if wordy else bare


def is_constant(node: Any) -> bool:
    """Whether a node is a value without symbols."""
    if isinstance(node, Words) or not hasattr(node, "latex"):
        return not isinstance(node, Words)
    value = expressions.expression(core(node.latex))
    return value is None or not getattr(value, "free_symbols", set())


def less(low: Any, high: Any) -> bool:
    """Whether both nodes are real numbers and the first is the smaller one."""
    if not (hasattr(low, "latex") and hasattr(high, "latex")):
        return False
    left, right = (expressions.number(expressions.expression(end.latex)) for end in (low, high))
    if left is None or right is None or left.imag or right.imag:
        return False
    return left.real < right.real


def multiple(wanted: list[str], said: list[str]) -> int | None:
    """The sign of c where left - right of one relation is c times the other's; 0 or None."""
    sides = [expressions.expression(side) for side in (*wanted, *said)]
    if any(side is None or not isinstance(side, sympy.Expr) for side in sides):
        return None
    left = sympy.Add(sides[0], sympy.Mul(-1, sides[1]))
    right = sympy.Add(sides[2], sympy.Mul(-1, sides[3]))
    return proof.proportional(left, right)


def rounds_to(exact: str, rounded: str) -> bool:
    r"""Whether `exact \approx rounded` is true: rounding or cutting gives the digits shown."""
    if equal(exact, rounded)[0]:
        return True
    number = plain_number(rounded)
    value = expressions.number(expressions.expression(exact))
    if value is None or value.imag:
        return False
    left = plain_number(exact)
    if (
        left is not None
        and left.decimal
        and (number is None or (number.value.denominator > 1 and not number.decimal))
    ):
        return rounds_to(rounded, exact)  # 0.67 \\approx 2/3
    if number is None:
        other = expressions.number(expressions.expression(rounded))
        return other is not None and expressions.close(value, other)
    shown = len(match[1] or "") if (match := _DECIMALS.fullmatch(rounded.strip())) else 0
    unit = Fraction(1, 10**shown)
    distance = Fraction(value.real) - number.value
    cut = distance if number.value >= 0 else -distance  # what cutting took off, towards zero
    return abs(distance) <= unit / 2 * Fraction(1000001, 1000000) or (shown > 0 and 0 <= cut < unit)
