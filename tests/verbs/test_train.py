"""The Python calls: how recipes, models and directories are found, and what is handed on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import oneshot_rlvr
from oneshot_rlvr.config import BenchmarkConfig, Recipe, parse_recipe
from oneshot_rlvr.errors import ConfigError, ModelError, RunError
from oneshot_rlvr.records import RunWriter
from oneshot_rlvr.verbs import train as api

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
    monkeypatch.setattr(api, "report", report)
    return SimpleNamespace(asked=asked, reports=reports)


def test_train_takes_a_name_a_mapping_and_a_recipe(runs, tmp_path):
    for number, recipe in enumerate([PAPER, {"train": {"steps": 3}}, Recipe()]):
        oneshot_rlvr.train(recipe, out=tmp_path / str(number))
    assert [a.recipe.train.steps for a in runs.asked] == [2000, 3, 2000]
    assert [type(a.recipe) for a in runs.asked] == [Recipe] * 3


def test_train_passes_on_overrides_directory_and_resume(runs, tmp_path):
    progress = object()
    out = tmp_path / "x"
    api.train(PAPER, overrides={"train.steps": 4}, out=str(out), resume=True, progress=progress)
    (asked,) = runs.asked
    assert (asked.recipe.train.steps, asked.out, asked.resume) == (4, out, True)
    assert asked.progress is progress


def test_overrides_of_a_resolved_recipe_are_refused():
    with pytest.raises(ConfigError, match="put the values into the recipe"):
        api.train(Recipe(), overrides={"train.steps": 4})


def test_the_report_is_written_once_and_again_when_the_run_is_newer(runs, tmp_path):
    out = tmp_path / "run"
    api.train(PAPER, out=out)
    api.train(PAPER, out=out, resume=True)
    assert runs.reports == [out]
    os.utime(out / "report.html", (0, 0))
    api.train(PAPER, out=out, resume=True)
    assert runs.reports == [out, out]


def test_the_directory_is_that_given_or_the_name_under_runs():
    assert api.run_directory(Recipe(name="a"), None) == Path("runs/a")
    assert api.run_directory(Recipe(name="../a"), "b") == Path("b")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp"])
def test_a_name_that_is_no_folder_name_needs_a_directory(name):
    with pytest.raises(ConfigError, match="cannot name a directory"):
        api.run_directory(Recipe(name=name), None)


def make_run(directory: Path, *, finished: bool = True) -> None:
    recipe = parse_recipe({"rollouts": {"max_new_tokens": 77}})
    with RunWriter.create(directory, {"recipe": recipe.model_dump(mode="json")}) as writer:
        (directory / "checkpoints/step-000020").mkdir(parents=True)
        if finished:
            (directory / "final").mkdir()
            writer.finish({})


def test_a_run_its_result_and_its_checkpoints_bring_the_runs_recipe(tmp_path):
    run = tmp_path / "run"
    make_run(run)
    for given, weights in (
        (run, run / "final"),
        (run / "final", run / "final"),
        (run / "checkpoints/step-000020", run / "checkpoints/step-000020"),
    ):
        subject = api.find_model(given)
        assert subject.path == str(weights)
        assert subject.recipe.rollouts.max_new_tokens == 77


def test_an_unfinished_run_has_no_result_to_evaluate(tmp_path):
    run = tmp_path / "run"
    make_run(run, finished=False)
    with pytest.raises(RunError, match="not finished"):
        api.find_model(run)


def test_a_run_that_does_not_exist_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/one"))
    with pytest.raises(ModelError, match="no run or model at runs/two; runs has one"):
        api.find_model("runs/two")


def test_any_other_model_goes_with_the_defaults():
    assert api.find_model("Qwen/Qwen2.5-Math-1.5B") == api.Subject(
        "Qwen/Qwen2.5-Math-1.5B", Recipe()
    )


def test_a_benchmark_is_asked_as_the_recipe_asks_it_unless_told_otherwise(tmp_path):
    recipe = parse_recipe(
        {"evaluation": {"test": {"benchmark": "tiny", "samples": 8, "temperature": 0.6, "seed": 5}}}
    )
    _, same = api.find_benchmark("tiny", recipe, {"seed": 9, "questions": 3})
    assert same == BenchmarkConfig(
        benchmark="tiny", samples=8, temperature=0.6, seed=9, questions=3
    )
    with pytest.raises(ConfigError, match="samples is 0; wanted a whole number > 0"):
        api.find_benchmark("tiny", recipe, {"samples": 0})


def test_a_benchmark_that_the_recipe_does_not_test_on_is_decoded_as_usual():
    _, config = api.find_benchmark("tiny", Recipe(), {"questions": 1})
    assert (config.samples, config.temperature) == (8, 0.6)
    _, config = api.find_benchmark("tiny", Recipe(), {"questions": 1, "samples": 2})
    assert (config.samples, config.temperature) == (2, 0.6)


def test_a_file_of_examples_is_a_benchmark(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text('{"question": "1+1?", "answer": "2"}\n')
    benchmark, config = api.find_benchmark(str(file), Recipe(), {})
    assert config == BenchmarkConfig(benchmark="file", path=str(file))
    assert [example.answer for example in benchmark.examples] == ["2"]
