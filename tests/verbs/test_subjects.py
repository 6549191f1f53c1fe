"""What a name means: a run's result, its checkpoints, a base, any model; a benchmark or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneshot_rlvr.config import BenchmarkConfig, Recipe, parse_recipe
from oneshot_rlvr.errors import ConfigError, DataError, ModelError, RunError
from oneshot_rlvr.records import RunWriter
from oneshot_rlvr.verbs.subjects import Subject, find_benchmark, find_model


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
        subject = find_model(given)
        assert subject.path == str(weights)
        assert subject.recipe.rollouts.max_new_tokens == 77


def test_an_unfinished_run_has_no_result_to_evaluate(tmp_path):
    run = tmp_path / "run"
    make_run(run, finished=False)
    with pytest.raises(RunError, match="not finished"):
        find_model(run)


def test_a_run_that_does_not_exist_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/one"))
    with pytest.raises(ModelError, match="no run or model at runs/two; runs has one"):
        find_model("runs/two")


@pytest.mark.parametrize(
    "name", ["runs/two", "./two", "/no/such/two", "some/where/two", "runs/a/b"]
)
def test_a_path_is_no_hub_s_name_where_there_is_no_folder_of_runs_either(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no run or model at ") as told:
        find_model(name)
    there = "there is no folder" if name != "./two" else "has nothing in it"
    assert there in str(told.value)


def test_any_other_model_goes_with_the_defaults():
    assert find_model("Qwen/Qwen2.5-Math-1.5B") == Subject("Qwen/Qwen2.5-Math-1.5B", Recipe())


def test_a_benchmark_is_asked_as_the_recipe_asks_it_unless_told_otherwise(tmp_path):
    recipe = parse_recipe(
        {"evaluation": {"test": {"benchmark": "tiny", "samples": 8, "temperature": 0.6, "seed": 5}}}
    )
    _, same = find_benchmark("tiny", recipe, {"seed": 9, "questions": 3})
    assert same == BenchmarkConfig(
        benchmark="tiny", samples=8, temperature=0.6, seed=9, questions=3
    )
    with pytest.raises(ConfigError, match="samples is 0; wanted a whole number > 0"):
        find_benchmark("tiny", recipe, {"samples": 0})


def test_a_benchmark_that_the_recipe_does_not_test_on_is_decoded_as_usual():
    _, config = find_benchmark("tiny", Recipe(), {"questions": 1})
    assert (config.samples, config.temperature) == (8, 0.6)
    _, config = find_benchmark("tiny", Recipe(), {"questions": 1, "samples": 2})
    assert (config.samples, config.temperature) == (2, 0.6)


def test_a_file_of_examples_is_a_benchmark(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text('{"question": "1+1?", "answer": "2"}\n')
    benchmark, config = find_benchmark(str(file), Recipe(), {})
    assert config == BenchmarkConfig(benchmark="file", path=str(file))
    assert [example.answer for example in benchmark.examples] == ["2"]


def test_a_file_that_is_not_there_is_told_missing_with_the_nearest_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONESHOT_DATA_DIR", raising=False)
    Path("held_out.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    with pytest.raises(DataError, match=r"held_outt\.jsonl: no such file \(looked in ") as told:
        find_benchmark("held_outt.jsonl", Recipe(), {})
    assert str(told.value).endswith('Did you mean "held_out.jsonl"?')
    with pytest.raises(ConfigError, match='Did you mean "math500"'):
        find_benchmark("maths500", Recipe(), {})


def test_a_file_of_examples_is_found_in_the_folder_of_data(tmp_path):
    (tmp_path / "own.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    benchmark, _ = find_benchmark("own.jsonl", Recipe(), {}, tmp_path)
    assert [example.answer for example in benchmark.examples] == ["2"]
