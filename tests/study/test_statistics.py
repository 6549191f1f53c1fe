"""Intervals hold the truth, noise holds no claim, and values by hand."""

import math

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import spearmanr, ttest_1samp

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.study import claims
from oneshot_rlvr.study.claims import FAILS, HOLDS, UNKNOWN, verdict
from oneshot_rlvr.study.statistics import (
    Components,
    Spread,
    components,
    half_width,
    hierarchical_bootstrap,
    holm,
    mean_squares,
    paired,
    rank_correlation,
    smallest_difference,
    spread,
    two_sided,
    variance_parts,
)

STUDIES = 2000


def simulated(seeds, questions, answers, seed_sd, question_sd, studies=STUDIES, arms=2, seed=0):
    """Answers of `arms` arms, (arms, studies, S, Q) shares of K. All have the true mean 0.5."""
    draw = np.random.default_rng([seed, seeds, questions, answers])
    # Uniform, so that no share leaves 0..1 and the truth is exactly one half.
    level = draw.uniform(0.3, 0.7, (studies, 1, questions))
    found = []
    for arm in range(arms):
        of_question = draw.uniform(-1, 1, (studies, 1, questions)) * math.sqrt(3) * question_sd
        of_seed = draw.uniform(-1, 1, (studies, seeds, 1)) * math.sqrt(3) * seed_sd
        p = level + (arm > 0) * of_question + of_seed
        found.append(draw.binomial(answers, p) / answers)
    return np.stack(found)


def coverage(values, truth, confidence=0.95):
    seeds, questions = values.shape[-2:]
    half = half_width(*variance_parts(values), seeds, questions, confidence)
    return float((np.abs(values.mean(axis=(-1, -2)) - truth) <= half).mean())


@pytest.mark.parametrize(
    ("seeds", "questions", "answers", "seed_sd", "question_sd"),
    [(3, 60, 8, 0.02, 0.0), (3, 400, 4, 0.02, 0.08), (4, 60, 1, 0.0, 0.08), (4, 400, 8, 0.05, 0.0),
     (5, 60, 8, 0.0, 0.08), (5, 400, 4, 0.01, 0.08), (5, 400, 8, 0.0, 0.0),
     (10, 200, 4, 0.02, 0.05)],
)  # fmt: skip
def test_intervals_of_a_difference_hold_the_truth_93_to_97_times_of_100(
    seeds, questions, answers, seed_sd, question_sd
):
    one, other = simulated(seeds, questions, answers, seed_sd, question_sd)
    assert 0.93 <= coverage(other - one, 0.0) <= 0.97


@pytest.mark.parametrize(("seeds", "questions", "answers"), [(5, 400, 4), (5, 60, 8), (10, 60, 4)])
def test_intervals_of_one_arm_hold_the_truth_93_to_97_times_of_100(seeds, questions, answers):
    (one,) = simulated(seeds, questions, answers, 0.03, 0.0, arms=1)
    assert 0.93 <= coverage(one, 0.5) <= 0.97


def test_the_hierarchical_bootstrap_of_three_seeds_does_not_which_is_why_it_is_not_reported():
    one, other = simulated(3, 400, 8, 0.05, 0.0, studies=300)
    draw = np.random.default_rng(0)
    bounds = [hierarchical_bootstrap(values, draw, 400) for values in other - one]
    held = np.mean([low <= 0 <= high for low, high in bounds])
    assert held < 0.90


def test_of_1000_studies_of_noise_with_10_comparisons_at_most_60_say_holds():
    seeds, questions = 5, 100
    arms = simulated(seeds, questions, 4, 0.02, 0.05, studies=1000, arms=11, seed=7)
    control, others = arms[0], arms[1:]
    differences = others - control
    parts = variance_parts(differences)
    means = differences.mean(axis=(-1, -2))
    p_values = two_sided(means, *parts, seeds, questions)
    said = 0
    for study in range(1000):
        corrected = holm(p_values[:, study].tolist())
        verdicts = [
            # Claims in either direction: as many chances as a study could give noise.
            verdict(p, towards=bool(mean > 0) == (number % 2 == 0))
            for number, (p, mean) in enumerate(zip(corrected, means[:, study], strict=True))
        ]
        said += HOLDS in verdicts
    assert said <= 60
    uncorrected = (p_values < 0.05).any(axis=0).mean()
    assert uncorrected > 0.1  # what Holm is for


def test_a_difference_of_the_planned_size_is_told_four_times_of_five():
    seeds, questions, answers = 5, 200, 4
    parts = Components(2 * 0.02**2, 0.08**2, 2 * 0.25 / answers)
    least = smallest_difference(parts, seeds, questions, comparisons=4)
    one, other = simulated(seeds, questions, answers, 0.02, 0.08)
    half = half_width(*variance_parts(other - one), seeds, questions, 1 - 0.05 / 4)
    told = ((other - one).mean(axis=(-1, -2)) + least > half).mean()
    assert 0.72 < told < 0.9


