"""Trained on one domain, tested on all: the change of held-out accuracy by domain.

Paired by question, with 95 % intervals over questions, over seeds where an arm has several; the
domains of the training examples are marked, so that transfer can be told from practice.
"""

from __future__ import annotations

import math

import altair as alt

from oneshot_rlvr.analysis.transfer import trained_on
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import HELD_OUT, TRAINING, column, legend

_X = "change (points)"


def draw(runs: Runs) -> alt.LayerChart | None:
    """A row a domain and arm, the largest change first; None unless two domains were tested."""
    evaluation = runs.evaluation
    if evaluation is None:
        return None
    several = len(runs.arms) > 1
    practised = {name for run in runs.runs for name in trained_on(run.examples).split("+")}
    rows = []
    for arm in runs.arms:
        for change in arm.parts(evaluation, "domains"):
            difference = change.difference
            if difference is None or math.isnan(difference.low):
                continue
            rows.append(
                {
                    "domain": change.name.replace("_", " ") + " *" * (change.name in practised),
                    "change": 100 * difference.value,
                    "low": 100 * difference.low,
                    "high": 100 * difference.high,
                    "n": difference.n,
                    "series": arm.name if several else HELD_OUT,
                }
            )
    rows.sort(key=lambda row: -float(str(row["change"])))
    order = list(dict.fromkeys(str(row["domain"]) for row in rows))
    if len(order) < 2:
        return None
    description = (
        f"Change on the {evaluation} set by domain of questions, paired by question; bars are 95% "
        f"intervals over {'seeds, or over questions for one seed' if several else 'questions'}, "
        "the line is no change."
    )
    if any(name.endswith(" *") for name in order):
        description += " * a domain that was trained on."
    names = [arm.name for arm in runs.arms] if several else [TRAINING, HELD_OUT]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y(
            column("domain", "N"),
            title="domain",
            sort=order,
            scale=alt.Scale(paddingInner=0.35),
            axis=alt.Axis(grid=False, labelLimit=170),
        ),
        color=alt.Color(
            column("series", "N"),
            scale=alt.Scale(domain=names),
            legend=legend(columns=1) if several else None,
        ),
        tooltip=[
            alt.Tooltip(column("domain", "N")),
            alt.Tooltip(column("series", "N"), title="of"),
            alt.Tooltip(column("change"), title=_X, format="+.1f"),
            alt.Tooltip(column("low"), title="95% from", format="+.1f"),
            alt.Tooltip(column("high"), title="95% to", format="+.1f"),
            alt.Tooltip(column("n"), title="questions or seeds"),
        ],
    )
    if several:
        base = base.encode(yOffset=alt.YOffset(column("series", "N"), sort=names))
    none = alt.Chart(alt.InlineData(values=[{"change": 0}])).mark_rule(strokeDash=[4, 4])
    return alt.LayerChart(
        layer=[
            none.encode(x=alt.X(column("change"), title=_X)),
            base.mark_rule(strokeWidth=3, opacity=0.35).encode(
                x=alt.X(column("low"), title=_X, axis=alt.Axis(grid=True, tickCount=8)),
                x2="high:Q",
            ),
            base.mark_point(filled=True, size=60, opacity=1).encode(
                x=alt.X(column("change"), title=_X)
            ),
        ]
    ).properties(
        title="Trained on one domain, tested on all",
        description=description,
        width="container",
        height=(20 + 6 * len(runs.arms)) * len(order),
    )
