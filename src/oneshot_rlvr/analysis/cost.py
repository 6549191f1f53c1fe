"""The cost to reach an accuracy: steps, generated tokens, seconds.

The first step at which a curve is at or above the target, and what all steps up to it took. A curve
that touches the target by luck counts as having reached it; held-out curves are measured every few
steps, so their cost is that of the first measurement at or above it. Columns in, columns out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
COST_COLUMNS = ("of", "target", "step", "tokens", "seconds", "evaluation_seconds")


def cost_to_reach(
    curves: Mapping[str, Sequence[tuple[int, float]]],
    metrics: pd.DataFrame,
    timings: pd.DataFrame,
    targets: Sequence[float] = TARGETS,
) -> pd.DataFrame:
    """One row a curve and target; where it is not reached, step and costs are missing.

    curves: name -> (step, accuracy) in order. tokens: generated in training up to and with the
    step; seconds: of those steps, evaluations not counted; evaluation_seconds: of these.
    """
    tokens = _running(metrics, "train/tokens")
    evaluated = _running(timings, "evaluate_seconds")
    seconds = _running(timings, "step_seconds")
    rows = []
    for name, points in curves.items():
        for target in targets:
            step = next((s for s, value in points if value >= target), None)
            # A run that never evaluates has no such key: it spent nothing on it.
            spent = 0.0 if evaluated.empty else _at(evaluated, step)
            rows.append(
                {
                    "of": name,
                    "target": target,
                    "step": pd.NA if step is None else step,
                    "tokens": _at(tokens, step),
                    "seconds": _at(seconds, step) - spent,
                    "evaluation_seconds": math.nan if step is None else spent,
                }
            )
    return pd.DataFrame(rows, columns=list(COST_COLUMNS)).astype({"step": "Int64"})


def _running(frame: pd.DataFrame, key: str) -> pd.Series:
    """Sums up to each training step; step 0 is the base's evaluation and costs no training."""
    if key not in frame:
        return pd.Series(dtype=float)
    kept = frame[frame["step"] > 0]
    return pd.Series(kept[key].fillna(0).cumsum().to_numpy(), index=kept["step"].to_numpy())


def _at(running: pd.Series, step: int | None) -> float:
    """The sum up to `step`; nan where nothing was recorded at all, or for no step."""
    if running.empty or step is None:
        return math.nan
    until = running[running.index <= step]
    return float(until.iloc[-1]) if len(until) else 0.0
