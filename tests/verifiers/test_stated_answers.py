"""Answers that are stated in prose (`extraction = "lenient"`): what states 5, and what does not.

The same texts for both kinds that read numbers: what a text states is one rule for all of them.
"""

import pytest

from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers import get_verifier

STATED = [
    "The answer is 5.",
    r"The interest is \boxed{200}, so 205. Final Answer: The final answer is $5$. I hope so.",
    r"\boxed{5} is the final answer.",
    "Answer: 5",
    "Answer - 5",
    "ANSWER: 5",
    "**Answer:** 5",
    "#### 5",
    "##### 5",
    "= 5",
    "Therefore x = 5.",
    "So it equals 5",
    "5",
    "$5$",
    "5 apples",
    "Final answer: 5 apples",
    "The answer is 5, not 6",
    "The answer is not 6 but 5",
    "x = 5, not 6",
    "If n is even then the answer is 5.",
    "I think the answer is 5.",
    "After some thought the answer is 5.",
    "I believe that the answer is 5",
    "A common wrong answer is 6. The answer is 5.",
    "The answer is 5. A common wrong answer is 6.",
    "My first answer was 6. The answer is 5.",
    "The answer is 5. This is correct." + " It holds." * 600,
    "It is İstanbul. The answer is 5.",
]
NOT_STATED = [
    "So x != 5",
    "So x ≠ 5",
    r"So x \ne 5",
    "We get x >= 5",
    "We get x > 5",
    "so 2x = 5",
    "The wrong answer is 5",
    "An incorrect answer is 5.",
    "The worst answer is 5",
    "The least likely answer is 5",
    "The answer is not 5.",
    "The answer is no longer 5",
    "The answer isn't 5",
    "The answer can't be 5",
    "The answer is never 5",
    "The answer is far from 5",
    "The answer exceeds 5",
    "The answer is > 5",
    "The answer is at most 5",
    "The answer is 5 or 6",
    "The answer is between 4 and 5",
    "The answer is 6, not 5",
    "The answer is not only 6 but 5",
    "The answer is 5? No.",
    "The answer is 5?",
    "The answer is 5. That is wrong.",
    "Someone says the answer is 5. They are wrong.",
    "He claims that the answer is 5",
    "I thought the answer was 5",
    "The first answer was 5",
    "The old answer was 5. The new one is 6.",
    "Suppose the answer is 5",
    "If the answer is 5",
    "Let x = 5",
    "We reject x = 5",
    "We can rule out x = 5",
    "x = 5 is extraneous",
    "x = 5 is not a solution",
    "x = 5 is wrong",
    "Is it 5?",
    r"I get \boxed{6}. The final answer is not 5.",
    r"The final answer is 5. No, wait: \boxed{6}",
    "It cannot be 5",
    "5 tenths",
    "5 or so",
    "There are no 5 left",
]


@pytest.mark.parametrize("kind", ["numeric", "math_answer"])
@pytest.mark.parametrize("text", STATED)
def test_a_stated_answer_is_read(kind, text):
    asked = Example("x", "", "5", kind, extra={"extraction": "lenient"})
    verdict = get_verifier(kind).check(text, asked)
    assert verdict.correct, verdict


@pytest.mark.parametrize("kind", ["numeric", "math_answer"])
@pytest.mark.parametrize("text", NOT_STATED)
def test_what_is_denied_supposed_or_taken_back_is_not_stated(kind, text):
    asked = Example("x", "", "5", kind, extra={"extraction": "lenient"})
    assert not get_verifier(kind).check(text, asked).correct


@pytest.mark.parametrize("kind", ["numeric", "math_answer"])
@pytest.mark.parametrize("text", [t for t in (*STATED, *NOT_STATED) if "boxed{5}" not in t])
def test_nothing_is_stated_for_the_strict_reading(kind, text):
    assert not get_verifier(kind).check(text, Example("x", "", "5", kind)).correct
