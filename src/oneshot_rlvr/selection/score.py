"""What a score is. One file a score, each with one `SCORE`; `ranking.py` orders by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oneshot_rlvr.selection.history import FloatArray, History


@dataclass(frozen=True, slots=True)
class Score:
    """`compute(history, seed) -> score_E`, higher is better, nan where nothing can be said.

    visits: the fewest visits that say anything; 0 for a score that needs no history.
    answers: whether it needs the answers themselves (records or a probe, no table of shares).
    """

    compute: Callable[[History, int], FloatArray]
    visits: int = 1
    answers: bool = False
