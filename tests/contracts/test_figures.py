"""Every registered figure draws from a small recorded run, with axes that tell their units."""

from __future__ import annotations

import re
from pathlib import Path

import altair as alt
import pytest
import vl_convert

from oneshot_rlvr.records import Run
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures import FIGURES, HALVES, WIDE
from oneshot_rlvr.report.figures.style import THEMES
from oneshot_rlvr.selection.history import from_matrix

_PLAIN_COUNTS_AND_NAMES = {"rollout step", "family", "domain"}  # axes without a unit


@pytest.fixture(scope="module")
def runs(build, synthetic, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    empty = {"steps": 0, "validation": False, "test": False, "finish": False, "info": {}}
    control = {**synthetic.INFO, "recipe": {**synthetic.RECIPE, "reward": {"arm": "random"}}}
    pool = from_matrix(["multiply-52-4", "a", "b"], [[0, 1, 0.5], [1, 1, 1], [0.5, 0.5, 1]])

    def load(name, **given):
        return RunData.load(Run(build(folder / name, **given)), label=name, pool=pool)

    whole = load("whole")
    return {
        "whole": Runs.of(whole),
        "seeds": Runs.of(whole, load("again", steps=20, seed=1)),
        "arms": Runs.of(whole, load("seed 1", seed=1), load("control", info=control)),
        "one step": Runs.of(load("one", steps=1, test=False)),
        "empty": Runs.of(RunData.load(Run(build(folder / "empty", **empty)))),
    }


@pytest.fixture
def chart(name, runs):
    """The figure that the test is about, of the whole run."""
    chart = FIGURES.load(name)(runs["whole"])
    assert chart is not None, (
        f"{name} draws nothing of the run of the tests: record there what it reads, in "
        "tests/report/synthetic_run.py:build"
    )
    return chart


@pytest.fixture
def spec(chart):
    return chart.to_dict()


def test_the_registry_holds_every_figure_file():
    folder = Path(__file__).parents[2] / "src" / "oneshot_rlvr" / "report" / "figures"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "style"}
    assert files
    assert set(FIGURES) == files, (
        f"report/figures/__init__.py:FIGURES and the folder differ in {set(FIGURES) ^ files}"
    )
    assert {*WIDE, *HALVES} <= set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_draws_a_recorded_run_and_is_titled_and_captioned(chart, spec):
    assert isinstance(chart, alt.LayerChart)
    assert spec["title"][0].isupper()
    assert spec["description"].endswith(".")
    assert spec["width"] == "container"


@pytest.mark.parametrize("name", FIGURES)
def test_axes_are_labelled_with_units(spec):
    titles = {
        (channel, layer["encoding"][channel].get("title"))
        for layer in spec["layer"]
        for channel in ("x", "y")
        if channel in layer["encoding"]
    }
    assert {channel for channel, _ in titles} == {"x", "y"}
    assert len(titles) == 2, f"layers disagree: {titles}"
    for _, title in titles:
        assert title in _PLAIN_COUNTS_AND_NAMES or title.endswith(")"), title
    assert any(title.endswith(")") for _, title in titles)


def labels_over_steps(spec, width):
    """What is written below the axis of steps; None where the chart has no such axis."""
    svg = vl_convert.vegalite_to_svg({**spec, "width": width, "config": THEMES["light"]})
    _, axis, rest = svg.partition("aria-label=\"X-axis titled 'rollout step'")
    if not axis:
        return None
    return re.findall(r">([^<>]+)</text>", re.search(r"role-axis-label.*?</g>", rest, re.DOTALL)[0])


@pytest.mark.parametrize("steps", [1, 2, 3, 11])
def test_an_axis_of_steps_has_whole_steps_each_once(steps, build, tmp_path_factory):
    run = Run(build(tmp_path_factory.mktemp("steps") / "run", steps=steps, questions=2))
    runs = Runs.of(RunData.load(run))
    for name, width in (("accuracy", 140), ("accuracy", 720), ("entropy", 140), ("entropy", 720)):
        labels = labels_over_steps(FIGURES.load(name)(runs).to_dict(), width)
        assert labels == [str(n) for n in sorted({int(label) for label in labels})], (name, width)
        assert len(labels) >= 2


@pytest.mark.parametrize("kind", ["whole", "seeds", "arms"])
def test_every_axis_of_steps_is_that_one(kind, runs):
    found = 0
    for name in FIGURES:
        spec = FIGURES.load(name)(runs[kind]).to_dict()
        steps = [
            layer["encoding"]["x"]
            for layer in spec["layer"]
            if layer["encoding"].get("x", {}).get("title") == "rollout step"
        ]
        axes = [x["axis"] for x in steps if "axis" in x]  # layers share one axis
        assert bool(axes) == bool(steps), name
        found += bool(axes)
        for axis in axes:
            assert "span(domain('x'))" in axis["tickCount"]["expr"], name
            assert axis["format"] == "d"
    assert found >= 10


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("theme", THEMES)
def test_a_figure_compiles_and_renders_in_both_themes(spec, theme):
    svg = vl_convert.vegalite_to_svg({**spec, "width": 400, "config": THEMES[theme]})
    assert svg.count("<path") > 3
    assert "NaN" not in svg
    assert "undefined" not in svg


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", ["seeds", "arms"])
def test_a_figure_draws_several_runs(name, kind, runs):
    chart = FIGURES.load(name)(runs[kind])
    assert chart is not None
    assert '"#' not in chart.to_json()
    svg = vl_convert.vegalite_to_svg({**chart.to_dict(), "width": 400, "config": THEMES["light"]})
    assert svg.count("<path") > 3
    assert "NaN" not in svg


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_nothing_is_none_and_of_one_step_draws_or_is_none(runs, name):
    assert FIGURES.load(name)(runs["empty"]) is None
    chart = FIGURES.load(name)(runs["one step"])
    assert chart is None or chart.to_dict()["layer"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_names_no_colour_of_its_own(chart):
    assert '"#' not in chart.to_json()
