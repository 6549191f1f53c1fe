"""Mean token entropy of the policy over steps, at the rollout temperature."""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import panel


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    return panel(
        runs,
        title="Entropy",
        description=(
            "How undecided the policy is about its next token, on its own rollouts. Near 0 it "
            "explores no more."
        ),
        y="entropy (nats per token)",
        training="train/entropy_nats",
    )
