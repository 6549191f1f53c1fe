"""What the figures share: colours for light and dark, one way to name a column, and to draw lines.

A chart names no colour: series take them from the theme's ranges, so one specification serves both
themes. `category` colours sources (training, held out, groups) and arms, `ordinal` before and
after. Charts over steps share the parameter `zoomed`: the range of steps that all of them show.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData, evenly

TRAINING, HELD_OUT = "training example", "held out"
BEFORE = "before"

MOST_POINTS = 400
"""Steps a line is drawn with where a page shows several runs; one run alone is drawn whole."""

ZOOM = "zoomed"
"""The parameter that holds the steps from which to which a chart is drawn; null: all."""

_WHOLE_STEPS = "max(1, min({}, span(domain('x'))))"
"""How many parts an axis of steps has: no more than it has steps, so that none is a part of one.
Vega's own `tickMinStep` allows one part more, and wrote 0, 1, 1 where there was one step."""

_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def theme(ink: str, muted: str, grid: str, category: Sequence[str], before: str) -> dict[str, Any]:
    """A Vega-Lite config: quiet axes, horizontal grid only, text in `ink` and `muted`."""
    return {
        "background": "transparent",
        "font": _FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": muted,
            "titleColor": muted,
            "titleFontWeight": "normal",
            "labelFontSize": 11,
            "titleFontSize": 11,
            "gridColor": grid,
            "domainColor": grid,
            "tickColor": grid,
            "titlePadding": 8,
        },
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "legend": {
            "labelColor": ink,
            "labelFontSize": 12,
            "title": None,
            "orient": "top",
            "direction": "horizontal",
            "symbolStrokeWidth": 3,
            "symbolBaseStrokeColor": muted,
            "offset": 4,
        },
        "title": {"color": ink, "anchor": "start", "fontSize": 14},
        "rect": {"stroke": None},
        "range": {"category": list(category), "ordinal": [before, category[1]]},
        "rule": {"color": muted},
        "text": {"color": muted, "fontSize": 11},
    }


# Orange and blue stay apart for every common colour blindness; each set has contrast on its ground.
THEMES: Mapping[str, dict[str, Any]] = {
    "light": theme(
        "#1c2024",
        "#5f6770",
        "#e4e6e9",
        ["#c4570a", "#2158c7", "#0d8a72", "#8a4bb8", "#b3265f", "#6b6f1d"],
        "#8b929b",
    ),
    "dark": theme(
        "#e9eaec",
        "#a0a7b0",
        "#32373d",
        ["#f0944d", "#82adff", "#4dc9ad", "#c79bee", "#ff8fb4", "#c5c96a"],
        "#858c95",
    ),
}


def column(name: str, kind: str = "Q") -> str:
    """A data column as Altair's shorthand, whatever its name holds.

    Vega-Lite reads a dot or a bracket in a field's name as a path into an object and draws an empty
    line of it, silently; Altair reads a colon as the beginning of a type.
    """
    for character in ".[]:":
        name = name.replace(character, f"\\{character}")
    return f"{name}:{kind}"


def panel(
    runs: Runs,
    *,
    title: str,
    description: str,
    y: str,
    training: str,
    held_out: str | None = None,
    percent: bool = False,
) -> alt.LayerChart | None:
    """One metric over steps: of the training rollouts and, where it exists, of the held-out set.

    `y` is the axis title with its unit, `training` a metrics key, `held_out` a key of a summary's
    part. Several arms are told apart by colour, and of them the training rollouts alone are drawn.
    None when nothing of it is recorded.
    """
    sources: dict[str, Callable[[RunData], list[tuple[int, float]]]] = {
        TRAINING: lambda run: run.training(training)
    }
    if held_out is not None:
        sources[HELD_OUT] = lambda run: [
            (step, part[held_out])
            for step, part in run.held_out()
            if part.get(held_out) is not None
        ]
    rows: list[dict[str, Any]] = []
    for source, read in sources.items():
        if len(runs.arms) == 1 or not rows:
            rows += series(runs, source, read)
    return lines(
        rows,
        title=title,
        description=description + seeds_told(runs),
        y=y,
        percent=percent,
        colours=[arm.name for arm in runs.arms] if len(runs.arms) > 1 else None,
    )


def series(
    runs: Runs, source: str, read: Callable[[RunData], list[tuple[int, float]]]
) -> list[dict[str, Any]]:
    """Rows of one quantity: named after its source, or after the arms where there are several.

    An arm with seeds has a thin line for each of them (rows with `of`) and their mean, over the
    steps that all of them have.
    """
    rows = []
    for arm in runs.arms:
        name = source if len(runs.arms) == 1 else arm.name
        found = {run.label: read(run) for run in arm.runs}
        found = {label: pairs for label, pairs in found.items() if pairs}
        if len(runs.runs) > 1:
            found = {label: evenly(pairs, MOST_POINTS) for label, pairs in found.items()}
        if len(found) == 1:
            rows += [row(step, name, value) for pairs in found.values() for step, value in pairs]
            continue
        for label, pairs in found.items():
            rows += [{**row(step, name, value), "of": label} for step, value in pairs]
        by_step = [dict(pairs) for pairs in found.values()]
        for step in sorted(set.intersection(*(set(known) for known in by_step))) if by_step else []:
            values = [known[step] for known in by_step]
            rows.append(row(step, name, sum(values) / len(values)))
    return rows


def seeds_told(runs: Runs) -> str:
    """What a caption adds where there are several runs; empty for one."""
    seeded = any(arm.seeds > 1 for arm in runs.arms)
    told = " Thin lines are seeds, the thick one their mean." if seeded else ""
    if len(runs.runs) > 1 and any(len(run.metrics) > MOST_POINTS for run in runs.runs):
        told += f" {MOST_POINTS} evenly spaced steps of each run are drawn."
    return told


