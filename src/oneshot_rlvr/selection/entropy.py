"""Entropy of the answers: how undecided the model is, whether or not it is right.

H_i = -sum_a q_a ln q_a over the distinct answers that were read from example i's rollouts, equal
as text; rollouts without an answer count as one answer of their own. Needs the answers: records of
a run, or a probe.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.selection.history import FloatArray, History
from oneshot_rlvr.selection.score import Score


def answer_entropy(
    example_A: NDArray[np.int64], counts_A: NDArray, number_of_examples: int
) -> FloatArray:
    """Nats an example, from how often each of its A answers was given; nan without answers."""
    counts = counts_A.astype(np.float64)
    total_E = np.bincount(example_A, counts, number_of_examples)
    # -sum q ln q = ln n - (sum c ln c) / n, one pass over the answers.
    weighted_E = np.bincount(example_A, counts * np.log(counts), number_of_examples)
    found = np.full(number_of_examples, np.nan)
    some = total_E > 0
    found[some] = np.log(total_E[some]) - weighted_E[some] / total_E[some]
    return np.maximum(found, 0.0)  # rounding may leave a single answer at -0


def entropy(history: History, seed: int = 0) -> FloatArray:
    """Nats. DataError for a history without answers."""
    if history.answer_entropy_E is None:
        raise DataError(
            "score entropy needs the answers themselves, and this history holds shares only; give "
            "a run's directory with --history, or --probe"
        )
    return history.answer_entropy_E


SCORE = Score(entropy, answers=True)
