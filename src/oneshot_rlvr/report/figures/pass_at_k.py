"""pass@k over k: whether a model solves more problems, or the same ones more often.

Unbiased (Chen et al. 2021, arXiv 2107.03374, equation 1) from the K answers a question has; k = 1
is avg@K. Curves that meet at a large k are the finding of arXiv 2504.13837.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from oneshot_rlvr.estimators import Estimate, seeds_interval
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import BEFORE, column, legend

_Y = "questions solved (%)"


def draw(runs: Runs) -> alt.LayerChart | None:
    """A line a side, with bands; None where questions were answered once."""
    evaluation = runs.evaluation
    if evaluation is None:
        return None
    several = len(runs.arms) > 1
    sides: dict[str, list[dict[str, Any]]] = {}
    for arm in runs.arms:
        found = [c for run in arm.runs for c in run.comparisons if c.name == evaluation]
        before = [c.before["overall"] for c in found if c.before is not None]
        after = [c.after["overall"] for c in found if c.after is not None]
        if before and BEFORE not in sides:
            sides[BEFORE] = before[:1]  # seeds and arms share the base model
        if after:
            sides[arm.name if several else "after"] = after
    rows = [row for name, parts in sides.items() for row in _rows(name, parts)]
    if not any(row["k"] > 1 for row in rows):
        return None
    # Arms have the same colours in every figure: the theme's first ones.
    names = [*(arm.name for arm in runs.arms), BEFORE] if several else [BEFORE, "after"]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            column("k"),
            title="k (answers)",
            scale=alt.Scale(type="log", base=2),
            axis=alt.Axis(values=sorted({row["k"] for row in rows}), format="d"),
        ),
        color=alt.Color(
            column("series", "N"),
            sort=names,
            scale=alt.Scale(domain=names, range="category" if several else "ordinal"),
            legend=legend(),
        ),
        tooltip=[
            alt.Tooltip(column("series", "N"), title="model"),
            alt.Tooltip(column("k")),
            alt.Tooltip(column("value"), title=_Y, format=".1%"),
            alt.Tooltip(column("low"), title="95% from", format=".1%"),
            alt.Tooltip(column("high"), title="95% to", format=".1%"),
        ],
    )
    value = alt.Y(
        column("value"),
        title=_Y,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    # Vega warns of a layer whose rows have no bounds at all.
    bounded = any(row["low"] == row["low"] for row in rows)
    band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.15)
    return alt.LayerChart(
        layer=[
            *([band.encode(y=alt.Y(column("low"), title=_Y), y2="high:Q")] if bounded else []),
            base.mark_line(strokeWidth=2.2).encode(y=value),
            base.mark_point(filled=True, size=50, opacity=1).encode(y=value),
        ]
    ).properties(
        title="Solved within k answers (pass@k)",
        description=(
            f"On the {evaluation} set, the chance that at least one of k answers is right, "
            "unbiased; k = 1 is the accuracy. Lines that meet at a large k: the same questions are "
            "solved, more often. Bands are 95% intervals over questions, or over seeds."
        ),
        width="container",
        height=230,
    )


def _rows(name: str, parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    known = [{"1": part["accuracy"], **part.get("pass_at_k", {})} for part in parts]
    rows = []
    for k in known[0]:
        some = [Estimate.from_dict(side[k]) for side in known if k in side]
        estimate = some[0]
        if len(some) > 1:
            answers = min(int(part.get("samples") or 1) for part in parts)
            questions = min(int(part.get("questions") or 1) for part in parts)
            counted = answers if k == "1" else questions
            estimate = seeds_interval([each.value for each in some], counted)
        rows.append(
            {
                "k": int(k),
                "series": name,
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
            }
        )
    return rows