def row(step: int, series: str, value: float, **more: float | None) -> dict[str, Any]:
    """A point of a line, its numbers as they are recorded."""
    numbers = {"value": value, **more}
    return {
        "step": step,
        "series": series,
        **{key: float(number) for key, number in numbers.items() if number is not None},
    }


def legend(columns: int = 2) -> alt.Legend:
    """Above the chart, in full colour whatever the marks' opacity, in columns that a phone has
    room for; one where long names stand left of the chart.

    As many at every width: a number that follows the chart's width changes while the chart is laid
    out, and rows that come late lie outside the picture.
    """
    return alt.Legend(title=None, symbolOpacity=1, columns=columns, labelLimit=150)


def dashes(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The encoding that tells lines of one colour apart by `source`; empty where rows have none.

    Of lines alone: where points share it, Vega-Lite draws the legend's dashes without a stroke.
    """
    if not any("source" in item for item in rows):
        return {}
    # Below: beside the colours it leaves a phone's screen.
    told = alt.Legend(
        title=None, symbolType="stroke", symbolOpacity=1, symbolSize=500, orient="bottom"
    )
    scale = alt.Scale(domain=[HELD_OUT, TRAINING], range=[[1, 0], [5, 3]])
    return {"strokeDash": alt.StrokeDash(column("source", "N"), scale=scale, legend=told)}


def lines(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    description: str,
    y: str,
    percent: bool = False,
    wide: bool = False,
    extra: Sequence[alt.Chart] = (),
    colours: Sequence[str] | None = None,
) -> alt.LayerChart | None:
    """Lines over steps, one per series, with a band where rows have `low` and `high`.

    Rows with `of` are a thin line of their own in the series' colour; a column `source` tells lines
    of one colour apart by their dashes. colours: the series in the order of the theme's colours,
    where not all of them are drawn. The nearest point tells its number under the pointer, or its
    `told` where rows have that text. None without rows.
    """
    if not rows:
        return None
    names = list(dict.fromkeys(item["series"] for item in rows))
    domain = list(colours or names)
    base = alt.Chart(alt.InlineData(values=[dict(item) for item in rows])).encode(
        x=alt.X(
            column("step"),
            title="rollout step",
            scale=alt.Scale(domainMin=0, domainRaw=alt.ExprRef(ZOOM)),
            axis=alt.Axis(
                tickCount=alt.ExprRef(_WHOLE_STEPS.format(8 if wide else 4)),
                format="d",
                labelSeparation=8,
            ),
        ),
        color=alt.Color(
            column("series", "N"),
            scale=alt.Scale(domain=domain),
            legend=legend() if len(names) > 1 else None,
        ),
    )
    value = alt.Y(
        column("value"),
        title=y,
        scale=alt.Scale(domain=[0, 1]) if percent else alt.Scale(zero=True, nice=True),
        axis=alt.Axis(format=".0%" if percent else alt.Undefined, tickCount=5 if wide else 4),
    )
    shown = ".1%" if percent else ",.4~g"
    has_band = any("low" in item for item in rows)
    has_seeds = any("of" in item for item in rows)
    hover = alt.selection_point(
        name="hover", on="pointerover", nearest=True, empty=False, clear="pointerout"
    )
    layers: list[alt.Chart] = list(extra)
    if has_band:
        band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.15, clip=True)
        layers.append(band.encode(y=alt.Y(column("low"), title=y), y2="high:Q"))
    if has_seeds:
        each = base.transform_filter("isValid(datum.of)").encode(
            detail=column("of", "N"), **dashes(rows)
        )
        layers.append(each.mark_line(strokeWidth=0.9, opacity=0.45, clip=True).encode(y=value))
        base = base.transform_filter("!isValid(datum.of)")
    thick_line = base.mark_line(strokeWidth=2.2, strokeJoin="round", clip=True)
    layers.append(thick_line.encode(y=value, **dashes(rows)))
    # Evaluations are rare enough to mark each; so is a run of a few steps.
    thick = [item for item in rows if "of" not in item]
    sparse = [name for name in names if sum(item["series"] == name for item in thick) <= 60]
    if sparse:
        some = base.transform_filter(alt.FieldOneOfPredicate(field="series", oneOf=sparse))
        layers.append(some.mark_point(filled=True, size=22, opacity=1, clip=True).encode(y=value))
    layers.append(
        base.mark_point(filled=True, size=70, clip=True)
        .encode(
            y=value,
            opacity=alt.condition(hover, alt.value(1), alt.value(0)),
            tooltip=alt.value(alt.ExprRef(_tooltip(y, shown))),
        )
        .add_params(hover)
    )
    return (
        alt.LayerChart(layer=layers)
        .properties(
            title=title, description=description, width="container", height=340 if wide else 150
        )
        # A value and no expression: that would be computed again over what a reader sets.
        .add_params(alt.param(name=ZOOM, value=None))
    )


def _tooltip(y: str, shown: str) -> str:
    """The expression of a point's tooltip: series, step, and value in the y axis's unit.

    Written out because Vega-Lite 6.4 loses every text field of a tooltip under `nearest`: there
    the mark's datum stands inside the datum of the cell around it.
    """
    point = "(datum.datum || datum)"
    value = f"({point}.told || format({point}.value, {json.dumps(shown)}))"
    return f"{{'series': {point}.series, 'rollout step': {point}.step, {json.dumps(y)}: {value}}}"
