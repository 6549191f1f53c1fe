"""Training as a call: recipe and directory are found, the backend is asked, a report is left."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import oneshot_rlvr
from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.records import RunWriter
from oneshot_rlvr.verbs import train as verb

PAPER = "paper_qwen25_math_1p5b_pi1"


@pytest.fixture
def runs(monkeypatch):
    """A trainer that writes down what it was asked and leaves an empty finished run."""
    asked: list[SimpleNamespace] = []
    reports: list[Path] = []

    def run(recipe, *, out, resume=False, progress=None, stopping=None):
        asked.append(SimpleNamespace(recipe=recipe, out=out, resume=resume, progress=progress))
        if not out.exists():
            with RunWriter.create(out, {"recipe": recipe.model_dump(mode="json")}) as writer:
                writer.finish({})
        return SimpleNamespace(directory=out, summary={}, reused=False, stopped_after=None)

    def report(run, out=None):
        reports.append(Path(run))
        (Path(run) / "report.html").write_text("")
        return Path(run) / "report.html"

    fake = ModuleType("oneshot_rlvr.backends.local")
    fake.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "oneshot_rlvr.backends.local", fake)
    monkeypatch.setattr(verb, "report", report)
    return SimpleNamespace(asked=asked, reports=reports)


def test_train_takes_a_name_a_mapping_and_a_recipe(runs, tmp_path):
    for number, recipe in enumerate([PAPER, {"train": {"steps": 3}}, Recipe()]):
        oneshot_rlvr.train(recipe, out=tmp_path / str(number))
    assert [a.recipe.train.steps for a in runs.asked] == [2000, 3, 2000]
    assert [type(a.recipe) for a in runs.asked] == [Recipe] * 3


def test_train_passes_on_overrides_directory_and_resume(runs, tmp_path):
    progress = object()
    out = tmp_path / "x"
    verb.train(PAPER, overrides={"train.steps": 4}, out=str(out), resume=True, progress=progress)
    (asked,) = runs.asked
    assert (asked.recipe.train.steps, asked.out, asked.resume) == (4, out, True)
    assert asked.progress is progress


def test_overrides_of_a_resolved_recipe_are_refused():
    with pytest.raises(ConfigError, match="put the values into the recipe"):
        verb.train(Recipe(), overrides={"train.steps": 4})


def test_the_report_is_written_once_and_again_when_the_run_is_newer(runs, tmp_path):
    out = tmp_path / "run"
    verb.train(PAPER, out=out)
    verb.train(PAPER, out=out, resume=True)
    assert runs.reports == [out]
    os.utime(out / "report.html", (0, 0))
    verb.train(PAPER, out=out, resume=True)
    assert runs.reports == [out, out]


def test_the_directory_is_that_given_or_the_name_under_runs():
    assert verb.run_directory(Recipe(name="a"), None) == Path("runs/a")
    assert verb.run_directory(Recipe(name="../a"), "b") == Path("b")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp"])
def test_a_name_that_is_no_folder_name_needs_a_directory(name):
    with pytest.raises(ConfigError, match="cannot name a directory"):
        verb.run_directory(Recipe(name=name), None)
