"""Trained on one domain, tested on all: the change of held-out accuracy by domain.

Paired by question, with 95 % intervals over questions; the domains of the training examples are
marked, so that transfer can be told from practice. One row of the cross-domain matrix that
`oneshot analyse` makes of several runs.
"""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.analysis.transfer import OVERALL, changes, trained_on
from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures.style import HELD_OUT, TRAINING


def draw(run: RunData) -> alt.LayerChart | None:
    """A row a domain, the largest change first; None unless two domains were tested twice."""
    comparison = run.comparison
    if comparison is None or len(comparison.domains) < 2:
        return None
    practised = trained_on(run.examples).split("+")
    found = changes("", "", comparison).dropna(subset=["change", "low", "high"])
    found = found[found["tested_on"] != OVERALL].sort_values("change", ascending=False)
    rows = [
        {
            "domain": row["tested_on"].replace("_", " ") + " *" * (row["tested_on"] in practised),
            "change": round(100 * row["change"], 3),
            "low": round(100 * row["low"], 3),
            "high": round(100 * row["high"], 3),
            "questions": int(row["questions"]),
            "series": HELD_OUT,
        }
        for row in found.to_dict("records")
    ]
    if len(rows) < 2:
        return None
    description = (
        f"Change on the {comparison.name} set by domain of questions, paired by question; bars are "
        "95% intervals over questions, the line is no change."
    )
    if any(row["domain"].endswith(" *") for row in rows):
        description += " * a domain that was trained on."
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y(
            "domain:N",
            title="domain",
            sort=[row["domain"] for row in rows],
            axis=alt.Axis(grid=False, labelLimit=170),
        ),
        color=alt.Color("series:N", scale=alt.Scale(domain=[TRAINING, HELD_OUT]), legend=None),
        tooltip=[
            alt.Tooltip("domain:N"),
            alt.Tooltip("change:Q", title="change (points)", format="+.1f"),
            alt.Tooltip("low:Q", title="95% from", format="+.1f"),
            alt.Tooltip("high:Q", title="95% to", format="+.1f"),
            alt.Tooltip("questions:Q", title="questions"),
        ],
    )
    title = "change (points)"
    none = alt.Chart(alt.InlineData(values=[{"change": 0}])).mark_rule(strokeDash=[4, 4])
    return alt.LayerChart(
        layer=[
            none.encode(x=alt.X("change:Q", title=title)),
            base.mark_rule(strokeWidth=3, opacity=0.35).encode(
                x=alt.X("low:Q", title=title, axis=alt.Axis(grid=True, tickCount=8)), x2="high:Q"
            ),
            base.mark_point(filled=True, size=60, opacity=1).encode(
                x=alt.X("change:Q", title=title)
            ),
        ]
    ).properties(
        title="Trained on one domain, tested on all",
        description=description,
        width="container",
        height=26 * len(rows),
    )
