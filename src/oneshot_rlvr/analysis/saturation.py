"""Post-saturation generalization: what is still learned once the training example is solved.

Saturation is the first step that ends `steps` recorded steps in a row of training accuracy at least
`level`. Held-out accuracy is compared, question by question, with the first evaluation at or after
it (arXiv 2504.20571, section 3.2.2: +3.4 points after step 100). Columns in, columns out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from oneshot_rlvr.analysis.comparison import paired_change

LEVEL, STEPS = 0.95, 5
FEWEST = 3
"""Evaluations: two make a difference, and no course that could have turned."""

HELD_OUT_COLUMNS = ("step", "accuracy", "change", "low", "high", "n", "since")


def saturation_step(
    accuracy: Sequence[tuple[int, float]], level: float = LEVEL, steps: int = STEPS
) -> int | None:
    """The first step that ends `steps` recorded steps in a row of at least `level`."""
    in_a_row = 0
    for step, value in accuracy:
        in_a_row = in_a_row + 1 if value >= level else 0
        if in_a_row == steps:
            return step
    return None


def after_saturation(saturated: int | None, samples: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Held-out accuracy from saturation on, and its change since, paired by question.

    samples: step -> graded samples (example_id, correct). One row an evaluation at or after the
    saturation step: `since` is the first of them, where the change is 0; `low` and `high` bound the
    change by a 95 % interval over questions (nan without the same questions). Empty before
    saturation.
    """
    later = [step for step in sorted(samples) if saturated is not None and step >= saturated]
    rows = []
    for step in later:
        change = paired_change(samples[later[0]], samples[step])
        accuracy = samples[step].groupby("example_id")["correct"].mean().mean()
        none = change is None or step == later[0]
        rows.append(
            {
                "step": step,
                "accuracy": float(accuracy),
                "change": 0.0 if step == later[0] else math.nan if change is None else change.value,
                "low": math.nan if none or change is None else change.low,
                "high": math.nan if none or change is None else change.high,
                "n": samples[step]["example_id"].nunique(),
                "since": later[0],
            }
        )
    return pd.DataFrame(rows, columns=list(HELD_OUT_COLUMNS))


def overfitting_onset(samples: Mapping[int, pd.DataFrame]) -> int | None:
    """The first evaluation from which on every one lies below the best before it, surely.

    Surely: the 95 % interval of the difference to that best one, paired by question, is below 0.
    The best was chosen for being the best, so chance alone makes later ones a little lower; look at
    how long it lasts. None where held-out accuracy has not fallen so, has come back, or was
    measured fewer than three times.
    """
    steps = sorted(samples)
    if len(steps) < FEWEST:
        return None
    mean = {step: samples[step].groupby("example_id")["correct"].mean().mean() for step in steps}
    best = steps[0]
    onset: int | None = None
    for step in steps[1:]:
        if mean[step] >= mean[best]:
            best, onset = step, None
            continue
        change = paired_change(samples[best], samples[step])
        below = change is not None and change.high < 0
        onset = (step if onset is None else onset) if below else None
    return onset


def first_lasting(
    shares: Sequence[tuple[int, float]], level: float, steps: int = STEPS
) -> int | None:
    """The first step that ends `steps` recorded steps in a row of a share of at least `level`.

    The same rule as saturation's, for gibberish on the training prompt.
    """
    return saturation_step(shares, level, steps)
