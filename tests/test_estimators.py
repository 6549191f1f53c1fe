"""Estimators against hand-made numbers, published tables and slow twins."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import stdtr

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.estimators import (
    Estimate,
    avg_at_k,
    bootstrap_interval,
    majority_right,
    mean_interval,
    paired_difference,
    paired_interval,
    pass_at_k,
    pass_at_k_per_question,
    question_interval,
    ratio_interval,
    seeds_interval,
    share_interval,
    sign_flip_p_value,
    welch_difference,
    wilson,
)


def test_avg_at_k_is_the_mean_share_of_right_answers():
    assert avg_at_k([[1, 0, 0, 0], [1, 1, 1, 0]]) == pytest.approx((0.25 + 0.75) / 2)


def test_pass_at_one_is_avg_at_k_and_pass_at_k_is_not():
    correct = [[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert pass_at_k(correct, 1) == pytest.approx(avg_at_k(correct))
    assert pass_at_k(correct, 4) == pytest.approx(2 / 3)


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_equals_the_mean_over_every_choice_of_k_answers(right, data):
    k = data.draw(st.integers(1, len(right)))
    choices = list(itertools.combinations(right, k))
    slow = sum(any(choice) for choice in choices) / len(choices)
    assert pass_at_k_per_question([right], k)[0] == pytest.approx(slow, abs=1e-12)


def test_pass_at_256_does_not_overflow():
    correct = np.zeros((1, 512))
    correct[0, 0] = 1
    assert pass_at_k(correct, 256) == pytest.approx(0.5)


@pytest.mark.parametrize("k", [0, 5, -1])
def test_pass_at_k_refuses_a_k_that_the_answers_cannot_estimate(k):
    with pytest.raises(DataError, match="4 answers per question"):
        pass_at_k([[1, 0, 0, 1]], k)


def test_mean_interval_is_students_t_by_hand():
    # Values 1, 2, 3: mean 2, sd 1, t(2, .975) = 4.30265, half = 4.30265 / sqrt(3) = 2.48414.
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.value == 2.0
    assert interval.low == pytest.approx(2 - 2.48414, abs=1e-4)
    assert interval.high == pytest.approx(2 + 2.48414, abs=1e-4)
    assert interval.n == 3


def test_one_value_has_no_interval():
    interval = mean_interval([0.7])
    assert interval.value == 0.7
    assert math.isnan(interval.low)
    assert interval.as_dict() == {"value": 0.7, "low": None, "high": None, "n": 1}
    assert math.isnan(Estimate.from_dict(interval.as_dict()).high)


def test_wilson_gives_the_textbook_interval():
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3: 81/263, 15/148, 0/20, 1/29.
    table = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
    for successes, n, low, high in [*table, (1, 29, 0.0061, 0.1718)]:
        interval = wilson(successes, n)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_its_share_and_mirrors_under_swapping_right_and_wrong(n, data):
    successes = data.draw(st.integers(0, n))
    interval, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirrored.high, abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(DataError, match="successes"):
        wilson(successes, n)


def test_one_answer_a_question_is_wilson_exactly():
    correct = [[1]] * 7 + [[0]] * 3
    assert question_interval(correct) == wilson(7, 10)


def test_repeating_an_answer_adds_no_certainty():
    # Eight identical answers a question know no more than one does.
    once = question_interval([[1]] * 7 + [[0]] * 3)
    eight = question_interval([[1] * 8] * 7 + [[0] * 8] * 3)
    assert (eight.low, eight.high) == pytest.approx((once.low, once.high))


def test_questions_that_vary_less_give_a_narrower_interval_but_never_narrower_than_all_answers():
    alike = question_interval([[1, 0, 1, 0]] * 10)
    every_answer, questions_alone = wilson(20, 40), wilson(5, 10)
    assert questions_alone.low < alike.low < every_answer.low
    # No spread is seen: D = 1/4 of the 5 questions that tell it, and one of D = 1: 2.25 / 6.
    assert alike.low == pytest.approx(wilson(5 / 0.375, 10 / 0.375).low)
    assert alike.n == 10


def test_a_perfect_score_keeps_a_width_that_questions_set():
    perfect = question_interval([[1] * 8] * 20)
    assert perfect.high == 1.0
    assert perfect.low == pytest.approx(wilson(20, 20).low)


# Coverage: benchmarks/intervals.py simulates it over the whole grid; here its hard corners.


@pytest.mark.parametrize(("questions", "mean", "concentration"), [(30, 0.05, 0.5), (40, 0.3, 2)])
def test_question_interval_covers_the_truth_as_often_as_it_says(questions, mean, concentration):
    generator = np.random.default_rng(7)
    hits, runs, answers = 0, 2000, 8
    for _ in range(runs):
        skill_Q = generator.beta(mean * concentration, (1 - mean) * concentration, questions)
        correct_Q_K = generator.random((questions, answers)) < skill_Q[:, None]
        interval = question_interval(correct_Q_K)
        hits += interval.low <= mean <= interval.high
    assert 0.93 <= hits / runs <= 0.99


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_seeds_interval_covers_the_truth_where_few_questions_make_seeds_agree(seeds):
    generator = np.random.default_rng(seeds)
    scores = generator.binomial(30, 0.05, (1500, seeds)) / 30
    made = [seeds_interval(row, answers=30) for row in scores]
    assert np.mean([i.low <= 0.05 <= i.high for i in made]) >= 0.93
    if seeds == 3:  # t alone sees no spread where all three agree
        alone = [mean_interval(row) for row in scores]
        assert np.mean([i.low <= 0.05 <= i.high for i in alone]) < 0.93


@pytest.mark.parametrize("samples", [1, 8])
def test_paired_interval_with_its_grain_covers_the_truth(samples):
    generator = np.random.default_rng(11)
    hits, runs, questions = 0, 1500, 30
    for _ in range(runs):
        skill_Q = generator.beta(0.2, 1.8, questions)
        before_Q = generator.binomial(samples, skill_Q) / samples
        after_Q = generator.binomial(samples, skill_Q + 0.1 * (1 - skill_Q)) / samples
        interval = paired_interval(before_Q, after_Q, samples=samples)
        hits += interval.low <= 0.1 * 0.9 <= interval.high
    assert hits / runs >= 0.93


def test_seeds_that_agree_leave_the_uncertainty_of_their_answers():
    agree = seeds_interval([0.5, 0.5, 0.5], answers=10)
    assert (agree.low, agree.high) == (wilson(15, 30).low, wilson(15, 30).high)
    apart = seeds_interval([0.2, 0.5, 0.8], answers=1000)
    assert (apart.low, apart.high) == (0.0, 1.0)  # t gives 0.5 +- 0.745
    assert math.isnan(seeds_interval([0.5], answers=10).low)


def test_the_majority_decides_and_ties_share():
    assert majority_right(["4", "4", "5"], [True, True, False]) == 1.0
    assert majority_right(["4", "5", "5"], [True, False, False]) == 0.0
    # Right answers are one class in any spelling; what gave no answer does not vote.
    assert majority_right(["1/2", "0.5", "3", None, None], [True, True, False, False, False]) == 1.0
    assert majority_right(["4", "5", "6"], [True, False, False]) == pytest.approx(1 / 3)
    assert majority_right([None, None], [False, False]) == 0.0


def test_sign_flip_p_value_is_mcnemar_s_by_hand():
    # 6 questions won, 1 lost: P(at most 1 of 7 or at least 6 of 7) = 2 (1 + 7) / 128.
    p_value, test = sign_flip_p_value([1] * 6 + [-1] + [0] * 20)
    assert p_value == pytest.approx(16 / 128)
    assert test == "exact sign-flip test over questions"
    assert sign_flip_p_value([0.0, 0.0]) == (1.0, "sign flips: no question differs")


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_sign_flip_p_value_equals_the_count_over_all_signs(eighths):
    changes = np.array(eighths) / 4
    sums = [
        abs(np.dot(signs, changes)) for signs in itertools.product([-1, 1], repeat=len(changes))
    ]
    slow = np.mean([s >= abs(changes.sum()) - 1e-9 for s in sums])
    assert sign_flip_p_value(changes)[0] == pytest.approx(slow)


def test_changes_of_no_common_unit_are_tested_by_t():
    changes = np.random.default_rng(0).normal(0.3, 1, 50)
    p_value, test = sign_flip_p_value(changes)
    assert test == "t test over questions"
    assert p_value == pytest.approx(stats.ttest_1samp(changes, 0).pvalue)


def test_paired_difference_of_one_answer_each_is_bonett_and_price_s():
    # 3 won, 1 lost of 20: with one more of each, 4/22 and 2/22.
    before, after = [0, 0, 0, 1] + [1] * 16, [1, 1, 1, 0] + [1] * 16
    difference = paired_difference(before, after)
    won, lost = 4 / 22, 2 / 22
    half = 1.959964 * math.sqrt((won + lost - (won - lost) ** 2) / 22)
    assert difference.value == pytest.approx(0.1)
    assert difference.low == pytest.approx(won - lost - half, abs=1e-6)
    assert difference.high == pytest.approx(won - lost + half, abs=1e-6)
    assert difference.p_value == pytest.approx(10 / 16)


def test_questions_that_all_agree_leave_a_difference_uncertain():
    same = paired_difference([1, 0, 1], [1, 0, 1])
    assert (same.value, same.p_value) == (0.0, 1.0)
    assert same.low < 0 < same.high


def test_welch_is_scipy_s_and_a_base_without_seeds():
    difference = welch_difference([1, 2, 3], [3, 5, 7])
    theirs = stats.ttest_ind([3, 5, 7], [1, 2, 3], equal_var=False)
    bounds = theirs.confidence_interval(0.95)
    assert (difference.value, difference.p_value) == (3, pytest.approx(theirs.pvalue))
    assert (difference.low, difference.high) == pytest.approx((bounds.low, bounds.high))
    # sd 2 of 3 seeds: 4.30265 * 2 / sqrt(3).
    base = welch_difference([2.0], [3, 5, 7])
    assert (base.low, base.high) == pytest.approx((3 - 4.96828, 3 + 4.96828), abs=1e-4)
    assert math.isnan(welch_difference([2.0], [3.0]).low)


def test_shares_outside_zero_to_one_are_refused():
    with pytest.raises(DataError, match=r"0\.\.1"):
        share_interval([0.5, 1.5], [4, 4])


def test_paired_interval_is_the_interval_of_the_differences():
    before, after = [0.1, 0.5, 0.9], [0.3, 0.6, 0.9]
    assert paired_interval(before, after) == mean_interval(np.subtract(after, before))
    assert paired_interval(before, after).value == pytest.approx(0.1)


def test_pairing_refuses_sides_of_different_length():
    with pytest.raises(DataError, match="2 values before and 3 after"):
        paired_interval([1, 0], [1, 0, 1])


def test_bootstrap_interval_is_near_the_t_interval_and_repeats_under_a_seed():
    values = np.random.default_rng(0).normal(size=200)
    first = bootstrap_interval(values, np.random.default_rng(1))
    exact = mean_interval(values)
    assert first == bootstrap_interval(values, np.random.default_rng(1))
    assert first.low == pytest.approx(exact.low, abs=0.03)
    assert first.high == pytest.approx(exact.high, abs=0.03)


@pytest.mark.parametrize("empty", [[], [[]], np.zeros((0, 4))])
def test_nothing_measured_is_refused(empty):
    with pytest.raises(DataError):
        avg_at_k(empty)
    with pytest.raises(DataError):
        mean_interval(np.ravel(empty))


def test_a_missing_measurement_is_refused_rather_than_averaged():
    with pytest.raises(DataError, match="nan"):
        mean_interval([0.5, float("nan")])


@pytest.mark.parametrize("counts", [(1, 8), (8, 1), (2, 16)])
@pytest.mark.parametrize("concentration", [2.0, math.inf])
def test_p_values_of_sides_with_different_numbers_of_answers_err_as_often_as_they_say(
    counts, concentration
):
    """Swapping sides called up to 23 % of comparisons of a model with itself significant."""
    generator, runs, questions = np.random.default_rng(5), 800, 30
    wrong = {True: 0, False: 0}
    for _ in range(runs):
        skill = 0.9
        if math.isfinite(concentration):
            skill = generator.beta(0.9 * concentration, 0.1 * concentration, questions)
        before, after = (generator.binomial(k, skill, questions) / k for k in counts)
        for even in wrong:
            found = paired_difference(before, after, samples=min(counts), even=even)
            wrong[even] += found.p_value < 0.05
    # 0.05 and three standard errors of 800 runs
    assert wrong[False] / runs < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    if counts != (2, 16):
        assert wrong[True] > wrong[False]


def test_a_p_value_of_uneven_sides_by_hand():
    # Changes 0.5, 0.5, 0 and the grain of 1 answer: mean 0.2, population variance 0.46, 5 values.
    found = paired_difference([0.5, 0.5, 1.0], [1.0, 1.0, 1.0], samples=1, even=False)
    t = 0.2 / math.sqrt(0.46 / 5)
    assert found.p_value == pytest.approx(2 * stdtr(4, -t))
    assert "t test" in found.test


def test_uneven_sides_still_find_a_large_difference():
    generator = np.random.default_rng(1)
    before, after = (generator.binomial(k, p, 60) / k for k, p in ((1, 0.3), (8, 0.8)))
    assert paired_difference(before, after, samples=1, even=False).p_value < 1e-6


def test_a_ratio_of_sums_has_the_interval_of_its_residuals_by_hand():
    # 3 of 10 and 1 of 10: the ratio is 0.2, residuals +1 and -1, their std sqrt(2).
    found = ratio_interval([3, 1, 0], [10, 10, 0])
    half = 12.706204736 * math.sqrt(2) / math.sqrt(2) / 10
    assert (found.value, found.n) == (0.2, 2)
    assert (found.low, found.high) == (0.0, pytest.approx(0.2 + half))
    assert ratio_interval([3, 1], [10, 10], most=1.0).high == 1.0
    assert math.isnan(ratio_interval([0, 0], [10, 4]).high)
    with pytest.raises(DataError, match="one each"):
        ratio_interval([1.0], [0.0])
