r"""The comparison in earnest: both texts respelled, laid out, and matched part by part.

spelling.py respells, layout.py reads lists, brackets and relations, matching.py compares them, and
expressions.py compares what is left, single expressions, by latex2sympy's grammar and sympy.
What cannot be parsed equals nothing but its own text, spaces and case apart (ms-swift#9889).
Importing this imports sympy (a second); nothing here has a deadline: it runs in a killable worker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence as Items
from functools import lru_cache

import sympy
from math_verify import verify

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Reason, Verdict
from oneshot_rlvr.verifiers import expressions, stated_units, unevaluated, values
from oneshot_rlvr.verifiers.base import correct, shown, wrong
from oneshot_rlvr.verifiers.intervals import conjoined
from oneshot_rlvr.verifiers.layout import Node, Relation, Sequence, Union, Value, laid_out
from oneshot_rlvr.verifiers.matching import Matcher
from oneshot_rlvr.verifiers.numbers import DECIMALS
from oneshot_rlvr.verifiers.spelling import respelled
from oneshot_rlvr.verifiers.words import Words, words

_MEANINGFUL = re.compile(r"[^\W_]")  # a letter or a digit
_OBJECTS = re.compile(r"\\(?:setminus|backslash|cap|cup|mathbb|begin)(?![A-Za-z])")
_EITHER = re.compile(r"\bor\b|\\(?:lor|vee)(?![a-z])", re.IGNORECASE)
_TWO_DECIMALS = re.compile(r"([-\u2212]?\d{1,6})[.,](\d\d)")
_SETS_IN_WORDS = {
    **dict.fromkeys(("all real numbers", "all reals", "real numbers"), r"\mathbb{R}"),
    **dict.fromkeys(("no solution", "empty set"), r"\emptyset"),
}
_OR = re.compile(r"\\text\s?\{\s?OR\s?\}")


def compare(
    answer: str,
    golds: Items[str],
    *,
    percent_asked: bool = False,
    simplified: bool = False,
    decimals: int = DECIMALS,
    inequality_for_set: bool = True,
) -> Verdict:
    """Whether the answer equals one of the golds. DataError for a gold without a meaning.

    The options are those of the kind (docs/verifiers/math_answer.md).
    """
    parts = _OR.split(answer)
    if len(parts) > 1:  # right if every way of saying it is
        verdicts = [
            compare(
                part,
                golds,
                percent_asked=percent_asked,
                simplified=simplified,
                decimals=decimals,
                inequality_for_set=inequality_for_set,
            )
            for part in parts
        ]
        false = next((v for v in verdicts if not v.correct), None)
        return wrong(false.reason, answer, **false.details) if false else correct(answer, rule="or")
    said = _read(answer)
    rule = "unreadable"
    for gold in _alternatives(golds):
        wanted = _read(gold)
        if not _MEANINGFUL.search(gold) and (wanted is None or not _has_meaning(wanted)):
            raise DataError(f"the gold {shown(gold)} cannot be read as a mathematical answer.")
        same, decided = _same(
            gold, answer, wanted, said, Matcher(percent_asked, decimals, inequality_for_set)
        )
        if same and simplified and not unevaluated.as_simple(said, wanted):
            return wrong(Reason.MISMATCH, answer, rule="unevaluated")
        if same:
            return correct(answer, rule=decided)
        rule = decided
    if said is None or not _has_meaning(said):
        return wrong(Reason.UNPARSEABLE, answer, rule="unreadable")
    return wrong(Reason.MISMATCH, answer, rule=rule)


def _same(
    gold: str, answer: str, wanted: Node | None, said: Node | None, matcher: Matcher
) -> tuple[bool, str]:
    if values.loose(gold) == values.loose(answer) != "":
        return True, "same-text"
    if wanted is None or said is None:
        return False, "unreadable"
    if _with_point(gold) == _with_point(answer) != "":
        return True, "number"
    factor = stated_units.factor(gold, answer)
    if factor is None:
        return False, "stated-unit"
    if factor != 1:
        if not isinstance(said, Value):
            return False, "stated-unit"
        said = Value(rf"({said.latex})\cdot\frac{{{factor.numerator}}}{{{factor.denominator}}}")
    wanted = wanted if _EITHER.search(gold) else conjoined(wanted)
    said = said if _EITHER.search(answer) else conjoined(said)
    if matcher.equal(wanted, said):
        return True, matcher.rule
    if _same_objects(gold, answer):
        return True, "set"
    return False, matcher.rule


def _with_point(text: str) -> str:
    """1.22 and 1,22, a number with two decimals, with a point; "" for anything else.

    Alone 1,22 may be a list, and is read as one; beside 1.22 it is that number.
    """
    match = _TWO_DECIMALS.fullmatch(text.strip().strip("$").strip())
    return ".".join(match.groups()) if match else ""


def _same_objects(gold: str, answer: str) -> bool:
    r"""Sets and matrices that are said in different ways, as sympy has them.

    `\mathbb{R} \setminus \{2\}` is a union, and a sum of matrices is a matrix.
    """
    gold, answer = _set_text(gold), _set_text(answer)
    if not (_OBJECTS.search(gold) or _OBJECTS.search(answer)):
        return False
    wanted, said = expressions.expression(gold), expressions.expression(answer)
    for kind in (sympy.Set, (sympy.MatrixBase, sympy.MatrixExpr)):
        if isinstance(wanted, kind) and isinstance(said, kind):
            finite = isinstance(wanted, sympy.FiniteSet) or isinstance(said, sympy.FiniteSet)
            return not finite and bool(verify(wanted, said, timeout_seconds=None))
    return False


def _set_text(text: str) -> str:
    said = words(text)
    body = (_SETS_IN_WORDS.get(said.text) if said else respelled(text)) or ""
    return re.sub(r"^\s*\\?[A-Za-z]\s*\\in(?![A-Za-z])", "", body).replace(
        r"\backslash", r"\setminus"
    )


@lru_cache(maxsize=512)
def _read(text: str) -> Node | None:
    """The layout of a text, or None for one that must not be read."""
    said = words(text)
    if said is not None:
        named = _SETS_IN_WORDS.get(said.text)
        return laid_out(named) if named else said
    body = respelled(text)
    return laid_out(body) if body else None


def _alternatives(golds: Items[str]) -> list[str]:
    r"""Each gold, and each side of a `\text{ OR }` in one (DeepScaleR has such golds)."""
    return [part for gold in golds for part in _OR.split(gold)]


def has_meaning(text: str) -> bool:
    """Whether a text is words or can be read as mathematics."""
    node = _read(text)
    return node is not None and _has_meaning(node)


def _has_meaning(node: Node) -> bool:
    if isinstance(node, Words):
        return True
    if isinstance(node, Value):
        return expressions.expression(values.core(node.latex)) is not None
    if isinstance(node, Relation):
        return any(map(_has_meaning, node.sides))
    if isinstance(node, Sequence):
        return any(map(_has_meaning, node.items))
    if isinstance(node, Union):
        return any(map(_has_meaning, node.parts))
    return _has_meaning(node.value)
