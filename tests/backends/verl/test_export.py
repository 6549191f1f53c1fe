"""`oneshot export RECIPE --to verl`: files, a command to read, and mistakes in one line."""

from __future__ import annotations

import json
import subprocess

import pyarrow.parquet as pq
import pytest

from oneshot_rlvr.cli import main
from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.examples import load_file

SMALL = ["--train.steps", "2", "--rollouts.prompts_per_step", "4", "--model.device", "cpu"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "a run"
    assert main(["export", "tiny_one_shot", "--to", "verl", "-o", str(out), *SMALL]) == 0
    return out


def arguments(out) -> list[str]:
    """What the script would start, read by a shell with a Python that only prints."""
    printer = out.parent / "printer"
    printer.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\n')
    printer.chmod(0o755)
    done = subprocess.run(
        ["bash", str(out / "run.sh"), "trainer.nnodes=2"],
        env={"PYTHON": str(printer), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_the_files_are_all_there(exported):
    assert {path.name for path in exported.iterdir()} == {
        "run.sh", "recipe.toml", "training.parquet", "validation.parquet", "examples.json",
        "reward.json", "model",
    }  # fmt: skip
    assert load_recipe(exported / "recipe.toml").train.steps == 2
    assert len(pq.read_table(exported / "training.parquet")) == 4


def test_the_script_starts_verl_with_the_overrides_and_those_given(exported):
    words = arguments(exported)
    assert words[:2] == ["-m", "verl.trainer.main_ppo"]
    assert "data.train_batch_size=4" in words
    assert words[-1] == "trainer.nnodes=2"


def test_the_directory_may_be_moved(exported, tmp_path):
    moved = tmp_path / "elsewhere"
    exported.rename(moved)
    try:
        words = arguments(moved)
    finally:
        moved.rename(exported)
    assert f"data.train_files='{moved}/training.parquet'" in words
    assert not any(str(exported) in word for word in words)


def test_the_reward_s_file_says_how_the_recipe_rewards(exported):
    spec = json.loads((exported / "reward.json").read_text())
    assert spec["reward"] == load_recipe("tiny_one_shot").reward.model_dump(mode="json")


def test_the_rows_read_back_as_examples(exported):
    (example, *_) = load_file(exported / "training.parquet")
    assert example.answer == "111"


def test_an_occupied_directory_is_refused(exported, capsys):
    code = main(["export", "tiny_one_shot", "--to", "verl", "-o", str(exported)])
    assert code == 2
    assert "not an empty directory" in capsys.readouterr().err


def test_what_verl_has_no_counterpart_for_is_refused_before_a_file_is_written(tmp_path, capsys):
    out = tmp_path / "x"
    code = main(
        ["export", "tiny_one_shot", "--to", "verl", "-o", str(out), "--model.revision", "abc"]
    )
    assert code == 2
    assert "model.revision" in capsys.readouterr().err
    assert not out.exists()


def test_an_unknown_trainer_lists_those_there_are(tmp_path, capsys):
    assert main(["export", "tiny_one_shot", "--to", "verk", "-o", str(tmp_path / "x")]) == 2
    assert 'Did you mean "verl"?' in capsys.readouterr().err
