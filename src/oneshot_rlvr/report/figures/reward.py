"""Mean reward over steps. Under the outcome arm it equals training accuracy.

Where verdicts carry scores that say more than right and wrong, so are their mean and the best of
all steps so far.
"""

from __future__ import annotations

from itertools import accumulate

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import TRAINING, lines, row, seeds_told, series

SCORE, BEST = "mean score", "best score so far"


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    rows = series(runs, TRAINING, lambda run: run.training("train/reward"))
    told = "The mean reward of a step's rollouts, as the recipe's reward arm gives it."
    run = runs.alone
    scores = run.training("train/score") if run is not None else []
    if run is not None and scores and scores != run.training("train/accuracy"):
        told += (
            " The score says how good an answer is, from 0 to 1; the best of all steps so far "
            "never falls."
        )
        rows += [row(step, SCORE, value) for step, value in scores]
        best = run.training("train/score_best")
        highest = accumulate((value for _, value in best), max)
        rows += [row(step, BEST, value) for (step, _), value in zip(best, highest, strict=True)]
    return lines(
        rows,
        title="Reward",
        description=told + seeds_told(runs),
        y="reward (mean per rollout)",
        colours=[arm.name for arm in runs.arms] if len(runs.arms) > 1 else None,
    )
