"""Which prompts ask one question."""

import pytest

from oneshot_rlvr.examples.controls import PAPER_SUFFIX
from oneshot_rlvr.examples.likeness import near_duplicates, same_questions

LONG = "The pressure $P$ exerted by wind on a sail varies jointly as the area $A$ of the sail."


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is $2+2$?", "what is  2 + 2 ?"),
        ("What is 12 + 30?", f"What is 12 + 30? {PAPER_SUFFIX}"),
        ("Solve the problem. What is 12 + 30?", "What is 12 + 30?"),
        ("Question: What is 12 + 30?\n\nAnswer:", "What is 12 + 30?"),
        (LONG, f"Here comes one, {LONG} say it in a box"),
        ("Wie groß ist x, wenn x² = 9?", "WIE GROSS IST X, WENN X2 = 9?"),
    ],
)
def test_a_question_is_the_same_whatever_stands_around_it(one, other):
    assert [(p.one, p.other) for p in same_questions([one], [other])] == [(0, 0)]
    assert [(p.one, p.other) for p in same_questions([other], ["another one", one])] == [(0, 1)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 12 + 30?", "What is 12 + 31?"),
        ("What is 12 + 3", "What is 12 + 30?"),  # no whole sentence
        ("Say a.", "Then I say: Say a."),  # too short to be found inside another
        ("Ana has 28 cards. How many?", "Ben has 28 cards. How many?"),
    ],
)
def test_other_questions_are_others(one, other):
    assert same_questions([one], [other]) == []
    assert same_questions([other], [one]) == []


def test_near_duplicates_are_told_with_the_most_alike_first():
    words = "a train leaves the town at noon and runs with the speed of sixty miles an hour north"
    reworded, other = words.replace("sixty", "seventy"), "quite another thing is asked in this line"
    (pair, last) = near_duplicates([words], [other, reworded, words])
    # 18 words make 16 runs of three; one other word changes three of them: 13 of 19 are shared.
    assert (pair.other, pair.alike) == (2, 1.0)
    assert (last.other, last.alike) == (1, pytest.approx(13 / 19))


def test_exercises_of_one_template_with_other_numbers_are_no_near_duplicates():
    one = "Ana has 28 cards and buys 83 more. How many cards now?"
    assert near_duplicates([one], ["Ana has 31 cards and buys 12 more. How many cards now?"]) == []
