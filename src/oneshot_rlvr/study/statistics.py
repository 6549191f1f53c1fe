"""What a few seeds and some questions say together: intervals, differences, corrected p-values.

Pure numpy and scipy: arrays in, numbers out. Shapes: S training seeds, Q questions; an entry is the
mean of K answers of one seed to one question (a share of right answers, say pass@k of them).

Seeds and questions are crossed, not nested: every seed answers the same questions. The mean's
variance is that of the two-way random-effects model, (MS_S + MS_Q - MS_SQ) / (S Q), and its degrees
of freedom are almost only those of the seeds. This is the analysis of several readers who judge the
same cases (Dorfman, Berbaum and Metz 1992, doi 10.1097/00004424-199209000-00015; degrees of
freedom of Hillis 2007, doi 10.1002/sim.2532), with seeds for readers and questions for cases.

Why not the percentile of a hierarchical bootstrap: of 3 to 5 seeds its intervals of 95 % hold the
truth 75 to 88 % of the time (benchmarks/study_intervals.py), because a resample of S values shows
(S - 1) / S of their variance and no t. It is computed as well (`hierarchical_bootstrap`), and
stands in results.parquet beside the interval that is reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from oneshot_rlvr.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds and questions and how sure it is: standard error and degrees of freedom.

    `error` is nan where nothing can be said of it (one seed of which an interval over seeds is
    wanted, one question).
    """

    value: float
    error: float
    freedom: float
    seeds: int
    questions: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Student t; (nan, nan) without an error."""
        if not math.isfinite(self.error):
            return math.nan, math.nan
        half = float(stdtrit(self.freedom, 0.5 + confidence / 2)) * self.error
        return self.value - half, self.value + half

    def tail(self, threshold: float) -> float:
        """The one-sided p-value of "not above the threshold": small where the mean lies above."""
        if not math.isfinite(self.error):
            return math.nan
        if self.error == 0:
            return 0.5 if self.value == threshold else float(self.value < threshold)
        return float(stdtr(self.freedom, (threshold - self.value) / self.error))


@dataclass(frozen=True, slots=True)
class Components:
    """Variances of one entry by where they come from: seed, question, both (and chance)."""

    seed: float
    question: float
    both: float


def spread(values_S_Q: ArrayLike, answers: int = 1, *, over_seeds: bool = True) -> Spread:
    """The mean of crossed seeds and questions. `answers` K: the fewest that an entry averages.

    `over_seeds` False, or of values that have no seed (one row of a base): these seeds are all
    there is, and the interval is over questions only. Two more questions, one answer above and one
    below the mean, keep a few that agree by chance from being certain (`estimators`).
    """
    values = _matrix(values_S_Q)
    seeds, questions = values.shape
    mean = float(values.mean())
    if questions < 2 or (over_seeds and seeds < 2):
        return Spread(mean, math.nan, math.nan, seeds, questions)
    grain = 2 / (answers * (questions + 2)) ** 2
    if not over_seeds:
        variance = float(values.mean(axis=0).var(ddof=1)) / questions + grain
        return Spread(mean, math.sqrt(variance), questions - 1, seeds, questions)
    squares = mean_squares(values)
    of_seeds = float(squares[0]) / (seeds * questions)
    of_questions = max(0.0, float(squares[1] - squares[2])) / (seeds * questions) + grain
    error, freedom = crossed_error(of_seeds, of_questions, seeds, questions)
    return Spread(mean, float(error), float(freedom), seeds, questions)


def crossed_error(
    of_seeds: ArrayLike, of_questions: ArrayLike, seeds: int, questions: int
) -> tuple[FloatArray, FloatArray]:
    """Standard error and degrees of freedom of the parts of the mean's variance: MS_S / (S Q), and
    max(MS_Q - MS_SQ, 0) / (S Q).

    Hillis's degrees of freedom, (a + b)^2 / (a^2 / (S - 1)), bounded by those of the questions,
    which he takes to be many.
    """
    a, b = np.asarray(of_seeds, dtype=float), np.asarray(of_questions, dtype=float)
    total = a + b
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = total**2 / (a**2 / (seeds - 1) + b**2 / (questions - 1))
    return np.sqrt(total), np.where(total > 0, freedom, seeds - 1.0)


def mean_squares(values_S_Q: ArrayLike) -> FloatArray:
    """MS of seeds, of questions, and of both: shape (3, ...) of values (..., S, Q)."""
    values = np.asarray(values_S_Q, dtype=float)
    seeds, questions = values.shape[-2:]
    by_seed, by_question = values.mean(axis=-1), values.mean(axis=-2)
    mean = by_seed.mean(axis=-1)
    of_seeds = questions * by_seed.var(axis=-1, ddof=1)
    of_questions = seeds * by_question.var(axis=-1, ddof=1)
    all_squares = ((values - mean[..., None, None]) ** 2).sum(axis=(-1, -2))
    rest = all_squares - of_seeds * (seeds - 1) - of_questions * (questions - 1)
    return np.stack([of_seeds, of_questions, rest / ((seeds - 1) * (questions - 1))])


def components(values_S_Q: ArrayLike) -> Components:
    """The variance components behind `spread`, none below 0. DataError for one seed or question."""
    values = _matrix(values_S_Q)
    seeds, questions = values.shape
    if seeds < 2 or questions < 2:
        raise DataError(f"{seeds} seeds and {questions} questions; two of each show a spread.")
    of_seeds, of_questions, both = mean_squares(values)
    return Components(
        max(0.0, float(of_seeds - both) / questions),
        max(0.0, float(of_questions - both) / seeds),
        float(both),
    )


def paired(one_S_Q: ArrayLike, other_S_Q: ArrayLike) -> FloatArray:
    """one - other by seed and question, (S, Q). A side of one row (a base, no training) goes with
    every seed of the other. DataError for different questions or seeds."""
    one, other = _matrix(one_S_Q), _matrix(other_S_Q)
    if one.shape[1] != other.shape[1] or (one.shape[0] != other.shape[0] and 1 not in
                                          (one.shape[0], other.shape[0])):
        raise DataError(
            f"sides of shape {one.shape} and {other.shape}; a paired difference needs the same "
            "questions and the same seeds on both."
        )
    return one - other


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scand. J. Statist. 1979): the p-values of m declared
    comparisons such that the chance of any false one stays below the level. A nan counts among the
    m and stays nan."""
    count = len(p_values)
    order = sorted(range(count), key=lambda i: (math.isnan(p_values[i]), p_values[i]))
    corrected, least = [math.nan] * count, 0.0
    for rank, i in enumerate(order):
        if not math.isnan(p_values[i]):
            least = max(least, min(1.0, (count - rank) * p_values[i]))
            corrected[i] = least
    return corrected


