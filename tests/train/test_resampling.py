"""Rows without variance ask another prompt."""

import pytest

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.train.resampling import refuse_single_prompt, replace_equal_rows
from oneshot_rlvr.types import Example, Graded, Reason, Rollout, Verdict


def group(row, rewards, example="0"):
    return [
        Graded(
            Rollout(row, i, example, (1,), (2, 3), (0.0, 0.0), "x", True),
            Verdict(False, Reason.MISMATCH),
            reward,
        )
        for i, reward in enumerate(rewards)
    ]


def asker(answers):
    """Answers rows from a script, {(round, row): rewards}; keeps what it was asked."""
    asked = []

    def ask(wanted, turn):
        asked.append((turn, dict(wanted)))
        return [
            item
            for row, example in wanted.items()
            for item in group(row, answers[turn, row], str(example))
        ]

    return ask, asked


def test_only_equal_rows_ask_again_until_they_vary():
    first = [*group(0, [1, 0]), *group(1, [1, 1]), *group(2, [0, 0])]
    ask, asked = asker({(1, 1): [0, 1], (1, 2): [0, 0], (2, 2): [1, 0]})
    found = replace_equal_rows(first, [5, 8, 9], 10, 10, ask)
    result, metrics = found.kept, found.metrics
    assert asked == [(1, {1: 9, 2: 0}), (2, {2: 1})]  # the next in the pool, around its end
    assert [(g.rollout.row, g.rollout.example_id, g.reward) for g in result] == [
        (0, "0", 1), (0, "0", 0), (1, "9", 0), (1, "9", 1), (2, "1", 1), (2, "1", 0),
    ]  # fmt: skip
    # Two rollouts of two tokens each: row 1 once, row 2 twice.
    assert metrics == {"train/resampled_rows": 2, "train/discarded_tokens": 12}
    # Nothing is lost: row 1 as first asked, row 2 as first and secondly asked.
    assert [(g.rollout.row, g.rollout.example_id, g.reward) for g in found.replaced] == [
        (1, "0", 1), (1, "0", 1), (2, "0", 0), (2, "0", 0), (2, "0", 0), (2, "0", 0),
    ]  # fmt: skip
    assert found.sampling == [1, 1, 2, 2, 3, 3, 1, 1, 1, 1, 2, 2]
    assert found.columns["learned"] == [True] * 6 + [False] * 6
    assert len(found.all) == 12


def test_scores_that_differ_by_rounding_alone_ask_again_and_others_do_not():
    rows = [*group(0, [0.1 + 0.2, 0.3]), *group(1, [0.3, 0.31])]
    assert rows[0].reward != rows[1].reward
    ask, asked = asker({(1, 0): [0.25, 0.5]})
    found = replace_equal_rows(rows, [0, 1], 4, 2, ask)
    result, metrics = found.kept, found.metrics
    assert asked == [(1, {0: 1})]
    assert [g.reward for g in result] == [0.25, 0.5, 0.3, 0.31]
    assert metrics["train/resampled_rows"] == 1


def test_after_the_last_round_a_row_stays_equal():
    ask, asked = asker({(1, 0): [1, 1], (2, 0): [1, 1]})
    found = replace_equal_rows(group(0, [0, 0]), [0], 4, 3, ask)
    result, metrics = found.kept, found.metrics
    assert [turn for turn, _ in asked] == [1, 2]
    assert [g.reward for g in result] == [1, 1]
    assert metrics["train/resampled_rows"] == 1


def test_a_row_never_gets_its_own_prompt_again():
    ask, asked = asker({(turn, 0): [1, 1] for turn in range(1, 9)})
    replace_equal_rows(group(0, [0, 0]), [2], 3, 9, ask)
    assert [wanted[0] for _, wanted in asked] == [0, 1] * 4


def test_where_every_row_varies_nothing_is_asked():
    ask, asked = asker({})
    first = group(0, [1, 0])
    assert replace_equal_rows(first, [0], 4, 5, ask).kept == first
    assert asked == []


def test_a_pool_of_one_prompt_is_refused():
    twice = [Example("a", "1+1?", "2"), Example("b", "1+1?", "2")]
    with pytest.raises(ConfigError, match=r"Set algorithm\.dynamic_sampling=false"):
        refuse_single_prompt(twice)
    refuse_single_prompt([*twice, Example("c", "1+2?", "3")])
