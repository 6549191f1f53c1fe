r"""math_answer: the final answer equals the gold as mathematics.

The last complete `\boxed{}` decides (extraction.py). Plain numbers are compared exactly and at
once; everything else symbolically by math-verify 0.9 (symbolic.py), imported on first need.
Source of the symbolic rules: https://github.com/huggingface/Math-Verify
"""

from __future__ import annotations

from fractions import Fraction

from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, wrong
from oneshot_rlvr.verifiers.extraction import final_answer
from oneshot_rlvr.verifiers.numbers import PlainNumber, plain_number

MAX_ANSWER_CHARS = 2000  # the longest published gold has under 500; longer answers are rambling

# Decimals that differ by less may still be equal after rounding; symbolic.py decides those.
CLEARLY_APART = Fraction(2, 10**6)
FLOAT_SHARE = Fraction(1, 10**12)  # of the larger one; a float holds about 1 part in 10**16


class MathAnswer(Verifier):
    """Options: answer_tags, extraction, golds (further right answers)."""

    name = "math_answer"
    options = frozenset({"answer_tags", "extraction", "golds"})

    def extract(self, text: str, example: Example) -> str | Verdict:
        answer = final_answer(text, example)
        if not answer:
            return wrong(Reason.NO_ANSWER, answer)
        if len(answer) > MAX_ANSWER_CHARS:
            return wrong(Reason.UNPARSEABLE, answer[:MAX_ANSWER_CHARS], too_long=len(answer))
        return answer

    def quick(self, answer: str, example: Example) -> Verdict | None:
        said = plain_number(answer)
        if said is None:
            return None
        certain = True
        for gold in golds(example):
            wanted = plain_number(gold)
            same = equal_plain(said, wanted) if wanted is not None else None
            if same:
                return correct(answer)
            certain = certain and same is not None
        return wrong(Reason.MISMATCH, answer) if certain else None

    def warm(self) -> None:
        from oneshot_rlvr.verifiers import symbolic

        symbolic.compare("1+1", ("2",))  # the first comparison builds the grammar's tables

    def compare(self, answer: str, example: Example) -> Verdict:
        from oneshot_rlvr.verifiers import symbolic

        return symbolic.compare(answer, golds(example))


def golds(example: Example) -> tuple[str, ...]:
    """The gold and any equally right ones (`extra["golds"]`)."""
    return (example.answer, *(str(g) for g in option(example, "golds", (list, tuple), ())))


def equal_plain(said: PlainNumber, wanted: PlainNumber) -> bool | None:
    """Whether two plain numbers are equal; None where rounding decides."""
    if said.value == wanted.value:
        return True
    if not (said.decimal or wanted.decimal):
        return False
    # The symbolic path holds decimals as floats, which 18 digits exceed.
    rounded = max(CLEARLY_APART, FLOAT_SHARE * max(abs(said.value), abs(wanted.value)))
    return False if abs(said.value - wanted.value) > rounded else None
