"""`Runs` -> one self-contained HTML page: no network, no fonts, no files beside it.

Everything that a model or a user wrote is hostile. The templates escape it; data for the scripts is
JSON, compressed and in base64, and set as text; and a content security policy lets only the page's
own two scripts run, by their hashes, and nothing be fetched. `sections` and `live_page` are the
same page for `watch`, whose scripts ask its server for the rest.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from functools import cache
from importlib import resources
from typing import Any

import altair as alt
import jinja2
from altair.utils.schemapi import debug_mode
from markupsafe import Markup

from oneshot_rlvr.report import facts, recipe, verdict, words
from oneshot_rlvr.report.arms import KINDS, Runs
from oneshot_rlvr.report.data import CONTEXT_STEPS, RunData, setting
from oneshot_rlvr.report.figures import FIGURES, HALVES, WIDE
from oneshot_rlvr.report.figures.style import THEMES, ZOOM
from oneshot_rlvr.report.numbers import table_numbers
from oneshot_rlvr.report.reader.choice import choose, packed
from oneshot_rlvr.types import Reason

LIMIT_BYTES = 5_000_000
"""What a page of 2,000 steps may weigh; the rollouts get what the rest leaves of it."""

# Only what the page's own scripts call is made global.
_EXPORTS = "window.vegaEmbed = vegaEmbed;"
_BUNDLING = """
import sys, vl_convert
sys.stdout.buffer.write(vl_convert.javascript_bundle(sys.argv[1]).encode("utf-8"))
"""
_SCRIPTS = ("data.js", "charts.js", "brush.js", "card.js", "reader.js", "live.js")
_PARTS = ("top", "compared", "example", "help", "training", "reader", "facts")
_SAID = ["word", "before", "said", "after"]
_CONTENTS = {
    "result": "Result",
    "compared": "Arms compared",
    "example": "The example",
    "help": "Did it help?",
    "caveats": "What to keep in mind",
    "training": "While it trained",
    "transfer": "What the gain is made of",
    "rollouts": "Rollouts to read",
    "cost": "Cost",
    "recipe": "Recipe",
}


def render(runs: Runs, *, price_per_hour: float | None = None) -> str:
    """The page as text, below LIMIT_BYTES however long the runs are."""
    figures = draw_all(runs)
    charts = packed(chart_data(runs, figures, price_per_hour=price_per_hour))
    rest = LIMIT_BYTES - len(charts) - len(_library()) - 150_000
    rollouts = packed([chosen.as_dict() for chosen in choose(runs.runs, max(100_000, rest))])
    library, script = _library(), page_script()
    return _page(
        runs,
        sections(runs, figures, price_per_hour=price_per_hour),
        live=False,
        policy=_policy(library, script),
        library=Markup(library),
        script=Markup(script),
        charts=charts,
        rollouts=rollouts,
    )


def live_page(runs: Runs, parts: dict[str, str]) -> str:
    """The page as `watch` sends it first: its words, without charts and rollouts."""
    return _page(runs, parts, live=True, policy=LIVE_POLICY)


def live_index(part: str) -> str:
    """The page of a folder of runs."""
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            name="oneshot watch",
            headline="runs",
            css=Markup(asset("page.css")),
            parts=[("index", Markup(part))],
            live=True,
            policy=LIVE_POLICY,
        )
    )


def runs_part(folder: str, rows: list[dict[str, Any]]) -> str:
    """The list of a folder's runs as HTML."""
    return environment().get_template("index.html.j2").render(folder=folder, rows=rows)


def titled(runs: Runs) -> str:
    """The page's title."""
    return f"{_name(runs)}: {verdict.headline(runs)}"


LIVE_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)


def chart_data(
    runs: Runs, figures: dict[str, dict[str, Any]], *, price_per_hour: float | None = None
) -> dict[str, Any]:
    """What the page's scripts draw from: themes, specifications, and the tables' numbers."""
    return {
        "themes": THEMES,
        "figures": {name: figure["spec"] for name, figure in figures.items()},
        "numbers": table_numbers(runs, price_per_hour=price_per_hour),
        "name": str(setting(runs.first.recipe, "name") or runs.first.label),
    }


