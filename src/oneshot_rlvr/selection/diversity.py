"""A mix of score and diversity, for training on more than one example.

Greedy maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): the next example is the one
with the largest (1 - w) relevance - w (its greatest likeness to those already taken). Relevance is
the share of the pool that scores lower, so that scores of any scale can be mixed; likeness is 1 in
the same category, else 0, or the cosine of embeddings, negative ones as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.selection.history import FloatArray
from oneshot_rlvr.selection.ranking import Ranking


def diversified(
    ranking: Ranking,
    count: int,
    weight: float,
    *,
    categories: Sequence[str] | None = None,
    embeddings_E_D: NDArray | None = None,
) -> Ranking:
    """The ranking with its first `count` taken for score and diversity, the others as they were.

    categories or embeddings_E_D: one an example, in the history's order; with both the likeness is
    their mean. DataError for a weight outside 0..1, neither of the two, or another number of them.
    """
    examples = len(ranking.history)
    if not 0 <= weight <= 1:
        raise DataError(f"the weight of diversity is {weight:g}; wanted 0 (score alone) to 1")
    if categories is None and embeddings_E_D is None:
        raise DataError("diversity needs categories or embeddings to tell examples apart")
    for what, given in (("categories", categories), ("embeddings", embeddings_E_D)):
        if given is not None and len(given) != examples:
            raise DataError(f"{len(given)} {what} for {examples} examples; wanted one each")
    label_E = (
        None if categories is None else np.unique(np.array(categories), return_inverse=True)[1]
    )
    unit_E_D = None if embeddings_E_D is None else _units(embeddings_E_D)
    scored = np.isfinite(ranking.score_E)
    value_E = np.where(scored, (1 - weight) * _relevance(ranking.score_E), -np.inf)
    likeness_E: FloatArray = np.zeros(examples)
    free = scored.copy()
    taken: list[int] = []
    for _ in range(min(count, int(scored.sum()))):
        worth = np.where(free, value_E - weight * likeness_E, -np.inf)[ranking.order_E]
        best = int(ranking.order_E[int(np.argmax(worth))])  # the first of equals, as ranked
        taken.append(best)
        free[best] = False
        likeness_E = np.maximum(likeness_E, _likeness(best, label_E, unit_E_D))
    chosen = set(taken)
    rest = [int(e) for e in ranking.order_E if int(e) not in chosen]
    return replace(
        ranking,
        name=f"{ranking.name}, diversity {weight:g}",
        order_E=np.array([*taken, *rest], dtype=np.int64),
    )


def _relevance(score_E: FloatArray) -> FloatArray:
    """The share of the others that score lower; equal for equal scores."""
    _, inverse, counts = np.unique(
        score_E[np.isfinite(score_E)], return_inverse=True, return_counts=True
    )
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    found = np.zeros(len(score_E))
    found[np.isfinite(score_E)] = below[inverse] / max(1, int(counts.sum()) - 1)
    return found


def _units(embeddings_E_D: NDArray) -> FloatArray:
    vectors = np.asarray(embeddings_E_D, dtype=np.float64)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise DataError(
            f"embeddings of shape {vectors.shape} of which {int((~np.isfinite(vectors)).sum())} "
            "numbers are not finite; wanted one vector of finite numbers an example"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _likeness(example: int, label_E: NDArray | None, unit_E_D: FloatArray | None) -> FloatArray:
    parts = []
    if label_E is not None:
        parts.append((label_E == label_E[example]).astype(np.float64))
    if unit_E_D is not None:
        parts.append(np.maximum(unit_E_D @ unit_E_D[example], 0.0))
    return np.mean(parts, axis=0)
