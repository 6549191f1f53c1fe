"""Estimates with their uncertainty: avg@K, pass@k, and 95 % intervals.

Pure numpy and scipy.special: arrays in, numbers out. Shapes: Q questions, K answers per question.
avg@K and pass@k are different quantities: avg@K is the expected share of right answers, pass@k
the chance that at least one of k answers is right. Nothing here reads files or draws figures.

How often each interval holds the truth is simulated by benchmarks/intervals.py and told in
docs/evaluation.md. Sources: Wilson, JASA 1927; Chen et al. 2021 (arXiv 2107.03374), equation 1, for
pass@k; Franco et al. 2019 (doi 10.1093/jssam/smy019) for Wilson with an effective sample size;
Bonett and Price 2012 (doi 10.3102/1076998611411915) for paired shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from oneshot_rlvr.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval over `n` independent units (questions, seeds).

    `low` and `high` are nan where one unit alone says nothing about spread.
    """

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a nan becomes None."""
        return {
            "value": _finite(self.value),
            "low": _finite(self.low),
            "high": _finite(self.high),
            "n": self.n,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Estimate:
        """The inverse of `as_dict`."""
        value, low, high = (
            math.nan if data[key] is None else float(data[key]) for key in ("value", "low", "high")
        )
        return cls(value, low, high, int(data["n"]))


@dataclass(frozen=True, slots=True)
class Difference:
    """after - before over `n` pairs, its 95 % interval, and the p-value of "no difference"."""

    value: float
    low: float
    high: float
    n: int
    p_value: float
    test: str  # how p_value was made, in words

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a nan becomes None."""
        numbers = {key: _finite(getattr(self, key)) for key in ("value", "low", "high", "p_value")}
        return {**numbers, "n": self.n, "test": self.test}


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def avg_at_k(correct_Q_K: ArrayLike) -> float:
    """avg@K: the mean share of right answers, every question weighing the same."""
    return float(_matrix(correct_Q_K).mean())


def pass_at_k(correct_Q_K: ArrayLike, k: int) -> float:
    """pass@k, unbiased, mean over questions: 1 - C(K-c, k) / C(K, k) with c right of K.

    DataError unless 1 <= k <= K: fewer answers than k cannot estimate it.
    """
    return float(pass_at_k_per_question(correct_Q_K, k).mean())


