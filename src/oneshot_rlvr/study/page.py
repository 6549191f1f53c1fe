"""A study's result as one HTML file in the report's looks: no script, no network.

The template escapes all text; charts are drawn here, once for a light and once for a dark screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import altair as alt
import jinja2
import vl_convert
from markupsafe import Markup

from oneshot_rlvr.report.figures.style import THEMES
from oneshot_rlvr.study import tables
from oneshot_rlvr.study.claims import FAILS, HOLDS

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_TOKENS, _TOTAL, _ROLLOUTS = "tokens", "total_tokens", "rollouts"
_COLOURS = 6  # of a theme; further lines have the same ones and another dash
_DASHES = ([1, 0], [6, 3], [2, 3])


def _legend(symbol: str = "circle") -> alt.Legend:
    """Opaque, where its lines have a band, in columns that are far enough from each other."""
    return alt.Legend(title=None, columns=4, columnPadding=24, symbolOpacity=1, symbolType=symbol)


def _ticks(**more: Any) -> alt.Axis:
    return alt.Axis(tickCount=8, labelOverlap="greedy", **more)


def render(result: Mapping[str, Any]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _text("study", name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = [
        {"name": row["claim"]["name"], "rule": tables.wanted(row["claim"], row["way"]),
         "paper": row["claim"]["paper"], "found": tables.claim_number(row),
         "p": tables.p_text(row["corrected"]), "verdict": row["verdict"], "why": row["why"],
         "kind": {HOLDS: "right", FAILS: "wrong"}.get(row["verdict"], "open")}
        for row in result["claims"]
    ]  # fmt: skip
    return environment.get_template("study.html.j2").render(
        result=result,
        policy=POLICY,
        css=Markup(_report_css()),
        own_css=Markup(_text("study", "study.css")),
        headline=headline(result),
        claims=rows,
        tables=[_arms(result, name) for name in result["benchmarks"]],
        ways=[(row["benchmark"], row["way"], tables.interval(row), row["strongest"])
              for row in result["base_ways"]],
        figures=list(_figures(result)),
        unfinished=tables.runs_in_words(result["unfinished"]),
        failed=tables.failed(result),
    )  # fmt: skip


def _arms(
    result: Mapping[str, Any], benchmark: str
) -> tuple[str, list[str], list[tuple[str, str, list[tuple[str, str]]]]]:
    """The arms' table: each row with what the arm is, each cell with its p-value, if it has one."""
    head, rows = tables.arms_table(result, benchmark)
    notes = [row["note"] for row in result["arms"] if row["benchmark"] == benchmark]
    cells = [[tuple(cell.split(", p ")) for cell in row[1:]] for row in rows]
    told = [[(cell[0], f"p {cell[1]}" if len(cell) == 2 else "") for cell in row] for row in cells]
    return (
        benchmark,
        head,
        [(row[0], note, row_told) for row, note, row_told in zip(rows, notes, told, strict=True)],
    )


def headline(result: Mapping[str, Any]) -> str:
    """How the claims came out, in one sentence."""
    verdicts = [row["verdict"] for row in result["claims"]]
    if not verdicts:
        return str(result["title"] or result["study"])
    hold, fail = verdicts.count(HOLDS), verdicts.count(FAILS)
    open_ = len(verdicts) - hold - fail
    parts = [f"{hold} of {len(verdicts)} {'claim holds' if len(verdicts) == 1 else 'claims hold'}"]
    parts += [f"{fail} {'does' if fail == 1 else 'do'} not"] if fail else []
    parts += [f"{open_} cannot be told"] if open_ else []
    return ", ".join(parts)


def _figures(result: Mapping[str, Any]) -> Any:
    for name, chart, caption in (
        ("Differences to the controls", _forest(result),
         "Paired by seed and question; bars are intervals of 95 %."),
        ("Held-out accuracy against generated tokens", _curve(result, _TOKENS, "generated tokens"),
         "Of the validation questions, mean over seeds with the interval of 95 %."),
        ("The same with what choosing the examples cost",
         _curve(result, _TOTAL, "generated tokens, selection's included"), ""),
        ("Held-out accuracy against rollouts", _curve(result, _ROLLOUTS, "rollouts"), ""),
        ("Accuracy against the number of training examples", _by_examples(result), ""),
        ("pass@k", _pass_at_k(result),
         "The chance that one of k answers is right, unbiased. Where lines cross, training made "
         "the likely likelier and the rare rarer."),
    ):  # fmt: skip
        if chart is not None:
            yield {"title": name, "caption": caption, **_drawn(chart)}


def _drawn(chart: alt.LayerChart) -> dict[str, Markup]:
    # The browser's letters may be wider than those that the chart was measured with.
    padding = {"left": 16, "right": 16, "top": 5, "bottom": 5}
    spec = {**chart.to_dict(), "width": 860, "padding": padding}
    return {
        theme: Markup(vl_convert.vegalite_to_svg({**spec, "config": {**THEMES[theme]}}))
        for theme in ("light", "dark")
    }


