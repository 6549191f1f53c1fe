"""A random draw: the control that every other score has to beat.

Each id's number is a hash of seed and id, so that it depends neither on the order of the pool nor
on which other examples are in it.
"""

from __future__ import annotations

import hashlib

import numpy as np

from oneshot_rlvr.selection.history import FloatArray, History
from oneshot_rlvr.selection.score import Score


def random_draw(history: History, seed: int = 0) -> FloatArray:
    """Uniform in 0..1 (the first 53 bits of SHA-256)."""
    numbers = [
        int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]) >> 11
        for name in history.ids
    ]
    return np.array(numbers, dtype=np.float64) / 2**53


SCORE = Score(random_draw, visits=0)
