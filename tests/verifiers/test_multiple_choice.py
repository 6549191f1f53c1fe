"""multiple_choice: what concludes an option and what does not, one line a case."""

import pytest

from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers import get_verifier

CITIES = ["Paris", "Rome", "Berlin", "Madrid"]


def check(text, gold="B", choices=CITIES):
    extra = {} if choices is None else {"choices": choices}
    example = Example("x", "q", gold, "multiple_choice", extra=extra)
    return get_verifier("multiple_choice").check(text, example)


NO_CONCLUSION = [
    "(B) is incorrect",
    "(B) is wrong.",
    "(B) can be eliminated.",
    "(B) cannot be right",
    "(B) fails",
    "(B) seems unlikely",
    "So (B) fails.",
    "Hence (B) is false.",
    "Therefore (B) is out.",
    "This rules out (B).",
    "We can exclude (B).",
    "I doubt (B)",
    "I would reject B",
    "It is not (B)",
    "It isn't (B).",
    "Anything but (B)",
    "All of these but (B)",
    "All except (B)",
    "The answer is definitely something other than (B)",
    "The answer is anything but (B)",
    "The answer is not (B).",
    "The answer cannot be (B)",
    "The wrong answer is B",
    "The wrong answer is (B)",
    "An incorrect answer is B.",
    "The answer is never B",
    r"\boxed{\text{anything but } (B)}",
    r"\boxed{\text{not } (B)}",
    r"\boxed{\text{Not B}}",
    "There are (a lot of people) here",
    "(a lot of people say that)",
    "Consider f(b)",
    "So f(B) = 3",
    "It depends on (b) and on time",
    "Vitamin (B)",
    "the set (B, C)",
    "(B) Incorrect.",
    "(B) is not what they ask for",
    "Rome is wrong",
    "Rome is not the capital",
    "Not Rome",
    "Anything but Rome",
    "B is a letter of the alphabet",
    "The worst answer is B",
    "The least likely answer is B",
    "The weakest option is B",
    "Some would say B",
    "Many people choose B",
    "B: false",
    "B (wrong)",
    "B - incorrect",
    "B ✗",
    "A, not B",
    "A rather than B",
    "Not B, not C: A",
    "The answer is not B but A",
    "The answer is not only A but B",
    "It could be B or not",
]


@pytest.mark.parametrize("text", NO_CONCLUSION)
def test_brackets_and_denials_conclude_nothing(text):
    assert not check(text).correct


AMBIGUOUS = [
    r"\boxed{(B) Paris}",
    r"\boxed{B. Paris}",
    r"\boxed{B: Paris}",
    r"\boxed{\text{(B)}\ \text{Paris}}",
    "B. Paris",
    "B) Paris",
    "Answer: B. Paris",
    "Answer: (B) Paris",
    "The answer is (B) Paris",
    "The answer is B. Paris is the capital.",
    "Paris (B)",
    "A or B",
    "(A) or (B)",
    "A and B are right",
    "Either (A) or (B).",
    "The correct option is B: Paris",
    "Therefore, the correct option is (B) Paris.",
    "So it is (B) Paris",
]


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_a_label_that_contradicts_its_text_and_several_labels_are_not_right(text):
    assert not check(text).correct
    assert not check(text, gold="A").correct


CONCLUSIONS = [
    "B",
    "(B)",
    "[B]",
    "B)",
    "B.",
    "**B**",
    "“B”",
    "the answer is “B”",
    'The answer is "B".',
    "The answer is 'B'",
    "option (B)",
    "Option B.",
    "B) Rome",
    "(B) Rome",
    "B. Rome",
    "B - Rome",
    "Rome",
    "Rome.",
    "the answer is Rome",
    "I choose (B)",
    "I am sure it is (B).",
    "So it must be (B).",
    "Therefore, (B).",
    "(B) is the correct answer.",
    "(B) is correct",
    "So (B) is clearly the best choice.",
    "Rome is the correct answer",
    "So A and C are wrong, D is wrong, B is right.",
    "A, C and D are incorrect, so B is the answer.",
    "A is wrong. C is false. D is impossible. B is correct.",
    # followed by an explanation
    "The answer is B because A is too small and C too large.",
    "The answer is (B), since Paris is in France.",
    "The answer is (B). A is in France, C in Germany.",
    "The answer is B: Rome lies in Italy.",
    "The answer is B. It lies on the Tiber.",
    "The answer is Rome, because it is old.",
    "B, because Rome is in Italy",
    "B. Rome\n\nRome has been the capital since 1871.",
    "B\n\nExplanation: Rome lies on the Tiber, Paris on the Seine.",
    "(B) Rome\nIt lies on the Tiber.",
    r"\boxed{B} because Rome is old. A and C are not.",
    r"\boxed{\text{B, because it is old}}",
    r"\boxed{\mathrm{(B)}~\text{Rome}}",
    "A wrong answer is C. The answer is B.",
    "The answer is B. A wrong answer is C.",
    "It's not A, so the answer is B.",
    "It's B",
    "Surely B.",
    "Definitely (B).",
    "B it is",
    "B ✓",
    "B, not C",
    "B rather than C",
    "A, C and D are wrong, so B",
    "Not A, not C, not D: B",
    "The answer is not A but B",
    "Answer - B",
    "So, Rome.",
    "It is Rome.",
    "I would choose Rome",
    "Therefore, the correct option is (B) Rome.",
    "The correct option is B: Rome",
    r"\boxed{\bf B}",
    r"\boxed{\textsf{B}}",
    r"\boxed{B?}",
]


@pytest.mark.parametrize("text", CONCLUSIONS)
def test_an_option_that_is_concluded_is_read_with_its_explanation(text):
    verdict = check(text)
    assert verdict.correct, verdict
    assert not check(text, gold="C").correct


def test_without_texts_a_labels_text_is_the_models_own():
    assert check("(B) Rome", choices=None).correct
    assert check("B. Rome is old", choices=None).correct
    assert not check("(B) is old", choices=None).correct
    assert not check("(B) not at all", choices=None).correct


@pytest.mark.parametrize(
    "text", ["```\n```", "\n", "''", "(", "()", "**", r"\boxed{()}", "B" * 9999]
)
def test_texts_without_anything_in_them_are_no_answer(text):
    assert not check(text).correct


def test_a_list_of_the_options_is_no_choice():
    for text in (
        "B. Rome; D. Madrid",
        "(B) Rome (D) Madrid",
        "A. Paris\nB. Rome\nWell.",
        "A\nB\nC\nD",
        "B. Rome\nC. Berlin\nI do not know.",
    ):
        assert not check(text).correct
        assert not check(text, gold="D").correct


def test_of_texts_that_begin_alike_the_longer_counts():
    choices = ["Rome", "Rome, Italy", "Italy"]
    assert check("B. Rome, Italy", choices=choices).correct
    assert not check("A. Rome, Italy", gold="A", choices=choices).correct
    assert check("A. Rome", gold="A", choices=choices).correct