def pass_at_k_per_question(correct_Q_K: ArrayLike, k: int) -> FloatArray:
    """The unbiased pass@k of every question, shape (Q,). Feed `mean_interval` for an interval."""
    correct = _matrix(correct_Q_K)
    samples = correct.shape[1]
    if not 1 <= k <= samples:
        raise DataError(f"pass@{k} was asked of {samples} answers per question; give 1 <= k <= K")
    right_Q = np.rint(correct.sum(axis=1)).astype(int)
    # C(K-c, k) / C(K, k) as a product of shares: exact zeros when K-c < k, and no large factorials.
    all_wrong_Q = np.ones(len(right_Q))
    for drawn in range(k):
        all_wrong_Q *= np.maximum(samples - right_Q - drawn, 0) / (samples - drawn)
    return 1.0 - all_wrong_Q


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The mean of independent values with a Student t interval; nan bounds for one value.

    Equal values give an interval of no width: t knows only the spread it sees.
    """
    numbers = _vector(values)
    n = len(numbers)
    mean = float(numbers.mean())
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2) * numbers.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def wilson(successes: float, n: float, confidence: float = 0.95) -> Estimate:
    """A share of n independent yes/no trials with Wilson's score interval (inside 0..1)."""
    if n <= 0 or not 0 <= successes <= n:
        raise DataError(f"{successes} successes of {n} trials; give 0 <= successes <= n and n > 0")
    z = float(ndtri(0.5 + confidence / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and n successes one bound is exact; rounding must not put it beyond the share itself.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(share, low, high, round(n))


def question_interval(correct_Q_K: ArrayLike, confidence: float = 0.95) -> Estimate:
    """avg@K with an interval over questions; n is Q. K = 1 is Wilson's interval exactly.

    See `share_interval`, which also takes questions with different numbers of answers.
    """
    correct = _matrix(correct_Q_K)
    counts_Q = np.full(len(correct), correct.shape[1])
    return share_interval(correct.mean(axis=1), counts_Q, confidence)


def share_interval(shares_Q: ArrayLike, samples_Q: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The mean of per-question shares, questions being the independent unit (clusters).

    Wilson's interval with the effective sample size Q / D. D, the design effect, compares the
    variance of the shares with that of single answers, p (1-p): 1/K where the answers to a question
    are independent, 1 where they are all alike. What is seen of D is mixed with one question's
    worth of D = 1, because few right (or few wrong) questions hide most of the spread: without it
    30 questions at p = 0.05 cover 85 %. One answer a question is Wilson's interval exactly.
    """
    shares, samples = _vector(shares_Q), _vector(samples_Q)
    questions, mean = len(shares), float(shares.mean())
    if ((shares < 0) | (shares > 1)).any():
        raise DataError(f"shares run from {shares.min()} to {shares.max()}; give shares of 0..1")
    effect = 1.0
    if questions > 1 and 0 < mean < 1 and samples.max() > 1:
        seen = float(shares.var(ddof=1)) / (mean * (1 - mean))
        seen = min(1.0, max(questions / float(samples.sum()), seen))
        told_by = questions * min(mean, 1 - mean)
        effect = (told_by * seen + 1) / (told_by + 1)
    interval = wilson(mean * questions / effect, questions / effect, confidence)
    return Estimate(mean, interval.low, interval.high, questions)


def seeds_interval(scores_S: ArrayLike, answers: int, confidence: float = 0.95) -> Estimate:
    """The mean score over training seeds; n is S. Student t over the seeds, and never narrower
    than Wilson's interval over all S * `answers` graded answers: few seeds of few questions agree
    by chance, and t alone would then be sure. One seed has no interval.
    """
    scores = _vector(scores_S)
    over_seeds = mean_interval(scores, confidence)
    if len(scores) == 1:
        return over_seeds
    all_answers = wilson(
        min(max(over_seeds.value, 0.0), 1.0) * len(scores) * answers,
        len(scores) * answers,
        confidence,
    )
    return Estimate(
        over_seeds.value,
        max(0.0, min(over_seeds.low, all_answers.low)),
        min(1.0, max(over_seeds.high, all_answers.high)),
        len(scores),
    )


def majority_right(classes_K: Sequence[str | None], right_K: Sequence[bool]) -> float:
    """maj@K of one question: 1 if the most frequent answer is right, else 0; ties share.

    `classes_K`: what each answer says, in one spelling; None does not vote. Right answers are one
    class, whatever their spelling: all equal the gold. Without a vote it is 0.
    """
    votes: dict[str, int] = {}
    for said, right in zip(classes_K, right_K, strict=True):
        if right or said is not None:
            name = "right" if right else f"wrong:{said}"
            votes[name] = votes.get(name, 0) + 1
    if not votes:
        return 0.0
    most = max(votes.values())
    leaders = [name for name, count in votes.items() if count == most]
    return 1.0 / len(leaders) if "right" in leaders else 0.0


def paired_interval(
    before_Q: ArrayLike,
    after_Q: ArrayLike,
    confidence: float = 0.95,
    samples: int | None = None,
) -> Estimate:
    """The mean of after - before over the same units in the same order, with a t interval.

    Give per-question shares (or per-seed scores). Pairing removes what makes some questions harder
    than others, so it is narrower than the difference of two separate intervals.

    `samples`: the shares are of so many answers a question (the fewer of both sides). Two more
    differences of size 1 / samples then join, one of each sign (for 1 this is Bonett and Price's
    interval): a few questions that happen to agree do not make it certain.
    """
    before, after = _vector(before_Q), _vector(after_Q)
    if before.shape != after.shape:
        raise DataError(
            f"{len(before)} values before and {len(after)} after; a paired difference needs the "
            "same questions, in the same order, on both sides"
        )
    changes = after - before
    if samples is None:
        return mean_interval(changes, confidence)
    widened = np.concatenate([changes, [1 / samples, -1 / samples]])
    n, tail = len(widened), 0.5 + confidence / 2
    quantile = float(ndtri(tail) if samples == 1 else stdtrit(n - 1, tail))
    half = quantile * float(widened.std()) / math.sqrt(n)
    centre, value = float(widened.mean()), float(changes.mean())
    low, high = max(-1.0, min(centre - half, value)), min(1.0, max(centre + half, value))
    return Estimate(value, low, high, len(changes))


def paired_difference(
    before_Q: ArrayLike,
    after_Q: ArrayLike,
    samples: int = 1,
    confidence: float = 0.95,
    *,
    even: bool = True,
) -> Difference:
    """`paired_interval` over questions answered `samples` times each, with a p-value.

    The p-value is exact: of all 2^Q ways to swap the two sides of single questions, the share whose
    difference is at least as far from 0 (McNemar's exact test where samples = 1).

    `even`: every question has as many answers on one side as on the other. Where it has not, a
    difference of d is not as likely as one of -d although nothing differs (1 answer against 8 of a
    question that is right nine times of ten), and swapping sides calls up to a fifth of such
    comparisons significant. The p-value is then that of the interval's own t test, with its two
    differences of size 1 / samples, `samples` being the fewer (benchmarks/intervals.py tells how
    often it errs).
    """
    interval = paired_interval(before_Q, after_Q, confidence, samples)
    changes = np.subtract(_vector(after_Q), _vector(before_Q))
    p_value, test = sign_flip_p_value(changes) if even else _widened_t(changes, samples)
    return Difference(interval.value, interval.low, interval.high, interval.n, p_value, test)


def _widened_t(changes: FloatArray, samples: int) -> tuple[float, str]:
    widened = np.concatenate([changes, [1 / samples, -1 / samples]])
    error = float(widened.std()) / math.sqrt(len(widened))
    distance = abs(float(widened.mean())) / error
    return float(2 * stdtr(len(widened) - 1, -distance)), "t test over questions, with its grain"


def sign_flip_p_value(changes_Q: ArrayLike, most_units: int = 1 << 18) -> tuple[float, str]:
    """The two-sided p-value of "each question's change is as likely -d as d", and how it was made.

    Exact, by convolution, where the changes are multiples of one unit (shares of K answers are) and
    their sum stays within `most_units`; else the t test of the mean.
    """
    changes = _vector(changes_Q)
    moved = np.abs(changes[changes != 0])
    if len(moved) == 0:
        return 1.0, "sign flips: no question differs"
    units = _in_units(moved)
    if units is None or units.sum() > most_units:
        n = len(changes)
        spread = changes.std(ddof=1) / math.sqrt(n) if n > 1 else 0.0
        if spread == 0:
            return math.nan, "none: one difference says nothing of chance"
        return float(2 * stdtr(n - 1, -abs(changes.mean() / spread))), "t test over questions"
    # chance[s] is the probability that the signs give the sum 2 s - total.
    chance = np.ones(1)
    for size in units:
        longer = np.zeros(len(chance) + size)
        longer[: len(chance)] += chance / 2
        longer[size:] += chance / 2
        chance = longer
    total = int(units.sum())
    seen = abs(int(np.rint((changes[changes != 0] / moved * units).sum())))
    sums = 2 * np.arange(total + 1) - total
    return min(
        1.0, float(chance[np.abs(sums) >= seen].sum())
    ), "exact sign-flip test over questions"


def _in_units(values: FloatArray) -> NDArray[np.int64] | None:
    """Whole multiples of 1/k with the least k up to 4096; None where there is none."""
    for k in range(1, 4097):
        scaled = values * k
        if np.abs(scaled - np.rint(scaled)).max() < 1e-7 * k:
            return np.rint(scaled).astype(np.int64)
    return None


def welch_difference(
    before_S: ArrayLike, after_S: ArrayLike, confidence: float = 0.95
) -> Difference:
    """Mean of `after` minus mean of `before` over independent seeds: Welch's t (Biometrika 1947).

    A side with one value counts as known exactly (a base model has no training seed), the other
    then needs two. n is the number of values on both sides.
    """
    sides = _vector(before_S), _vector(after_S)
    value = float(sides[1].mean() - sides[0].mean())
    count = len(sides[0]) + len(sides[1])
    parts = [float(side.var(ddof=1)) / len(side) if len(side) > 1 else 0.0 for side in sides]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Difference(value, math.nan, math.nan, count, math.nan, "none: no spread over seeds")
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True) if len(side) > 1
    )
    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    p_value = float(2 * stdtr(freedom, -abs(value) / error))
    return Difference(value, value - half, value + half, count, p_value, "Welch's t over seeds")


def ratio_interval(
    parts_Q: ArrayLike, wholes_Q: ArrayLike, confidence: float = 0.95, most: float = math.inf
) -> Estimate:
    """sum(parts) / sum(wholes) over independent units (changed tokens of texts), with a t interval
    of parts - ratio * wholes (Cochran, Sampling Techniques, 1977, section 2.11), in 0 to `most`.

    Units whose whole is 0 are not counted. nan bounds where no unit differs from the ratio.
    """
    parts, wholes = _vector(parts_Q), _vector(wholes_Q)
    if parts.shape != wholes.shape or wholes.sum() <= 0:
        raise DataError(f"{len(parts)} parts of {len(wholes)} wholes; give one each, above 0")
    parts, wholes = parts[wholes > 0], wholes[wholes > 0]
    n, ratio = len(parts), float(parts.sum() / wholes.sum())
    off = parts - ratio * wholes
    if n < 2 or not off.any():
        return Estimate(ratio, math.nan, math.nan, n)
    error = float(off.std(ddof=1)) / math.sqrt(n) / float(wholes.mean())
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * error
    return Estimate(ratio, max(0.0, ratio - half), min(most, ratio + half), n)


def bootstrap_interval(
    values: ArrayLike,
    generator: np.random.Generator,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """The mean with a percentile bootstrap interval, for values far from normal."""
    numbers = _vector(values)
    means = np.array(
        [generator.choice(numbers, len(numbers)).mean() for _ in range(resamples)], dtype=float
    )
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Estimate(float(numbers.mean()), float(low), float(high), len(numbers))


def _matrix(correct_Q_K: ArrayLike) -> FloatArray:
    correct = np.asarray(correct_Q_K, dtype=np.float64)
    if correct.ndim != 2 or correct.size == 0:
        raise DataError(
            f"verdicts have shape {correct.shape}; give (questions, answers), not empty"
        )
    return correct


def _vector(values: ArrayLike) -> FloatArray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0:
        raise DataError(f"values have shape {numbers.shape}; give a list of at least one number")
    if not np.isfinite(numbers).all():
        raise DataError("values hold nan or infinity; drop what was not measured first")
    return numbers


EQUAL_REWARDS_WITHIN = 1e-6
"""Rewards that differ by no more are equal: far below any that is meant (a length penalty of 0.05
over 3,072 tokens steps by 2e-5), far above the rounding of sums and shares, in float32 too."""


def equal_rewards(rewards: Sequence[float]) -> bool:
    """Whether a group's rewards are all equal, so that there is nothing to compare."""
    return max(rewards) - min(rewards) <= EQUAL_REWARDS_WITHIN
