"""The pool's own order: its first n examples, a control without any choice."""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.selection.history import FloatArray, History
from oneshot_rlvr.selection.score import Score


def first(history: History, seed: int = 0) -> FloatArray:
    """0 for the first example, -1 for the second, and so on."""
    return -np.arange(len(history), dtype=np.float64)


SCORE = Score(first, visits=0)
