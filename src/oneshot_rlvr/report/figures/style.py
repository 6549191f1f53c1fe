"""What the figures share: colours for light and dark, and one way to draw lines over steps.

A chart names no colour: series take them from the theme's ranges, so one specification serves both
themes. `category` colours sources (training, held out, groups), `ordinal` before and after.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from oneshot_rlvr.report.data import RunData

TRAINING, HELD_OUT = "training example", "held out"

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
            "offset": 4,
        },
        "title": {"color": ink, "anchor": "start", "fontSize": 14},
        "range": {"category": list(category), "ordinal": [before, category[1]]},
        "rule": {"color": muted},
        "text": {"color": muted, "fontSize": 11},
    }


# Orange and blue stay apart for every common colour blindness; each set has contrast on its ground.
THEMES: Mapping[str, dict[str, Any]] = {
    "light": theme(
        "#1c2024", "#5f6770", "#e4e6e9", ["#c4570a", "#2158c7", "#0d8a72", "#8a4bb8"], "#8b929b"
    ),
    "dark": theme(
        "#e9eaec", "#a0a7b0", "#32373d", ["#f0944d", "#82adff", "#4dc9ad", "#c79bee"], "#858c95"
    ),
}


def panel(
    run: RunData,
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
    part. None when the run has neither.
    """
    rows = [row(step, TRAINING, value) for step, value in run.training(training)]
    if held_out is not None:
        rows += [row(step, HELD_OUT, part[held_out]) for step, part in run.held_out()]
    return lines(rows, title=title, description=description, y=y, percent=percent)


def row(step: int, series: str, value: float, **more: float | None) -> dict[str, Any]:
    """A point of a line; rounded to five digits, which no screen tells from the rest."""
    numbers = {"value": value, **more}
    return {
        "step": step,
        "series": series,
        **{key: float(f"{number:.5g}") for key, number in numbers.items() if number is not None},
    }


def legend() -> alt.Legend:
    """Above the chart, in full colour whatever the marks' opacity, two columns on a phone."""
    return alt.Legend(title=None, symbolOpacity=1, columns=alt.ExprRef("width < 440 ? 2 : 6"))


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

    colours: the series in the order of the theme's colours, where not all of them are drawn.
    The nearest point tells its number under the pointer, or its `told` where rows have that text.
    None without rows.
    """
    if not rows:
        return None
    series = list(dict.fromkeys(item["series"] for item in rows))
    base = alt.Chart(alt.InlineData(values=[dict(item) for item in rows])).encode(
        x=alt.X(
            "step:Q",
            title="rollout step",
            scale=alt.Scale(domainMin=0),
            axis=alt.Axis(tickCount=8 if wide else 4, format="d", labelSeparation=8),
        ),
        color=alt.Color(
            "series:N",
            scale=alt.Scale(domain=list(colours or series)),
            legend=legend() if len(series) > 1 else None,
        ),
    )
    value = alt.Y(
        "value:Q",
        title=y,
        scale=alt.Scale(domain=[0, 1]) if percent else alt.Scale(zero=True, nice=True),
        axis=alt.Axis(format=".0%" if percent else alt.Undefined, tickCount=5 if wide else 4),
    )
    shown = ".1%" if percent else ",.4~g"
    has_band = any("low" in item for item in rows)
    hover = alt.selection_point(
        name="hover", on="pointerover", nearest=True, empty=False, clear="pointerout"
    )
    layers: list[alt.Chart] = list(extra)
    if has_band:
        band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.15)
        layers.append(band.encode(y=alt.Y("low:Q", title=y), y2="high:Q"))
    layers.append(base.mark_line(strokeWidth=2, strokeJoin="round").encode(y=value))
    # Evaluations are rare enough to mark each; so is a run of a few steps.
    sparse = [name for name in series if sum(item["series"] == name for item in rows) <= 60]
    if sparse:
        some = base.transform_filter(alt.FieldOneOfPredicate(field="series", oneOf=sparse))
        layers.append(some.mark_point(filled=True, size=22, opacity=1).encode(y=value))
    layers.append(
        base.mark_point(filled=True, size=70)
        .encode(
            y=value,
            opacity=alt.condition(hover, alt.value(1), alt.value(0)),
            tooltip=alt.value(alt.ExprRef(_tooltip(y, shown))),
        )
        .add_params(hover)
    )
    return alt.LayerChart(layer=layers).properties(
        title=title, description=description, width="container", height=340 if wide else 150
    )


def _tooltip(y: str, shown: str) -> str:
    """The expression of a point's tooltip: series, step, and value in the y axis's unit.

    Written out because Vega-Lite 6.4 loses every text field of a tooltip under `nearest`: there
    the mark's datum stands inside the datum of the cell around it.
    """
    point = "(datum.datum || datum)"
    value = f"({point}.told || format({point}.value, {json.dumps(shown)}))"
    return f"{{'series': {point}.series, 'rollout step': {point}.step, {json.dumps(y)}: {value}}}"
