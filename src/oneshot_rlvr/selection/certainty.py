"""When a probe may stop asking an example: it is certain to be among the first K, or not to be.

After fixed numbers of answers (looks) every example's solve rate p has a Clopper-Pearson interval
(Clopper and Pearson, Biometrika 1934), exact for any p. The error is divided by examples and looks
(Bonferroni), so with probability at least 1 - error all intervals hold at once, at every look and
whoever has stopped; then no example is settled wrongly. What is certain of p is certain of the
score 1 - |2p - 1| (`pass_rate`). An example is out when K others surely score higher, and in when
fewer than K others can; of what is in, the order is that of the estimates and not certain.

Arrays in, arrays out, torch-free. Not here: asking.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.selection.history import FloatArray

ERROR = 0.05
"""The most probable share of probes in which any example is settled wrongly."""

FIRST_LOOK = 8
"""Answers before the first look; every later look is after twice as many."""


def looks(answers: int, first: int = FIRST_LOOK) -> list[int]:
    """Answers an example at each look, the last one all: 8, 16, 32, ..."""
    found = []
    while first < answers:
        found.append(first)
        first *= 2
    return [*found, answers]


def solve_rate_bounds(
    right_E: NDArray[np.int64], answers: int, error: float
) -> tuple[FloatArray, FloatArray]:
    """Clopper-Pearson bounds of p from `right` of `answers`: each holds p with 1 - error."""
    right = np.asarray(right_E, dtype=np.float64)
    wrong = answers - right
    with np.errstate(invalid="ignore"):  # the ends, which are set below
        low = betaincinv(np.maximum(right, 1), wrong + 1, error / 2)
        high = betaincinv(right + 1, np.maximum(wrong, 1), 1 - error / 2)
    return np.where(right == 0, 0.0, low), np.where(wrong == 0, 1.0, high)


def score_bounds(low_E: FloatArray, high_E: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bounds of 1 - |2p - 1| for p between `low` and `high`."""
    ends = np.stack([1 - np.abs(2 * low_E - 1), 1 - np.abs(2 * high_E - 1)])
    around = (low_E <= 0.5) & (high_E >= 0.5)
    return ends.min(0), np.where(around, 1.0, ends.max(0))


def settled(low_E: FloatArray, high_E: FloatArray, first: int) -> NDArray[np.bool_]:
    """Which examples are surely among the `first` best scores, or surely not; ties count as in."""
    above = len(low_E) - np.searchsorted(np.sort(low_E), high_E, side="right")
    could = len(high_E) - np.searchsorted(np.sort(high_E), low_E, side="left") - 1  # but itself
    return (above >= first) | (could < first)


@dataclass(slots=True)
class Race:
    """E examples of which the best `first` are wanted, with at most `answers` each.

    `open_E`: still to be asked. ConfigError where there is nothing to find out or no look before
    the last.
    """

    examples: int
    first: int
    answers: int
    error: float = ERROR
    open_E: NDArray[np.bool_] = field(init=False)
    _low_E: FloatArray = field(init=False)
    _high_E: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.first < self.examples:
            raise ConfigError(
                f"stopping early is to find the first {self.first} of {self.examples} examples; "
                f"wanted 1 to {self.examples - 1}."
            )
        if len(looks(self.answers)) < 2:
            raise ConfigError(
                f"a probe of {self.answers} answers looks only once and cannot stop early; give "
                f"more than {FIRST_LOOK}."
            )
        self.open_E = np.ones(self.examples, dtype=bool)
        self._low_E, self._high_E = np.zeros(self.examples), np.ones(self.examples)

    def look(self, right_E: NDArray[np.int64], answers: int) -> None:
        """After `answers` answers to each open example, `right_E` of them right; others keep what
        was known. Not to be called at the last look, where nothing is left to save."""
        share = self.error / (self.examples * (len(looks(self.answers)) - 1))
        low_E, high_E = score_bounds(*solve_rate_bounds(right_E, answers, share))
        self._low_E = np.where(self.open_E, np.maximum(low_E, self._low_E), self._low_E)
        self._high_E = np.where(self.open_E, np.minimum(high_E, self._high_E), self._high_E)
        self.open_E &= ~settled(self._low_E, self._high_E, self.first)
