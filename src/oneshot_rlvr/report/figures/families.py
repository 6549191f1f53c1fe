"""Held-out accuracy by family, before and after, with 95% intervals.

Families of the training example's kind are marked, so that transfer can be told from practice.
Several arms stand below each other in every family.
"""

from __future__ import annotations

import altair as alt

from oneshot_rlvr.analysis.comparison import Change
from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import BEFORE, column, legend

_X = "right answers (%)"


def draw(runs: Runs) -> alt.LayerChart | None:
    """A row a family and side, the largest gain first; None when no evaluation tells families."""
    evaluation = runs.evaluation
    if evaluation is None:
        return None
    arms = {arm.name: arm.parts(evaluation, "families") for arm in runs.arms}
    if not any(arms.values()):
        return None
    several = len(arms) > 1
    trained_on = {str(e.get("family", "")) for run in runs.runs for e in run.examples}
    domains = {
        family: domain
        for run in runs.runs
        for comparison in run.comparisons
        for family, domain in comparison.family_domain.items()
    }
    first = {change.name: change for change in next(iter(arms.values()))}
    names = list(dict.fromkeys(change.name for changes in arms.values() for change in changes))
    names.sort(key=lambda name: -_gain(first.get(name)))
    sides = [BEFORE, *(arms if several else ["after"])]
    # Arms have the same colours in every figure: the theme's first ones.
    coloured = [*arms, BEFORE] if several else sides
    rows = []
    for name in names:
        label = name.replace("_", " ") + (" *" if name in trained_on else "")
        found = {
            arm: change for arm, some in arms.items() for change in some if change.name == name
        }
        before = next((change.before for change in found.values() if change.before), None)
        told = {BEFORE: before}
        told |= {arm if several else "after": change.after for arm, change in found.items()}
        for when, estimate in told.items():
            if estimate is not None:
                rows.append(_row(label, domains.get(name, ""), when, estimate))
    complete = any(change.after and change.before for some in arms.values() for change in some)
    description = (
        f"The share of right answers on the {evaluation} set by family of questions"
        f"{', the largest gain first' if complete else ''}; bars are 95% intervals over "
        f"{'seeds or, for one seed, ' if several else ''}questions."
    )
    if trained_on & set(names):
        description += " * the family of the training example."
    order = list(dict.fromkeys(str(row["family"]) for row in rows))
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y(
            column("family", "N"),
            title="family",
            sort=order,
            scale=alt.Scale(paddingInner=0.35),
            axis=alt.Axis(grid=False, labelLimit=170),
        ),
        yOffset=alt.YOffset(column("when", "N"), sort=sides),
        color=alt.Color(
            column("when", "N"),
            sort=sides,
            scale=alt.Scale(domain=coloured, range="category" if several else "ordinal"),
            legend=legend(),
        ),
        tooltip=[
            alt.Tooltip(column("family", "N")),
            alt.Tooltip(column("domain", "N")),
            alt.Tooltip(column("when", "N"), title="model"),
            alt.Tooltip(column("value"), title=_X, format=".1%"),
            alt.Tooltip(column("low"), title="95% from", format=".1%"),
            alt.Tooltip(column("high"), title="95% to", format=".1%"),
            alt.Tooltip(column("n"), title="questions or seeds"),
        ],
    )
    accuracy = alt.X(
        column("value"),
        title=_X,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", grid=True, tickCount=5),
    )
    interval = base.mark_rule(strokeWidth=3, opacity=0.35).encode(
        x=alt.X(column("low"), title=_X), x2="high:Q"
    )
    point = base.mark_point(filled=True, size=60, opacity=1).encode(x=accuracy)
    return alt.LayerChart(layer=[interval, point]).properties(
        title="Accuracy by family, before and after",
        description=description,
        width="container",
        height=(16 + 6 * len(sides)) * len(order),
    )


def _gain(change: Change | None) -> float:
    if change is None or change.before is None or change.after is None:
        return 0.0
    return change.after.value - change.before.value


def _row(label: str, domain: str, when: str, estimate: Estimate) -> dict[str, object]:
    return {
        "family": label,
        "domain": domain,
        "when": when,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }
