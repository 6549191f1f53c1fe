"""The share of groups with equal rewards: where it is 1, the policy term is 0 and nothing is
learned."""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import panel


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    return panel(
        runs,
        title="Groups without a signal",
        description=(
            "The share of groups whose rollouts all earned the same reward. They have no "
            "advantage, so only the other groups move the policy."
        ),
        y="groups (%)",
        training="train/zero_variance_share",
        percent=True,
    )
