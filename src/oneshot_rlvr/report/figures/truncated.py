"""The share of answers that never ended, over steps."""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import panel


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    return panel(
        runs,
        title="Truncated answers",
        description=(
            "The share of answers that reached the token limit without an end. They are graded as"
            " they stand."
        ),
        y="answers cut off (%)",
        training="train/truncated_share",
        held_out="truncated_share",
        percent=True,
    )
