"""Gain of the mean reward: what was learned on an example while the model trained on the pool.

The mean accuracy of the later half of its visits minus that of the earlier half; with an odd
number the middle visit counts on neither side. Accuracy is the mean outcome reward: penalties on
length or format do not enter.
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.selection.history import FloatArray, History, divided
from oneshot_rlvr.selection.score import Score


def gain(history: History, seed: int = 0) -> FloatArray:
    """-1 to 1; nan with fewer than two visits."""
    half_E = history.visits_E // 2
    place_S = np.arange(history.accuracy_E_S.shape[1])
    early = place_S < half_E[:, None]
    late = (place_S >= (history.visits_E - half_E)[:, None]) & history.visited_E_S
    before, after = (
        np.where(side, history.accuracy_E_S, 0.0).sum(axis=1) for side in (early, late)
    )
    return divided(after - before, half_E)


SCORE = Score(gain, visits=2)
