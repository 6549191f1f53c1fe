"""What a few seeds and some questions say together: intervals, differences, corrected p-values.

Pure numpy and scipy: arrays in, numbers out. Shapes: S training seeds, Q questions; an entry is the
mean of K answers of one seed to one question (a share of right answers, say, or pass@k of them).

Seeds and questions are crossed: every seed answers the same questions. Of the mean's variance,
(MS_S + MS_Q - MS_SQ) / (S Q) (the analysis of several readers who judge the same cases: Dorfman,
Berbaum and Metz 1992, doi 10.1097/00004424-199209000-00015), the part MS_S / (S Q) is known with
S - 1 degrees of freedom only and the rest with Q - 1. Each part has its own Student t, and the two
half-widths are added in squares (Zou and Donner 2008, doi 10.1002/sim.3095).

Why not the percentile of a hierarchical bootstrap: it counts what seeds and questions have together
twice and knows no t, so that its intervals of 95 % hold the truth 86 % of the time where seeds
decide and 99 % where they do not. Nor pooled degrees of freedom (Satterthwaite, Hillis): down to
93 % over 3 seeds. benchmarks/study_intervals.py simulates all three (docs/study.md has its table).
`hierarchical_bootstrap` is computed as well and stands in results.parquet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from oneshot_rlvr.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds and questions and how sure it is.

    `of_seeds` and `of_questions` are the two parts of its variance; nan where nothing can be said
    (one seed of which an interval over seeds is wanted, one question).
    """

    value: float
    of_seeds: float
    of_questions: float
    seeds: int
    questions: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.of_seeds + self.of_questions)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """(nan, nan) where nothing can be said."""
        if not self.known:
            return math.nan, math.nan
        half = float(
            half_width(self.of_seeds, self.of_questions, self.seeds, self.questions, confidence)
        )
        return self.value - half, self.value + half

    def p_value(self, threshold: float = 0.0) -> float:
        """Two-sided, of "the true value is the threshold": the interval of confidence 1 - p just
        reaches it."""
        if not self.known:
            return math.nan
        distance = abs(self.value - threshold)
        parts = self.of_seeds, self.of_questions, self.seeds, self.questions
        return float(two_sided(distance, *parts))


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
    grain = 2 / (answers * seeds * (questions + 2)) ** 2
    if not over_seeds:
        variance = float(values.mean(axis=0).var(ddof=1)) / questions + grain
        return Spread(mean, 0.0, variance, seeds, questions)
    of_seeds, of_questions = variance_parts(values)
    return Spread(mean, float(of_seeds), float(of_questions) + grain, seeds, questions)


def variance_parts(values_S_Q: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """MS_S / (S Q) and max(MS_Q - MS_SQ, 0) / (S Q) of values (..., S, Q)."""
    seeds, questions = np.shape(values_S_Q)[-2:]
    squares = mean_squares(values_S_Q) / (seeds * questions)
    return squares[0], np.maximum(0.0, squares[1] - squares[2])


def half_width(
    of_seeds: ArrayLike,
    of_questions: ArrayLike,
    seeds: int,
    questions: int,
    confidence: ArrayLike = 0.95,
) -> FloatArray:
    """sqrt(t_S^2 of_seeds + t_Q^2 of_questions), each t with its part's degrees of freedom."""
    tail = 0.5 + np.asarray(confidence) / 2
    t_seeds, t_questions = stdtrit(max(1, seeds - 1), tail), stdtrit(questions - 1, tail)
    return np.sqrt(t_seeds**2 * np.asarray(of_seeds) + t_questions**2 * np.asarray(of_questions))


def two_sided(
    distance: ArrayLike, of_seeds: ArrayLike, of_questions: ArrayLike, seeds: int, questions: int
) -> FloatArray:
    """The p for which `half_width` at confidence 1 - p is the distance; 0 for a known mean that is
    elsewhere, 1 at no distance. By bisection of log p."""
    away = np.abs(np.asarray(distance, dtype=float))
    low, high = np.full(away.shape, -600.0), np.zeros(away.shape)  # of log p
    for _ in range(60):
        middle = (low + high) / 2
        # t of the tail p / 2, from the lower side: 1 - p rounds to 1 long before p is 0.
        tail = np.exp(middle) / 2
        reach = sum(
            np.where(np.asarray(part) > 0, stdtrit(freedom, tail) ** 2, 0.0) * np.asarray(part)
            for freedom, part in ((max(1, seeds - 1), of_seeds), (questions - 1, of_questions))
        )
        within = reach > away**2  # too sure: p is larger
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return np.where(away == 0, 1.0, np.exp((low + high) / 2))


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
    seeds = {one.shape[0], other.shape[0]}
    if one.shape[1] != other.shape[1] or (len(seeds) > 1 and 1 not in seeds):
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
    if questions < 2 or (over_seeds and seeds < 2):
        return math.nan
    of_questions = parts.question / questions
    of_seeds = (parts.seed + parts.both / questions) / seeds
    if not over_seeds:
        of_seeds, of_questions = 0.0, of_questions + parts.both / questions / seeds
    widths = [
        half_width(of_seeds, of_questions, seeds, questions, confidence)
        for confidence in (1 - level / comparisons, 2 * power - 1)
    ]
    return float(widths[0] + widths[1])


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
    p = float(2 * ndtr(-abs(z) * math.sqrt(len(scores) - 3)))
    return r, low, high, p


def _matrix(values: ArrayLike) -> FloatArray:
    numbers = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if numbers.ndim != 2 or numbers.size == 0 or not np.isfinite(numbers).all():
        raise DataError(
            f"values of shape {numbers.shape}; give finite (seeds, questions), not empty."
        )
    return numbers
