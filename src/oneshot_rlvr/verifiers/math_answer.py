r"""math_answer: the final answer equals the gold as mathematics.

The last complete `\boxed{}` decides (extraction.py). Plain numbers are compared exactly and at
once; everything else symbolically by math-verify 0.9 (symbolic.py), imported on first need.
Source of the symbolic rules: https://github.com/huggingface/Math-Verify
"""

from __future__ import annotations

import re
from fractions import Fraction

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, wrong
from oneshot_rlvr.verifiers.extraction import final_answer
from oneshot_rlvr.verifiers.numbers import DECIMALS, PlainNumber, plain_number

MAX_ANSWER_CHARS = 2000  # the longest published gold has under 500; longer answers are rambling

# Decimals that differ by less may still be equal after rounding; symbolic.py decides those.
CLEARLY_APART = Fraction(2, 10**6)
EVALUATED = ("any", "simplified")
_PERCENT = re.compile(r"per\s?cent|%", re.IGNORECASE)
FLOAT_SHARE = Fraction(1, 10**12)  # of the larger one; a float holds about 1 part in 10**16


RULES = {
    "number": "Both are plain numbers, compared exactly.",
    "no-answer": "No answer was stated where one is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "unreadable": "The answer cannot be read as words or mathematics, and is not the gold's text.",
    "same-text": "Compared as texts, spaces apart.",
    "words": "Compared as words, letter for letter.",
    "expression": "Compared as expressions: expanded, at several points, or simplified.",
    "percent": "One or both state a percentage.",
    "base": "A stated base: values are compared, and two stated bases must agree.",
    "stated-unit": "Both state what kind of value it is (degrees, dollars), and they contradict.",
    "left-side": "An equation's left side must be a name, the gold's own, or equal to its right.",
    "approximation": "The right of an approximation must be the left, rounded or cut.",
    "equation": "Compared as equations: one is a multiple of the other.",
    "relation": "Compared as relations: the same sides, or a multiple of them.",
    "interval": "An inequality and an interval, compared by their ends.",
    "union": "Compared as unions: the same parts in any order.",
    "set": "Compared as sets by sympy.",
    "brackets": "Their brackets differ: a tuple, an interval and a set are three things.",
    "order": "Compared item by item, in order.",
    "list": "Compared item by item, in any order.",
    "or": "Every way of saying it is compared; all must be right.",
    "unevaluated": 'Equal, but it leaves arithmetic undone (evaluated = "simplified").',
}


class MathAnswer(Verifier):
    """Options: answer_tags, extraction, golds (further right answers), evaluated, decimals,
    inequality_for_set."""

    name = "math_answer"
    options = frozenset(
        {"answer_tags", "extraction", "golds", "evaluated", "decimals", "inequality_for_set"}
    )
    rules = RULES

    def extract(self, text: str, example: Example) -> str | Verdict:
        answer = final_answer(text, example)
        if not answer:
            return wrong(Reason.NO_ANSWER, answer, rule="no-answer")
        if len(answer) > MAX_ANSWER_CHARS:
            return wrong(
                Reason.UNPARSEABLE, answer[:MAX_ANSWER_CHARS], rule="too-long", too_long=len(answer)
            )
        return answer

    def quick(self, answer: str, example: Example) -> Verdict | None:
        said = plain_number(answer)
        if said is None or evaluated(example) == "simplified":
            return None
        certain = True
        for gold in golds(example):
            wanted = plain_number(gold)
            same = equal_plain(said, wanted, decimals(example)) if wanted is not None else None
            if same:
                return correct(answer, rule="number")
            certain = certain and same is not None
        return wrong(Reason.MISMATCH, answer, rule="number") if certain else None

    def check_options(self, example: Example) -> None:
        """DataError for options that make no sense."""
        evaluated(example)
        decimals(example)
        option(example, "inequality_for_set", bool, True)

    def warm(self) -> None:
        from oneshot_rlvr.verifiers import symbolic

        symbolic.compare("1+1", ("2",))  # the first comparison builds the grammar's tables

    def compare(self, answer: str, example: Example) -> Verdict:
        from oneshot_rlvr.verifiers import symbolic

        return symbolic.compare(
            answer,
            golds(example),
            percent_asked=bool(_PERCENT.search(example.question)),
            simplified=evaluated(example) == "simplified",
            decimals=decimals(example),
            inequality_for_set=bool(option(example, "inequality_for_set", bool, True)),
        )


def evaluated(example: Example) -> str:
    """The option `evaluated`: may an answer leave arithmetic undone? DataError for others."""
    value = option(example, "evaluated", str, "any")
    if value not in EVALUATED:
        raise DataError(
            f'example {example.id!r}: option evaluated is {value!r}; wanted "any" or "simplified".'
        )
    return str(value)


def decimals(example: Example) -> int:
    """The option `decimals`: the places to which a decimal must agree. DataError for others."""
    if "decimals" not in example.extra:
        return DECIMALS
    value = option(example, "decimals", int, DECIMALS)
    if not 0 <= value <= DECIMALS:
        raise DataError(
            f"example {example.id!r}: option decimals is {value}; wanted 0 to {DECIMALS} places."
        )
    return int(value)


def golds(example: Example) -> tuple[str, ...]:
    """The gold and any equally right ones (`extra["golds"]`)."""
    return (example.answer, *(str(g) for g in option(example, "golds", (list, tuple), ())))


def equal_plain(said: PlainNumber, wanted: PlainNumber, decimals: int = DECIMALS) -> bool | None:
    """Whether two plain numbers are equal; None where rounding decides."""
    if said.value == wanted.value:
        return True
    if not (said.decimal or wanted.decimal):
        return False
    # The symbolic path holds decimals as floats, which 18 digits exceed.
    rounded = max(CLEARLY_APART, FLOAT_SHARE * max(abs(said.value), abs(wanted.value)))
    if decimals < DECIMALS:
        rounded = max(rounded, Fraction(1, 10**decimals))
    return False if abs(said.value - wanted.value) > rounded else None
