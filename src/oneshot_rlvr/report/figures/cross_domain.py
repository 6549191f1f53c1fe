"""Trained on x, tested on y: the matrix of changes of held-out accuracy, a row a training.

The measures are those of `analysis.transfer`. A page of one run has one row.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from oneshot_rlvr.analysis.transfer import OVERALL, cells, changes, trained_on
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import column

_ROOM = 36
"""Pixels that a number needs beside the next; in narrower cells, on a phone, it stands upright."""


def draw(runs: Runs) -> alt.LayerChart | None:
    """A cell a pair, its change in points; None unless two domains were tested twice."""
    found = []
    for arm in runs.arms:
        for run in arm.runs:
            comparison = run.comparison
            if comparison is not None and comparison.complete:
                trained = trained_on(run.examples).replace("_", " ")
                if arm.control:
                    trained += f" ({arm.control} reward)"
                found.append(changes(run.label, trained, comparison))
    measured = cells(pd.concat(found, ignore_index=True)) if found else None
    if measured is None or len(set(measured["tested_on"]) - {OVERALL}) < 2:
        return None
    rows = [
        {
            "trained": item["trained_on"],
            "tested": item["tested_on"].replace("_", " "),
            "change": 100 * item["change"],
            "low": 100 * item["low"],
            "high": 100 * item["high"],
            "runs": int(item["runs"]),
        }
        for item in measured.to_dict("records")
    ]
    tested = [row["tested"] for row in rows if row["tested"] != OVERALL] + [OVERALL]
    trained_names = list(dict.fromkeys(row["trained"] for row in rows))
    most = max(1.0, *(abs(row["change"]) for row in rows))
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            column("tested", "N"),
            title="tested on (domain)",
            sort=list(dict.fromkeys(tested)),
            axis=alt.Axis(labelAngle=-40, grid=False, labelLimit=120),
        ),
        y=alt.Y(
            column("trained", "N"),
            title="trained on (domain)",
            sort=trained_names,
            axis=alt.Axis(grid=False, labelLimit=130),
        ),
        tooltip=[
            alt.Tooltip(column("trained", "N"), title="trained on"),
            alt.Tooltip(column("tested", "N"), title="tested on"),
            alt.Tooltip(column("change"), title="change (points)", format="+.1f"),
            alt.Tooltip(column("low"), title="95% from", format="+.1f"),
            alt.Tooltip(column("high"), title="95% to", format="+.1f"),
            alt.Tooltip(column("runs")),
        ],
    )
    # Shade by size, in the theme's colours: a gain is blue, a loss orange.
    size = alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 0.4]), legend=None)
    shaded = (
        base.transform_calculate(
            strength=f"abs(datum.change) / {most}", sign="datum.change < 0 ? 'loss' : 'gain'"
        )
        .mark_rect(cornerRadius=4)
        .encode(
            opacity=size,
            color=alt.Color(
                "sign:N", scale=alt.Scale(domain=["loss", "gain"], range="category"), legend=None
            ),
        )
    )
    upright = alt.ExprRef(f"width / {len(set(tested))} < {_ROOM} ? 270 : 0")
    told = base.mark_text(fontSize=11, angle=upright).encode(
        text=alt.Text(column("change"), format="+.1f")
    )
    return alt.LayerChart(layer=[shaded, told]).properties(
        title="Trained on x, tested on y",
        description=(
            "The change of held-out accuracy in points, paired by question, by domain of the "
            "training example (rows) and of the questions (columns); means over runs that were "
            "trained on the same. The intervals are in the tooltips and in the CSV."
        ),
        width="container",
        height=60 + 36 * len(trained_names),
    )
