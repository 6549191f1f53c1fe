"""How much of the gain is format: as graded, with the format forgiven, and Kitagawa's split.

The measures are those of `analysis.formats`; accounting, not cause.
"""

from __future__ import annotations

import math

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import HELD_OUT, TRAINING, column, legend

_X = "gain (points)"


def draw(runs: Runs) -> alt.LayerChart | None:
    """A row a part of the gain and arm; None without answers before and after."""
    several = len(runs.arms) > 1
    rows = []
    for arm in runs.arms:
        tables = [run.format_gain for run in arm.runs if len(run.format_gain)]
        for part in tables[0]["part"] if tables else []:
            found = [table[table["part"] == part].iloc[0] for table in tables]
            found = [item for item in found if not math.isnan(item["gain"])]
            if not found:
                continue
            bounds: dict[str, float | None] = {"low": None, "high": None}
            if len(found) == 1 and not math.isnan(found[0]["low"]):
                bounds = {side: 100 * float(found[0][side]) for side in ("low", "high")}
            rows.append(
                {
                    "part": part,
                    "gain": 100 * sum(float(item["gain"]) for item in found) / len(found),
                    "series": arm.name if several else HELD_OUT,
                    **bounds,
                }
            )
    if not rows:
        return None
    order = list(dict.fromkeys(str(row["part"]) for row in rows))
    names = [arm.name for arm in runs.arms] if several else [TRAINING, HELD_OUT]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y(
            column("part", "N"),
            title="part (of the gain)",
            sort=order,
            axis=alt.Axis(grid=False, labelLimit=190),
        ),
        color=alt.Color(
            column("series", "N"),
            scale=alt.Scale(domain=names),
            legend=legend(columns=1) if several else None,
        ),
        tooltip=[
            alt.Tooltip(column("part", "N")),
            alt.Tooltip(column("series", "N"), title="of"),
            alt.Tooltip(column("gain"), title=_X, format="+.1f"),
            alt.Tooltip(column("low"), title="95% from", format="+.1f"),
            alt.Tooltip(column("high"), title="95% to", format="+.1f"),
        ],
    )
    if several:
        base = base.encode(yOffset=alt.YOffset(column("series", "N"), sort=names))
    none = alt.Chart(alt.InlineData(values=[{"gain": 0}])).mark_rule(strokeDash=[4, 4])
    bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=3, opacity=0.35)
    bounded = any(row["low"] is not None for row in rows)  # Vega warns of a layer without bounds
    gain = alt.X(column("gain"), title=_X, axis=alt.Axis(grid=True, tickCount=6))
    return alt.LayerChart(
        layer=[
            none.encode(x=alt.X(column("gain"), title=_X)),
            *([bars.encode(x=alt.X(column("low"), title=_X), x2="high:Q")] if bounded else []),
            base.mark_point(filled=True, size=60, opacity=1).encode(x=gain),
        ]
    ).properties(
        title="How much of the gain is format",
        description=(
            "The gain as graded, and with answers outside a box forgiven where they were graded so "
            "too; below, its split into boxing more and being right more often (Kitagawa). "
            "Accounting, not cause. Bars are 95% intervals over questions"
            + ("; several seeds are averaged." if any(a.seeds > 1 for a in runs.arms) else ".")
        ),
        width="container",
        height=(24 + 8 * len(runs.arms)) * len(order),
    )