def sections(
    runs: Runs,
    figures: dict[str, dict[str, Any]],
    *,
    price_per_hour: float | None = None,
    live: bool = False,
    pending: bool = False,
) -> dict[str, str]:
    """The page's parts as HTML, by name and in order; one that has nothing to say is empty.

    `pending`: the figures come later.
    """
    context = _context(runs, figures, price_per_hour) | {"live": live, "pending": pending}
    templates = environment()
    parts = {name: templates.get_template(f"{name}.html.j2").render(context) for name in _PARTS[1:]}
    whole = "".join(parts.values()) + ('id="result"' if context["results"] else "")
    contents = [(key, title) for key, title in _CONTENTS.items() if f'id="{key}"' in whole]
    top = templates.get_template("top.html.j2").render(context | {"contents": contents})
    return {"top": top, **parts}


def draw_all(runs: Runs) -> dict[str, dict[str, Any]]:
    """Every figure that there are records for: name, title, caption and Vega-Lite spec."""
    figures = {}
    for name in FIGURES:
        # Not checked against Vega-Lite's schema here: the figures' tests do that, and it takes
        # seconds for a run of 2,000 steps.
        with debug_mode(False):
            chart: alt.LayerChart | None = FIGURES.load(name)(runs)
            if chart is None:
                continue
            spec = chart.to_dict(validate=False)
        # The page sets titles in its own type, gives the panels one key for all, and has its theme.
        title = spec.pop("title")
        spec.pop("config", None)
        steps = any(param["name"] == ZOOM for param in spec.get("params", ()))
        if name not in (*WIDE, *HALVES):
            _drop_legends(spec)
        figures[name] = {
            "name": name,
            "title": title,
            "caption": spec["description"],
            "steps": steps,
            "spec": spec,
        }
    return figures


def _drop_legends(spec: dict[str, Any]) -> None:
    for layer in spec["layer"]:
        if "color" in layer.get("encoding", {}):
            layer["encoding"]["color"]["legend"] = None


def page_script() -> str:
    """The page's own script: its files, in order."""
    return "\n".join(_asset("js", name) for name in _SCRIPTS)


def _page(runs: Runs, parts: dict[str, str], **given: Any) -> str:
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            name=_name(runs),
            headline=verdict.headline(runs),
            css=Markup(asset("page.css")),
            parts=[(name, Markup(html)) for name, html in parts.items()],
            **given,
        )
    )


def _context(
    runs: Runs, figures: dict[str, dict[str, Any]], price_per_hour: float | None
) -> dict[str, Any]:
    first = runs.first
    shown = list(figures.values())
    contexts = next((run.contexts for run in runs.runs if len(run.contexts)), None)
    return {
        "run": first,
        "labels": [run.label for run in runs.runs],
        "name": _name(runs),
        "note": setting(first.recipe, "note") or "",
        "headline": verdict.headline(runs),
        "verdict": verdict.verdict(runs),
        "lede": verdict.lede(runs),
        "damage": [
            what if runs.alone is not None else f"{run.label}: {what}"
            for run in runs.runs
            for what in run.damage
        ],
        "unfinished": _unfinished(runs),
        "results": _results(runs),
        "measured": words.measured(first.comparison) if first.comparison else "",
        "arms": runs.arms,
        "differences": runs.differences(),
        "solved": _solved(first),
        "validated": any(run.held_out() for run in runs.runs),
        "caveats": words.caveats(first, len(runs.runs)),
        "wide": [figure for figure in shown if figure["name"] in WIDE],
        "halves": [figure for figure in shown if figure["name"] in HALVES],
        "panels": [figure for figure in shown if figure["name"] not in (*WIDE, *HALVES)],
        "missing": _missing(figures) if figures else [],
        "tables": _tables(runs),
        "contexts": [] if contexts is None else contexts.drop_duplicates(_SAID).to_dict("records"),
        "context_steps": min(CONTEXT_STEPS, len(first.rollout_steps)),
        "readable": any(run.rollout_steps or run.summaries for run in runs.runs),
        "reasons": [str(reason) for reason in Reason],
        "told": [
            {
                "label": run.label,
                "cost": facts.cost(run, price_per_hour),
                "recipe": facts.recipe_toml(run),
                "against": recipe.against_base(run),
                "command": recipe.command(run),
                "commit": setting(run.info, "versions.git_commit"),
                "provenance": facts.provenance(run),
            }
            for run in runs.runs
        ],
    }