def test_two_seeds_and_two_questions_by_hand():
    values = np.array([[0.0, 1.0], [0.5, 1.0]])
    # Means of seeds 0.5, 0.75; of questions 0.25, 1; overall 0.625.
    assert mean_squares(values).tolist() == pytest.approx([0.0625, 0.5625, 0.0625])
    of_seeds, of_questions = variance_parts(values)
    assert (of_seeds, of_questions) == pytest.approx((0.0625 / 4, 0.5 / 4))
    found = components(values)
    assert (found.seed, found.question, found.both) == pytest.approx((0.0, 0.25, 0.0625))


def test_seeds_that_differ_in_nothing_but_their_level_give_students_t_over_seeds():
    levels = np.array([0.1, 0.2, 0.4])
    told = spread(np.repeat(levels[:, None], 1000, axis=1), answers=1000)
    low, high = told.interval()
    half = stdtrit(2, 0.975) * levels.std(ddof=1) / math.sqrt(3)
    assert (low, high) == pytest.approx((levels.mean() - half, levels.mean() + half), rel=1e-5)
    assert told.p_value(0.0) == pytest.approx(ttest_1samp(levels, 0).pvalue, rel=1e-4)


def test_one_row_over_questions_is_students_t_over_them_with_a_grain():
    values = np.array([[0.0, 0.5, 1.0, 0.5]])
    told = spread(values, answers=10**6, over_seeds=False)
    assert told.p_value(0.0) == pytest.approx(ttest_1samp(values[0], 0).pvalue, rel=1e-6)
    agreed = spread(np.zeros((1, 30)), answers=1, over_seeds=False)
    assert agreed.interval()[1] > 0.05  # 30 answers that agree do not make it certain


def test_one_seed_has_no_interval_over_seeds():
    told = spread(np.array([[0.0, 1.0]]))
    assert not told.known
    assert all(map(math.isnan, (*told.interval(), told.p_value())))
    assert verdict(told.p_value(), towards=True) == UNKNOWN


def test_the_p_value_is_that_of_the_interval_which_just_reaches_the_threshold():
    told = Spread(0.3, 0.01, 0.002, 4, 50)
    p = told.p_value(0.0)
    assert told.interval(1 - p)[0] == pytest.approx(0.0, abs=1e-9)
    assert Spread(0.3, 0.0, 0.0, 4, 50).p_value(0.0) < 1e-100
    assert Spread(0.0, 0.0, 0.0, 4, 50).p_value(0.0) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = holm([0.02, math.nan])
    assert corrected[0] == pytest.approx(0.04)  # what could not be told was declared as well
    assert math.isnan(corrected[1])


def test_a_claim_lies_on_its_side_beyond_it_or_nowhere():
    sure, unsure = Spread(0.1, 1e-6, 1e-6, 5, 100), Spread(0.1, 0.1, 0.1, 5, 100)
    assert judged(sure, "above", 0.05) == HOLDS
    assert judged(sure, "above", 0.15) == FAILS
    assert judged(sure, "below", 0.05) == FAILS
    assert judged(sure, "within", 0.15) == HOLDS
    assert judged(sure, "within", 0.05) == FAILS
    for relation in ("above", "below", "within"):
        assert judged(unsure, relation, 0.05) == UNKNOWN


def judged(told, relation, threshold):
    p_value, towards = claims.tested(told, relation, threshold)
    return verdict(p_value, towards=towards)


def test_sides_go_together_by_question_and_seed():
    base, trained = np.array([[0.0, 1.0]]), np.array([[1.0, 1.0], [0.5, 0.0]])
    assert paired(trained, base).tolist() == [[1.0, 0.0], [0.5, -1.0]]
    with pytest.raises(DataError, match="same questions"):
        paired(trained, np.zeros((2, 3)))
    with pytest.raises(DataError, match="same seeds"):
        paired(trained, np.zeros((3, 2)))


def test_the_rank_correlation_is_spearmans():
    scores, gains = [1, 2, 3, 4, 5, 6, 7], [0.1, 0.3, 0.2, 0.5, 0.4, 0.6, 0.9]
    value, low, high, p = rank_correlation(scores, gains)
    assert value == pytest.approx(spearmanr(scores, gains).statistic)
    assert low < value < high
    assert 0 < p < 0.01
    with pytest.raises(DataError, match="equal"):
        rank_correlation([1, 1, 1, 1], gains[:4])
    with pytest.raises(DataError, match="4 or more"):
        rank_correlation([1, 2], [1, 2])
