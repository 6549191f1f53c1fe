r"""The share of answers with a \boxed{} result over steps: how much of a gain can be format."""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import panel


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    return panel(
        runs,
        title="Boxed answers",
        description=(
            "The share of answers that state a final result in \\boxed{}: part of what is learned"
            " is this format."
        ),
        y="answers with a box (%)",
        training="train/boxed_share",
        held_out="boxed_share",
        percent=True,
    )
