"""Mean answer length over steps, of training rollouts and held-out answers."""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import panel


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    return panel(
        runs,
        title="Length of answers",
        description=("The mean number of generated tokens of an answer."),
        y="length (tokens)",
        training="train/tokens_mean",
        held_out="tokens_mean",
    )
