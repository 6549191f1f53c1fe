"""Directories that already hold something: refused, reused or continued, never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oneshot_rlvr.backends import local
from oneshot_rlvr.backends.local import run
from oneshot_rlvr.errors import RunError
from oneshot_rlvr.records import Run, RunWriter


def test_an_occupied_directory_is_refused_without_resume(small_recipe, small):
    before = (small / "run.json").read_bytes()
    with pytest.raises(RunError) as caught:
        run(small_recipe(), out=small)
    assert "already holds a finished run" in str(caught.value)
    assert "--resume" in str(caught.value)
    assert "--out" in str(caught.value)
    assert (small / "run.json").read_bytes() == before


def test_a_finished_run_is_reused_without_reading_its_inputs(small_recipe, small, monkeypatch):
    def never(*args):
        raise AssertionError("a finished run needs nothing")

    monkeypatch.setattr(local, "prepare", never)
    again = run(small_recipe(), out=small, resume=True)
    assert again.reused
    assert again.directory == small
    assert again.summary == Run(small).result


def test_a_run_of_another_recipe_is_refused_naming_the_keys(small_recipe, small):
    other = small_recipe({"train.seed": 3, "rollouts.group_size": 4, "evaluation.test": None})
    with pytest.raises(RunError) as caught:
        run(other, out=small, resume=True)
    message = str(caught.value)
    assert "train.seed was 0, now 3" in message
    assert "rollouts.group_size was 8, now 4" in message
    assert "evaluation.test was {" in message
    assert f"go on from it in a new run with --fork {small} --out DIR" in message
    assert message.endswith("choose another directory with --out.")


@pytest.fixture
def interrupted(small_recipe, tmp_path, watcher) -> Path:
    """A run that was stopped after step 3 of 4."""
    out = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        run(small_recipe(), out=out, progress=watcher(after=3))
    return out


def rewrite(out: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((out / "run.json").read_text())
    change(document["info"])
    document.pop("checksum")  # as a run of an earlier version, which has none
    (out / "run.json").write_text(json.dumps(document))


def test_a_setting_that_is_new_since_the_run_began_has_its_default(small_recipe, interrupted):
    rewrite(interrupted, lambda info: info["recipe"]["algorithm"].pop("averaging"))
    assert run(small_recipe(), out=interrupted, resume=True).summary["step"] == 4


def test_a_recipe_that_is_no_longer_read_is_refused(small_recipe, interrupted):
    rewrite(interrupted, lambda info: info["recipe"].update(mood="sunny"))
    with pytest.raises(RunError, match="does not read"):
        run(small_recipe(), out=interrupted, resume=True)


OTHER_INPUTS = {
    "training examples": lambda info: info["examples"][0].update(answer="b"),
    "held-out questions": lambda info: info["held_out"]["test"].update(sha256="0"),
    "model": lambda info: info["model"].update(dtype="bfloat16"),
}


@pytest.mark.parametrize("what", OTHER_INPUTS)
def test_a_run_does_not_go_on_with_other_inputs(small_recipe, interrupted, what):
    rewrite(interrupted, OTHER_INPUTS[what])
    before = sorted(path for path in interrupted.rglob("*"))
    with pytest.raises(RunError, match=f"began with other {what} than"):
        run(small_recipe(), out=interrupted, resume=True)
    assert sorted(path for path in interrupted.rglob("*")) == before


def test_another_version_of_what_computes_is_told(small_recipe, interrupted, watcher):
    rewrite(interrupted, lambda info: info["versions"].update(torch="1.0"))
    notes = watcher()
    run(small_recipe(), out=interrupted, resume=True, progress=notes)
    assert notes.notes[0].startswith("warning: versions.torch was '1.0', now ")


def test_a_resumed_run_takes_the_threads_that_it_began_with(small_recipe, interrupted, watcher):
    import torch

    class Threads(watcher):
        seen = None

        def step(self, step, metrics):
            Threads.seen = torch.get_num_threads()

    mine = torch.get_num_threads()
    theirs = 3 if mine != 3 else 2
    rewrite(interrupted, lambda info: info.update(threads=theirs))
    run(small_recipe(), out=interrupted, resume=True, progress=Threads())
    assert Threads.seen == theirs
    assert torch.get_num_threads() == mine


def test_a_run_that_another_process_writes_is_left_alone(small_recipe, interrupted):
    with (
        RunWriter.resume(interrupted, 3),
        pytest.raises(RunError, match="written by another process"),
    ):
        run(small_recipe(), out=interrupted, resume=True)


@pytest.mark.parametrize("name", ["final", "checkpoints", "metrics.jsonl"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_something_else_in_it_is_left_alone(small_recipe, tmp_path, name, resume):
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious").touch()
    with pytest.raises(RunError, match=f"holds {name} but no run.json"):
        run(small_recipe(), out=tmp_path, resume=resume)
    assert (tmp_path / name / "precious").exists()


def test_a_file_is_no_directory_for_a_run(small_recipe, tmp_path):
    (tmp_path / "notes").touch()
    with pytest.raises(RunError, match="is a file"):
        run(small_recipe(), out=tmp_path / "notes")