def _forest(result: Mapping[str, Any]) -> alt.LayerChart | None:
    rows = [
        {"arm": row["arm"], "over": f"over {row['against']}, {row['benchmark']}",
         **{key: 100 * row[key] for key in ("value", "low", "high") if row[key] == row[key]}}
        for row in result["differences"]
    ]  # fmt: skip
    if not rows:
        return None
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("arm:N", title=None, sort=None, axis=alt.Axis(labelLimit=240)),
        yOffset=alt.YOffset("over:N", sort=None),
        color=alt.Color("over:N", sort=None, legend=_legend()),
    )
    x = alt.X("value:Q", title="difference (points)", axis=_ticks())
    zero = alt.Chart(alt.InlineData(values=[{"value": 0}])).mark_rule(strokeDash=[4, 4])
    return alt.LayerChart(layer=[
        zero.encode(x="value:Q"),
        base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", title="difference (points)", axis=_ticks()), x2="high:Q"),
        base.mark_point(filled=True, size=50, opacity=1).encode(x=x),
    ]).properties(height=alt.Step(14))  # fmt: skip


def _lines(
    rows: Sequence[Mapping[str, Any]], x: alt.X, colour: str, band: bool = True
) -> alt.LayerChart | None:
    if not rows:
        return None
    names = list(dict.fromkeys(row[colour] for row in rows))
    # The same domain for colours and dashes, or they have a legend each.
    scale = alt.Scale(domain=names)
    base = alt.Chart(alt.InlineData(values=[dict(row) for row in rows])).encode(
        x=x, color=alt.Color(f"{colour}:N", sort=None, scale=scale, legend=_legend("stroke"))
    )
    y = alt.Y("value:Q", title="right answers", axis=alt.Axis(format=".0%"))
    line = base.mark_line(strokeWidth=2).encode(y=y)
    if len(names) > _COLOURS:
        dashes = [_DASHES[number // _COLOURS % len(_DASHES)] for number in range(len(names))]
        dashed = alt.Scale(domain=names, range=dashes)
        dash = alt.StrokeDash(f"{colour}:N", sort=None, scale=dashed, legend=_legend("stroke"))
        line = line.encode(strokeDash=dash)
    layers = [line, base.mark_point(filled=True, size=22, opacity=1).encode(y=y)]
    if band and len(names) <= _COLOURS:
        area = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.12)
        layers.insert(0, area.encode(y=alt.Y("low:Q", title="right answers"), y2="high:Q"))
    return alt.LayerChart(layer=layers).properties(height=320)


def _curve(result: Mapping[str, Any], key: str, title: str) -> alt.LayerChart | None:
    if key == _TOTAL and not any(row["selection_tokens"] for row in result["budgets"]):
        return None
    rows = [{"arm": row["arm"], "at": row[key], **_finite(row)} for row in result["curves"]]
    return _lines(rows, alt.X("at:Q", title=title, axis=_ticks()), "arm")


def _by_examples(result: Mapping[str, Any]) -> alt.LayerChart | None:
    counts = {row["arm"]: row["examples"] for row in result["budgets"] if row["examples"]}
    if len(set(counts.values())) < 2:
        return None
    rows = sorted(
        ({"benchmark": row["benchmark"], "at": counts[row["arm"]], **_finite(row)}
         for row in result["arms"] if row["arm"] in counts),
        key=lambda row: row["at"],
    )  # fmt: skip
    axis = alt.Axis(values=sorted(set(counts.values())))
    x = alt.X("at:Q", title="distinct training examples", scale=alt.Scale(type="log"), axis=axis)
    return _lines(rows, x, "benchmark", band=False)


def _pass_at_k(result: Mapping[str, Any]) -> alt.LayerChart | None:
    rows = [
        {"of": f"{row['arm']}, {row['benchmark']}", "at": row["k"], **_finite(row)}
        for row in result["pass_at_k"]
    ]
    ks = sorted({row["at"] for row in rows})
    if len(ks) < 3:
        return None
    x = alt.X("at:Q", title="k", scale=alt.Scale(type="log", base=2), axis=alt.Axis(values=ks))
    return _lines(rows, x, "of")


def _finite(row: Mapping[str, Any]) -> dict[str, float]:
    """A share's value, low, high as far as they are known; an interval ends at 0 and 1."""
    known = {key: row[key] for key in ("value", "low", "high")}
    return {key: min(1.0, max(0.0, v)) for key, v in known.items() if v is not None and v == v}


def _report_css() -> str:
    """The report's looks, wherever it keeps them."""
    folder = resources.files("oneshot_rlvr.report")
    inside = folder.joinpath("templates", "page.css")
    return (inside if inside.is_file() else folder.joinpath("page.css")).read_text("utf-8")


def _text(room: str, name: str) -> str:
    return resources.files(f"oneshot_rlvr.{room}").joinpath(name).read_text("utf-8")
