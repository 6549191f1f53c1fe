"""LIMR's alignment: how closely an example's accuracy follows the average of the whole pool.

s_i = 1 - sum_k (r_i^k - r_avg^k)^2 / sum_k (1 - r_avg^k)^2 over the epochs k, LIMR (arXiv
2502.11886), "Normalized Alignment Score". 1 follows the average exactly, 0 does no better than an
example that is always solved.

One visit is no course that could follow another: an example needs two.

Departures. LIMR fills a missing epoch with the next one and drops examples that still lack one;
here an example is compared at its own visits, and r_avg^k is the mean of all examples that have a
k-th visit. The two agree where every example has every visit. LIMR keeps all above 0.6; here the
order is what counts.
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.selection.history import FloatArray, History, divided
from oneshot_rlvr.selection.score import Score


def limr(history: History, seed: int = 0) -> FloatArray:
    """At most 1; nan where the average is 1 at every visit, which nothing can be measured by."""
    visited = history.visited_E_S
    accuracy = np.where(visited, history.accuracy_E_S, 0.0)
    average_S = divided(accuracy.sum(axis=0), visited.sum(axis=0))
    apart = np.where(visited, accuracy - average_S, 0.0)
    scale_E = np.where(visited, (1.0 - average_S) ** 2, 0.0).sum(axis=1)
    return 1.0 - divided(np.einsum("es,es->e", apart, apart), scale_E)


SCORE = Score(limr, visits=2)
