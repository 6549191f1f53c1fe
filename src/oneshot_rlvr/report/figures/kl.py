"""KL divergence from the reference model over steps (k3 estimator, Schulman 2020)."""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import panel


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    return panel(
        runs,
        title="Distance from the base model",
        description=(
            "The k3 estimate of the divergence from the base model, on the rollouts of the step."
        ),
        y="KL (nats per token)",
        training="train/kl",
    )