def hierarchical_bootstrap(
    values_S_Q: ArrayLike,
    generator: np.random.Generator,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The percentile interval of resampled seeds and resampled questions, independently drawn.

    Known to be too narrow over few seeds: see the file's first lines.
    """
    values = _matrix(values_S_Q)
    seeds, questions = values.shape
    weights_S = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    weights_Q = generator.multinomial(questions, np.full(questions, 1 / questions), resamples)
    means = np.einsum("rs,sq,rq->r", weights_S, values, weights_Q / questions, optimize=True)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def smallest_difference(
    parts: Components,
    seeds: int,
    questions: int,
    comparisons: int = 1,
    *,
    level: float = 0.05,
    power: float = 0.8,
    over_seeds: bool = True,
) -> float:
    """The least true difference that a study of this size calls one with probability `power`.

    `parts`: the variances of a paired difference's entries. The level is that of Holm's hardest
    step, level / comparisons, two-sided; t for both quantiles.
    """
    if over_seeds and seeds < 2:
        return math.nan
    of_questions = parts.question / questions
    of_seeds = (parts.seed + parts.both / questions) / seeds
    if over_seeds:
        error, freedom = crossed_error(of_seeds, of_questions, seeds, questions)
    else:
        error = np.sqrt(of_questions + parts.both / questions / seeds)
        freedom = np.asarray(questions - 1.0)
    quantiles = stdtrit(freedom, 1 - level / comparisons / 2) + stdtrit(freedom, power)
    return float(quantiles * error)


def rank_correlation(scores_E: ArrayLike, gains_E: ArrayLike) -> tuple[float, float, float, float]:
    """Spearman's correlation of scores and gains over E examples: value, 95 % interval, p-value.

    The interval is Fisher's z with the variance of Bonett and Wright 2000 (doi
    10.1007/BF02294183), (1 + r^2 / 2) / (E - 3); p is that of the z. DataError below 4 examples or
    where one side is constant.
    """
    from scipy.stats import rankdata

    scores, gains = np.asarray(scores_E, dtype=float), np.asarray(gains_E, dtype=float)
    if scores.shape != gains.shape or scores.ndim != 1 or len(scores) < 4:
        raise DataError(f"{scores.shape} scores and {gains.shape} gains; wanted 4 or more pairs.")
    ranks = rankdata(scores), rankdata(gains)
    if min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
        raise DataError("all scores, or all gains, are equal: they have no order to compare.")
    r = float(np.corrcoef(*ranks)[0, 1])
    bounded = min(max(r, -0.999999), 0.999999)
    z, error = math.atanh(bounded), math.sqrt((1 + bounded**2 / 2) / (len(scores) - 3))
    low, high = math.tanh(z - 1.959964 * error), math.tanh(z + 1.959964 * error)
    # Under "no correlation" the variance is that of r = 0.
    p = float(2 * stdtr(1e9, -abs(z) * math.sqrt(len(scores) - 3)))
    return r, low, high, p


def _matrix(values: ArrayLike) -> FloatArray:
    numbers = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if numbers.ndim != 2 or numbers.size == 0 or not np.isfinite(numbers).all():
        raise DataError(
            f"values of shape {numbers.shape}; give finite (seeds, questions), not empty."
        )
    return numbers
