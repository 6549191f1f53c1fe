"""Saturation, what is learned after it, over-fitting: on columns whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from oneshot_rlvr.analysis import after_saturation, overfitting_onset, saturation_step
from oneshot_rlvr.analysis.saturation import first_lasting


def samples(shares: list[float], answers: int = 8) -> pd.DataFrame:
    """Questions with exactly these shares of right answers."""
    return pd.DataFrame(
        {"example_id": f"q{q}", "correct": n < round(share * answers)}
        for q, share in enumerate(shares)
        for n in range(answers)
    )


def test_saturation_is_the_fifth_step_in_a_row_at_95_percent():
    accuracy = [(step, 1.0 if step != 3 else 0.94) for step in range(1, 12)]
    assert saturation_step(accuracy) == 8
    assert saturation_step(accuracy[:7]) is None


@pytest.mark.parametrize(("level", "steps", "expected"), [(0.9, 5, 5), (0.95, 3, 6), (1.0, 1, 1)])
def test_level_and_length_are_the_user_s(level, steps, expected):
    accuracy = [(step, 1.0 if step != 3 else 0.94) for step in range(1, 12)]
    assert saturation_step(accuracy, level, steps) == expected


def test_the_gain_after_saturation_is_paired_with_the_first_evaluation_at_or_after_it():
    by_step = {
        0: samples([0.0, 0.0, 0.0]),
        20: samples([0.25, 0.5, 0.5]),
        40: samples([0.5, 0.5, 0.75]),
        60: samples([0.75, 1.0, 0.75]),
    }
    found = after_saturation(25, by_step)
    assert found["step"].tolist() == [40, 60]
    assert found["since"].tolist() == [40, 40]
    assert found["accuracy"].tolist() == pytest.approx([1.75 / 3, 2.5 / 3])
    last = found.iloc[-1]
    # Of 8 answers: (0.25, 0.5, 0, 1/8, -1/8) has the mean 0.15 and the variance 0.04625; t of 4
    # degrees of freedom is 2.776445.
    half = 2.776445 * 0.04625**0.5 / 5**0.5
    assert last["change"] == 0.25
    assert (last["low"], last["high"]) == pytest.approx((0.15 - half, 0.15 + half), abs=1e-6)
    assert found.iloc[0]["change"] == 0.0
    assert math.isnan(found.iloc[0]["low"])
    assert found["n"].tolist() == [3, 3]


def test_nothing_is_after_a_saturation_that_never_came():
    found = after_saturation(None, {0: samples([0.5]), 20: samples([1.0])})
    assert found.empty
    assert list(found.columns)[:3] == ["step", "accuracy", "change"]


def test_other_questions_give_no_change():
    other = samples([0.5, 1.0]).replace("q0", "q9")
    found = after_saturation(1, {1: samples([0.5, 1.0]), 2: other})
    assert math.isnan(found["change"].iloc[1])


def held_out(curve: list[float], questions: int = 60) -> dict[int, pd.DataFrame]:
    """Evaluations every 20 steps in which every question has about the curve's share, in eighths
    and with a little of its own."""
    generator = np.random.default_rng(0)
    own = generator.integers(-1, 2, questions) / 8
    return {20 * n: samples(np.clip(share + own, 0, 1).tolist()) for n, share in enumerate(curve)}


def test_over_fitting_begins_where_it_never_comes_back():
    assert overfitting_onset(held_out([0.25, 0.5, 0.75, 0.5, 0.375])) == 60
    assert overfitting_onset(held_out([0.25, 0.5, 0.25, 0.5, 0.75])) is None
    assert overfitting_onset(held_out([0.25, 0.5, 0.75])) is None
    assert overfitting_onset(held_out([0.5])) is None
    assert overfitting_onset({}) is None


def test_a_fall_that_chance_explains_is_no_over_fitting():
    generator = np.random.default_rng(1)
    two = {
        step: pd.DataFrame(
            {"example_id": [f"q{q}" for q in range(30)], "correct": generator.random(30) < 0.5}
        )
        for step in (0, 20)
    }
    best = max(two, key=lambda step: two[step]["correct"].mean())
    worse = 20 - best
    assert two[worse]["correct"].mean() < two[best]["correct"].mean()
    assert overfitting_onset({0: two[best], 20: two[worse]}) is None


def test_a_share_lasts_when_it_holds_for_steps_in_a_row():
    shares = [(step, 0.1 if step in (3, 7, 8, 9) else 0.0) for step in range(1, 12)]
    assert first_lasting(shares, 0.05, 3) == 9
    assert first_lasting(shares, 0.05, 4) is None
