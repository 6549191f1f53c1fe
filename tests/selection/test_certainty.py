"""A probe that stops early: exact bounds, a slow twin, and how often it errs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.selection.certainty import (
    Race,
    looks,
    score_bounds,
    settled,
    solve_rate_bounds,
)


def test_looks_double_up_to_all_answers():
    assert looks(64) == [8, 16, 32, 64]
    assert looks(100) == [8, 16, 32, 64, 100]
    assert looks(8) == [8]


def test_bounds_are_clopper_pearsons():
    low, high = solve_rate_bounds(np.arange(17), 16, 0.02)
    for right in range(17):
        expected = beta.ppf(0.01, right, 17 - right) if right else 0.0
        assert low[right] == pytest.approx(expected, abs=1e-12)
        expected = beta.ppf(0.99, right + 1, 16 - right) if right < 16 else 1.0
        assert high[right] == pytest.approx(expected, abs=1e-12)
    # By hand: none of 16 right leaves every p with (1 - p)^16 >= 0.01.
    assert high[0] == pytest.approx(1 - 0.01 ** (1 / 16))


def test_bounds_of_the_score_are_those_of_all_solve_rates_between():
    rng = np.random.default_rng(0)
    ends = np.sort(rng.random((200, 2)), axis=1)
    low, high = score_bounds(ends[:, 0], ends[:, 1])
    for e, (a, b) in enumerate(ends):
        scores = 1 - np.abs(2 * np.linspace(a, b, 2001) - 1)
        assert low[e] == pytest.approx(scores.min(), abs=1e-9)
        assert high[e] == pytest.approx(scores.max(), abs=1e-3)
        assert high[e] >= scores.max()


def test_what_is_settled_agrees_with_a_slow_twin():
    rng = np.random.default_rng(1)
    for first in (1, 2, 5, 9):
        ends = np.sort(rng.integers(0, 8, (10, 2)) / 8, axis=1)  # many ties
        low, high = ends[:, 0], ends[:, 1]
        for e, is_settled in enumerate(settled(low, high, first)):
            others = [o for o in range(10) if o != e]
            out = sum(low[o] > high[e] for o in others) >= first
            surely_in = sum(high[o] >= low[e] for o in others) < first
            assert is_settled == (out or surely_in)


def race(solve_E: np.ndarray, first: int, answers: int, error: float, rng) -> tuple[bool, int]:
    """Whether one probe settles an example wrongly, and how many answers it asked for."""
    right_E_N = rng.random((len(solve_E), answers)) < solve_E[:, None]
    running = Race(len(solve_E), first, answers, error)
    score_E, asked, had, wrong = 1 - np.abs(2 * solve_E - 1), 0, 0, False
    for total in looks(answers):
        was = running.open_E.copy()
        asked += int(was.sum()) * (total - had)
        had = total
        if total == answers:
            break
        running.look(right_E_N[:, :total].sum(1), total)
        for e in np.flatnonzero(was & ~running.open_E):
            better = int((score_E > score_E[e]).sum())
            likely_in = running._low_E[e] >= np.sort(running._low_E)[-first]
            truly_in = better < first
            truly_out = int((np.delete(score_E, e) >= score_E[e]).sum()) >= first
            wrong |= not (truly_in if likely_in else truly_out)
    return wrong, asked


def test_no_more_probes_err_than_was_said_and_answers_are_saved():
    rng = np.random.default_rng(20261122)
    error, answers, errors, asked = 0.5, 128, 0, 0
    times = 400
    for _ in range(times):
        solve_E = rng.choice([0.0, 0.05, 0.3, 0.45, 0.5, 0.9, 1.0], 12)
        wrong, count = race(solve_E, 2, answers, error, rng)
        errors += wrong
        asked += count
    # 0.5 is the bound; that of Bonferroni and of exact intervals is not nearly reached.
    assert errors / times <= error
    assert asked < 0.8 * times * 12 * answers


def test_intervals_that_are_too_narrow_would_be_seen(monkeypatch):
    """The simulation above fails where the bounds are those of one standard error."""

    def narrow(right_E, answers, error):
        share = right_E / answers
        half = 0.3 * np.sqrt(0.25 / answers)
        return np.clip(share - half, 0, 1), np.clip(share + half, 0, 1)

    monkeypatch.setattr("oneshot_rlvr.selection.certainty.solve_rate_bounds", narrow)
    rng = np.random.default_rng(3)
    solve_E = np.array([0.5, 0.45, 0.4, 0.55, 0.35, 0.6])
    errors = sum(race(solve_E, 1, 64, 0.05, rng)[0] for _ in range(100))
    assert errors > 20


def test_who_has_stopped_keeps_what_was_known():
    running = Race(3, 1, 4096, error=0.5)
    running.look(np.array([512, 0, 1024]), 1024)
    assert running.open_E.tolist() == [False, False, False]
    before = running._high_E.copy()
    running.look(np.array([0, 1024, 0]), 2048)
    assert np.array_equal(running._high_E, before)


@pytest.mark.parametrize(
    ("examples", "first", "answers", "words"),
    [
        (10, 10, 64, "first 10 of 10"),
        (10, 0, 64, "wanted 1 to 9"),
        (10, 1, 8, "looks only once"),
    ],
)
def test_a_race_that_finds_nothing_out_is_refused(examples, first, answers, words):
    with pytest.raises(ConfigError, match=words):
        Race(examples, first, answers)
