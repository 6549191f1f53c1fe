"""Closeness of the pass rate to 1/2: an example that is solved half the time gives most gradient.

1 - |2p - 1| with p the mean accuracy over all visits; the order is that of p (1 - p), the variance
of one rollout's reward. With a probe of the base model it needs no training at all.
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.selection.history import FloatArray, History
from oneshot_rlvr.selection.score import Score


def pass_rate(history: History, seed: int = 0) -> FloatArray:
    """0 (never or always solved) to 1 (solved every second time)."""
    return 1.0 - np.abs(2.0 * history.mean_E() - 1.0)


SCORE = Score(pass_rate)
