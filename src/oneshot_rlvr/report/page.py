"""`RunData` -> one self-contained HTML page: no network, no fonts, no files beside it.

Everything that a model or a user wrote is hostile. The template escapes it; the charts' data is
JSON in which `<`, `>` and `&` are escaped; and a content security policy lets only the page's own
two scripts run, by their hashes, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

import altair as alt
import jinja2
import vl_convert
from markupsafe import Markup

from oneshot_rlvr.analysis.comparison import Change
from oneshot_rlvr.records.files import to_json
from oneshot_rlvr.report import facts, words
from oneshot_rlvr.report.data import RunData, setting
from oneshot_rlvr.report.figures import FIGURES, WIDE
from oneshot_rlvr.report.figures.style import THEMES

# Only what page.js calls is made global.
_EXPORTS = "window.vegaEmbed = vegaEmbed;"

_STAGES = {
    "early": "Early",
    "middle": "In the middle",
    "late": "Late",
}


def render(run: RunData) -> str:
    """The page as text."""
    figures = draw_all(run)
    script, library = asset("page.js"), _library()
    charts = {name: figure["spec"] for name, figure in figures.items()}
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            run=run,
            words=words,
            name=setting(run.recipe, "name") or "run",
            note=setting(run.recipe, "note") or "",
            comparison=run.comparison,
            headline=words.headline(run),
            unfinished=words.unfinished(run),
            lede=words.lede(run),
            caveats=words.caveats(run),
            wide=[figure for name, figure in figures.items() if name in WIDE],
            panels=[figure for name, figure in figures.items() if name not in WIDE],
            solved=_solved(run),
            stages=_stages(run),
            cost=facts.cost(run),
            provenance=facts.provenance(run),
            recipe=facts.recipe_toml(run),
            changes=_changes(run),
            css=Markup(asset("page.css")),
            script=Markup(script),
            library=Markup(library),
            charts=safe_json({"themes": THEMES, "figures": charts}),
            policy=_policy(library, script),
        )
    )


def draw_all(run: RunData) -> dict[str, dict[str, Any]]:
    """Every figure that the run has records for: name, title, caption and Vega-Lite spec."""
    figures = {}
    for name in FIGURES:
        chart: alt.LayerChart | None = FIGURES.load(name)(run)
        if chart is None:
            continue
        spec = chart.to_dict()
        # The page sets titles in its own type, gives the panels one key for all, and has its theme.
        title = spec.pop("title")
        spec.pop("config", None)
        if name not in WIDE:
            _drop_legends(spec)
        figures[name] = {
            "name": name,
            "title": title,
            "caption": spec["description"],
            "spec": spec,
        }
    return figures


def _drop_legends(spec: dict[str, Any]) -> None:
    for layer in spec["layer"]:
        if "color" in layer.get("encoding", {}):
            layer["encoding"]["color"]["legend"] = None


def safe_json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in, whatever text it holds."""
    text = to_json(value).decode("utf-8")
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _policy(*scripts: str) -> str:
    """The content security policy: these scripts and inline styles, nothing from anywhere."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script (about 0.9 MB; 3 seconds, hence the cache)."""
    text: str = vl_convert.javascript_bundle(_EXPORTS)
    if "</script" in text.lower() or "<!--" in text:
        raise AssertionError("the chart library would end its own script element")
    return text


@cache
def asset(name: str) -> str:
    """A file beside this one."""
    return resources.files("oneshot_rlvr.report").joinpath(name).read_text("utf-8")


@cache
def environment() -> jinja2.Environment:
    """Templates that lie beside this file; what they are given is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "points": words.points,
        "interval": words.interval,
    }
    return environment


def _solved(run: RunData) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """(step, training accuracy) at the first and the last recorded step."""
    accuracy = run.training("train/accuracy")
    return (accuracy[0], accuracy[-1]) if accuracy else None


def _stages(run: RunData) -> list[dict[str, Any]]:
    """The rollouts to read, by stage; empty stages are left out."""
    stages = []
    for name, title in _STAGES.items():
        readings = [reading for reading in run.readings if reading.stage == name]
        if readings:
            steps = sorted({reading.step for reading in readings})
            span = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
            steps_text = f"{'step' if len(steps) == 1 else 'steps'} {span}"
            stages.append(
                {"title": title, "steps": steps_text, "of": readings, "count": len(readings)}
            )
    return stages


def _changes(run: RunData) -> list[tuple[str, list[Change]]]:
    """The rows of the table of numbers: kinds of questions, from coarse to fine."""
    comparison = run.comparison
    if comparison is None:
        return []
    kinds = [
        ("All", [comparison.overall]),
        ("Groups", comparison.groups),
        ("Domains", comparison.domains),
        ("Families", comparison.families),
    ]
    return [(kind, changes) for kind, changes in kinds if changes]
