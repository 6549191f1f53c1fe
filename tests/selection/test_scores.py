"""The scores by hand, and against slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.selection import SCORES, History, rank

NAN = math.nan


def scores(name: str, rows: list[list[float]], **more) -> list[float]:
    history = History(tuple(str(n) for n in range(len(rows))), np.array(rows, dtype=float), **more)
    return SCORES.load(name).compute(history, 0).tolist()


def test_variance_is_the_population_variance_over_an_example_s_own_visits():
    assert scores("variance", [[0, 1, 0, 1], [0, 1, NAN, NAN], [0.5, 0.5, 0.5, NAN]]) == [
        0.25,
        0.25,
        0.0,
    ]
    assert math.isnan(scores("variance", [[0.5, NAN]])[0])


def test_alignment_is_limr_s_formula():
    rows = [[0.0, 0.5, 1.0], [0.0, 0.0, 0.5], [0.0, 0.25, 0.75]]
    average = [0.0, 0.25, 0.75]
    scale = sum((1 - a) ** 2 for a in average)
    expected = [
        1 - sum((r - a) ** 2 for r, a in zip(row, average, strict=True)) / scale for row in rows
    ]
    assert scores("limr", rows) == pytest.approx(expected)
    assert scores("limr", rows)[2] == 1.0  # it is the average


def test_alignment_compares_an_example_at_its_own_visits():
    rows = [[0.5, 1.0, 0.0], [0.5, 0.0, NAN]]
    # The averages are .5, .5 and 0; the second example has two visits only.
    assert scores("limr", rows)[1] == pytest.approx(1 - 0.25 / 0.5)


def test_an_example_that_is_always_solved_aligns_at_zero():
    # Its distance to the average is the scale itself: sum (1 - avg)^2.
    assert scores("limr", [[1.0, 1.0], [0.0, 0.5], [0.5, 0.5]])[0] == pytest.approx(0.0)


def test_pass_rate_is_one_at_a_half_and_equal_on_both_sides():
    assert scores("pass_rate", [[0.5], [0.0], [1.0], [0.25], [0.75]]) == [1, 0, 0, 0.5, 0.5]
    ranking = rank(History(("b", "a"), np.array([[0.3], [0.7]])), "pass_rate")
    assert ranking.ids == ["a", "b"]
    assert ranking.tied_E.all()


def test_gain_is_the_later_half_minus_the_earlier_without_the_middle():
    rows = [[0, 0.5, 1, 1], [0, 1, 1, NAN], [1, 0, NAN, NAN]]
    assert scores("gain", rows) == [0.75, 1.0, -1.0]


def test_entropy_needs_answers():
    with pytest.raises(DataError, match="--history, or --probe"):
        scores("entropy", [[0.5]])
    assert scores("entropy", [[0.5]], answer_entropy_E=np.array([0.25])) == [0.25]


def test_a_random_draw_does_not_depend_on_the_rest_of_the_pool():
    def draw(ids):
        history = History(tuple(ids), np.empty((len(ids), 0)))
        return dict(zip(ids, SCORES.load("random").compute(history, 3), strict=True))

    small, large = draw(["b", "a"]), draw(["a", "b", "c", "d"])
    assert small == {name: large[name] for name in small}
    many = np.array(list(draw([str(n) for n in range(4000)]).values()))
    assert abs(many.mean() - 0.5) < 0.02
    assert abs(many.var() - 1 / 12) < 0.005
    assert 0 <= many.min() < many.max() < 1


def test_variance_agrees_with_numpy_on_ragged_rows():
    generator = np.random.default_rng(0)
    rows = generator.random((50, 9))
    visits = generator.integers(2, 10, 50)
    rows[np.arange(9) >= visits[:, None]] = NAN
    expected = [np.var(row[:n]) for row, n in zip(rows, visits, strict=True)]
    assert scores("variance", rows.tolist()) == pytest.approx(expected, abs=1e-15)
