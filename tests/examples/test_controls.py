"""Controls: wrong labels that are wrong, other wordings, examples in context."""

from __future__ import annotations

import re

import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples import controls
from oneshot_rlvr.types import Example

POOL = [Example(str(n), f"What is {n} + 0?", str(n)) for n in range(50)]


def wrong_if_other(example: Example, label: str) -> Example | None:
    from dataclasses import replace

    return None if label == example.answer else replace(example, answer=label)


def corrupted(share: float, seed: int = 0, label=None) -> list[Example]:
    label = label or controls.of_another(POOL, seed)
    return controls.corrupted(POOL, share, label, wrong_if_other, seed)


def wrong(examples: list[Example]) -> set[str]:
    return {e.id for e in examples if e.answer != e.id}


def test_exactly_the_share_is_wrong_and_the_gold_is_kept():
    found = corrupted(0.6)
    assert [e.id for e in found] == [e.id for e in POOL]
    assert len(wrong(found)) == 30
    for example in found:
        if example.id in wrong(found):
            assert example.extra == {"true_answer": example.id}
        else:
            assert example.extra == {}
    assert wrong(corrupted(0.0)) == set()
    assert len(wrong(corrupted(1.0))) == 50


def test_a_seed_decides_and_a_smaller_share_is_part_of_a_larger():
    assert corrupted(0.6) == corrupted(0.6)
    assert wrong(corrupted(0.6, seed=1)) != wrong(corrupted(0.6))
    assert wrong(corrupted(0.2)) < wrong(corrupted(0.6)) < wrong(corrupted(0.9))


def test_an_unguessable_label_is_a_six_digit_number_of_its_own():
    label = controls.unguessable(seed=3)
    labels = {label(example, 0) for example in POOL}
    assert len(labels) == 50
    assert all(re.fullmatch(r"[1-9]\d{5}", text) for text in labels)
    assert label(POOL[0], 0) == label(POOL[0], 0) != label(POOL[0], 1)


def test_where_no_wrong_label_is_found_it_says_so():
    with pytest.raises(DataError, match="no wrong label was found for example"):
        corrupted(1.0, label=lambda example, attempt: example.answer)
    with pytest.raises(DataError, match="wanted 0 to 1"):
        corrupted(60)


def test_another_wording_keeps_gold_and_other_turns():
    turns = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"})
    chat = Example("a", "What?", "4", messages=turns)
    asked = controls.asked_as(chat, "How many?")
    assert asked.question == "How many?"
    assert asked.chat() == [turns[0], {"role": "user", "content": "How many?"}]
    assert asked.answer == "4"
    assert controls.asked_as(POOL[1], "One?").chat() == [{"role": "user", "content": "One?"}]
    with pytest.raises(DataError, match="blank"):
        controls.asked_as(chat, " ")


def test_the_paper_s_sentence_is_taken_off_once():
    asked = Example("a", f"What is 2 + 2? {controls.PAPER_SUFFIX}", "4")
    assert controls.without_suffix(asked).question == "What is 2 + 2?"
    assert controls.without_suffix(POOL[0]) == POOL[0]


def test_an_example_in_context_is_answered_before_the_question():
    shot = Example("s", "Shot?", "12.8")
    found = controls.in_context(POOL[3], [shot])
    assert found.chat() == [
        {"role": "user", "content": "Shot?"},
        {"role": "assistant", "content": "The answer is \\boxed{12.8}."},
        {"role": "user", "content": "What is 3 + 0?"},
    ]
    assert (found.id, found.question, found.answer) == ("3", "What is 3 + 0?", "3")
    solved = Example("s", "Shot?", "12.8", extra={"solution": "Because. \\boxed{12.8}"})
    assert controls.in_context(POOL[3], [solved]).chat()[1]["content"] == "Because. \\boxed{12.8}"


def test_a_system_turn_stays_first():
    turns = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"})
    found = controls.in_context(Example("a", "What?", "4", messages=turns), [POOL[1]])
    assert [turn["role"] for turn in found.chat()] == ["system", "user", "assistant", "user"]


def test_the_question_itself_is_never_put_in_context():
    with pytest.raises(DataError, match="gives its answer away"):
        controls.in_context(POOL[1], [POOL[1]])
