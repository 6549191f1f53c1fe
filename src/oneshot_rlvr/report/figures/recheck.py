"""The share of answers that recheck themselves over steps (arXiv 2504.20571, section 3.2.4)."""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import panel


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None when it was not recorded."""
    return panel(
        runs,
        title="Answers that recheck themselves",
        description=(
            "The share of answers that say rethink, recheck or recalculate, the words the paper "
            "counts."
        ),
        y="answers that recheck (%)",
        training="train/recheck_share",
        held_out="recheck_share",
        percent=True,
    )
