"""Historical variance: how much an example's accuracy moved while a model trained on the pool.

v_i = var(accuracy of example i over its visits), arXiv 2504.20571, equation 4: population variance
(divisor S), each example over its own visits. An example that is never or always solved has 0.
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.selection.history import FloatArray, History, divided
from oneshot_rlvr.selection.score import Score


def variance(history: History, seed: int = 0) -> FloatArray:
    """Variance over the visits, 0..0.25; nan with fewer than two."""
    mean_E = history.mean_E()
    deviation = np.where(history.visited_E_S, history.accuracy_E_S - mean_E[:, None], 0.0)
    found = divided(np.einsum("es,es->e", deviation, deviation), history.visits_E)
    return np.where(history.visits_E >= 2, found, np.nan)


SCORE = Score(variance, visits=2)
