"""Held-out accuracy by family, before and after, with 95% intervals over questions.

Families of the training example's kind are marked, so that transfer can be told from practice.
"""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.analysis.comparison import Change
from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures.style import legend


def draw(run: RunData) -> alt.LayerChart | None:
    """Two rows a family, the largest gain first; None when no evaluation tells families apart."""
    comparison = run.comparison
    if comparison is None or not comparison.families:
        return None
    trained_on = {str(example.get("family", "")) for example in run.examples}
    changes = sorted(comparison.families, key=_gain, reverse=True)
    rows = []
    for change in changes:
        label = change.name.replace("_", " ") + (" *" if change.name in trained_on else "")
        for when, estimate in (("before", change.before), ("after", change.after)):
            if estimate is not None:
                rows.append(
                    _row(label, comparison.family_domain.get(change.name, ""), when, estimate)
                )
    description = (
        f"avg@K on the {comparison.name} set by family of questions"
        f"{', the largest gain first' if comparison.complete else ''}; bars are 95% intervals over "
        "questions."
    )
    if any(change.name in trained_on for change in changes):
        description += " * the family of the training example."
    order = list(dict.fromkeys(str(row["family"]) for row in rows))
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y(
            "family:N",
            title="family",
            sort=order,
            scale=alt.Scale(paddingInner=0.35),
            axis=alt.Axis(grid=False, labelLimit=170),
        ),
        yOffset=alt.YOffset("when:N", sort=["before", "after"]),
        color=alt.Color(
            "when:N",
            sort=["before", "after"],
            scale=alt.Scale(domain=["before", "after"], range="ordinal"),
            legend=legend(),
        ),
        tooltip=[
            alt.Tooltip("family:N"),
            alt.Tooltip("domain:N"),
            alt.Tooltip("when:N", title="model"),
            alt.Tooltip("value:Q", title="right answers (%)", format=".1%"),
            alt.Tooltip("low:Q", title="95% from", format=".1%"),
            alt.Tooltip("high:Q", title="95% to", format=".1%"),
            alt.Tooltip("questions:Q", title="questions"),
        ],
    )
    accuracy = alt.X(
        "value:Q",
        title="right answers (%)",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", grid=True, tickCount=5),
    )
    interval = base.mark_rule(strokeWidth=3, opacity=0.35).encode(
        x=alt.X("low:Q", title="right answers (%)"), x2="high:Q"
    )
    point = base.mark_point(filled=True, size=60, opacity=1).encode(x=accuracy)
    return alt.LayerChart(layer=[interval, point]).properties(
        title="Accuracy by family, before and after",
        description=description,
        width="container",
        height=28 * len(order),
    )


def _gain(change: Change) -> float:
    if change.before is None or change.after is None:
        return 0.0
    return change.after.value - change.before.value


def _row(label: str, domain: str, when: str, estimate: Estimate) -> dict[str, object]:
    return {
        "family": label,
        "domain": domain,
        "when": when,
        "value": round(estimate.value, 5),
        "low": round(estimate.low, 5),
        "high": round(estimate.high, 5),
        "questions": estimate.n,
    }