def _name(runs: Runs) -> str:
    if runs.alone is not None:
        return str(setting(runs.alone.recipe, "name") or "run")
    return f"{len(runs.runs)} runs"


def _unfinished(runs: Runs) -> list[str]:
    told = [(run.label, words.unfinished(run)) for run in runs.runs]
    if runs.alone is not None:
        return [sentence for _, sentence in told if sentence]
    return [f"{label}: {sentence}" for label, sentence in told if sentence]


def _results(runs: Runs) -> list[dict[str, Any]]:
    """The card of each arm on the page's evaluation."""
    if runs.evaluation is None:
        return []
    found = [(arm, arm.overall(runs.evaluation)) for arm in runs.arms]
    return [
        {
            "name": arm.name,
            "seeds": arm.seeds,
            "change": change,
            "parts": arm.parts(runs.evaluation, "groups"),
        }
        for arm, change in found
        if change is not None
    ]


def _tables(runs: Runs) -> list[dict[str, Any]]:
    """The numbers of every arm on every evaluation: kinds of questions, from coarse to fine."""
    tables = []
    for arm in runs.arms:
        for evaluation in runs.evaluations:
            overall = arm.overall(evaluation)
            if overall is None:
                continue
            kinds = [("All", [overall])]
            kinds += [(kind.capitalize(), arm.parts(evaluation, kind)) for kind in KINDS]
            title = f"{evaluation} set" if len(runs.arms) == 1 else f"{arm.name}, {evaluation} set"
            tables.append({"title": title, "kinds": [each for each in kinds if each[1]]})
    return tables


def _missing(figures: dict[str, dict[str, Any]]) -> list[str]:
    """What a reader may look for here, and what it needs."""
    told = {
        "pool": "Where the example stands in its pool is shown where the pool's history is given "
        "(--pool HISTORY, what `oneshot select --history` reads).",
        "pass_at_k": "pass@k needs several answers to each question.",
        "cross_domain": "Trained on x, tested on y needs two domains of questions, before and "
        "after.",
    }
    return [sentence for name, sentence in told.items() if name not in figures]


def _solved(run: RunData) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """(step, training accuracy) at the first and the last recorded step."""
    accuracy = run.training("train/accuracy")
    return (accuracy[0], accuracy[-1]) if accuracy else None


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
    """Vega, Vega-Lite and Vega-Embed as one script (about 0.9 MB; 3 seconds, hence the cache).

    Bundled by a process of its own: the JavaScript engine that does it would stay in this one's
    memory, at a fifth of what a report takes.
    """
    done = subprocess.run([sys.executable, "-c", _BUNDLING, _EXPORTS], capture_output=True)
    if done.returncode:
        raise RuntimeError(f"the chart library was not bundled: {done.stderr.decode()[-500:]}")
    text = done.stdout.decode("utf-8")
    if "</script" in text.lower() or "<!--" in text:
        raise AssertionError("the chart library would end its own script element")
    return text


def library() -> str:
    """The chart library, for a server to send."""
    return _library()


@cache
def asset(name: str) -> str:
    """A template or style sheet of pages, as text."""
    return _asset("templates", name)


@cache
def _asset(folder: str, name: str) -> str:
    return resources.files("oneshot_rlvr.report").joinpath(folder, name).read_text("utf-8")


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
