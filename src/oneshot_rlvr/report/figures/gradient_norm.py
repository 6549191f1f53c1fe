"""Global gradient norm over steps: spikes come before a run breaks."""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import panel


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    return panel(
        runs,
        title="Gradient norm",
        description=("The global norm of the gradient, before it is clipped."),
        y="L2 norm (before clipping)",
        training="train/gradient_norm",
    )
