"""Going on after an interruption, a damaged checkpoint or a full disk: to the same bits.

Kills at random moments are in test_kill.py.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from oneshot_rlvr.backends import local
from oneshot_rlvr.backends.local import run
from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.records import Run, files
from oneshot_rlvr.train import checkpoint
from oneshot_rlvr.train.loop import Silent


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    ("stop", "goes_on"),
    [
        ({"after": 1}, "starting"),  # before the first checkpoint
        ({"after": 2}, "after step 2"),
        ({"after": 5}, "after step 4"),
        ({"after": 6}, "after step 6"),  # nothing is left but the test
        ({"at": "test set: trained"}, "after step 6"),  # the base has been tested
    ],
    ids=["step 1", "step 2", "step 5", "step 6", "the test"],
)
def test_an_interrupted_run_goes_on_to_the_same_bits(
    stateful, straight, tmp_path, stop, goes_on, watcher, assert_same_run
):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(stateful, out=out, progress=watcher(**stop))
    assert Run(out).status == "running"
    again = watcher()
    assert not run(stateful, out=out, resume=True, progress=again).reused
    assert goes_on in again.notes[0]
    assert_same_run(straight, out)


def test_a_run_interrupted_again_and_again_gets_there(
    stateful, straight, tmp_path, watcher, assert_same_run
):
    out = tmp_path / "run"
    for after in (3, 4, 5):
        with pytest.raises(KeyboardInterrupt):
            run(stateful, out=out, resume=True, progress=watcher(after=after))
    run(stateful, out=out, resume=True)
    assert_same_run(straight, out)


def test_a_checkpoint_that_was_being_written_is_ignored(
    stateful, straight, tmp_path, monkeypatch, assert_same_run
):
    out = tmp_path / "run"
    save = checkpoint.save_file

    def pulled_plug(tensors, path):
        save(tensors, path)
        if "step-000004" in str(path):
            raise SystemExit

    monkeypatch.setattr(checkpoint, "save_file", pulled_plug)
    with pytest.raises(SystemExit):
        run(stateful, out=out)
    monkeypatch.undo()
    half = out / "checkpoints" / "step-000004.part"  # which a kill would have left
    half.mkdir(exist_ok=True)
    (half / "model.safetensors").write_bytes(b"half")
    assert names_in(out / "checkpoints") == ["step-000002", "step-000004.part"]
    run(stateful, out=out, resume=True)
    assert_same_run(straight, out)


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    stateful, straight, tmp_path, watcher, assert_same_run
):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(stateful, out=out, progress=watcher(after=5))
    weights = out / "checkpoints/step-000004/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    again = watcher()
    run(stateful, out=out, resume=True, progress=again)
    warning, going_on = again.notes[:2]
    assert warning.startswith("warning: The checkpoint ")
    assert "step-000004 is damaged (model.safetensors does not match its checksum)" in warning
    assert going_on.endswith("after step 2")
    assert again.steps == [3, 4, 5, 6]
    assert_same_run(straight, out)


def test_a_checkpoint_whose_records_are_gone_is_passed_over_with_a_warning(
    stateful, straight, tmp_path, watcher, assert_same_run
):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(stateful, out=out, progress=watcher(after=5))
    (out / "rollouts/step-000003.parquet").unlink()
    again = watcher()
    run(stateful, out=out, resume=True, progress=again)
    assert again.notes[0].startswith("warning: ")
    assert "rollouts/step-000003.parquet is missing" in again.notes[0]
    assert again.steps == [3, 4, 5, 6]
    assert_same_run(straight, out)


def test_samples_without_their_summary_are_measured_again(
    stateful, straight, tmp_path, monkeypatch, assert_same_run
):
    out = tmp_path / "run"
    write = files.write_atomic

    def pulled_plug(path, data):
        if path.name == "validation-base.json":
            raise SystemExit
        write(path, data)

    monkeypatch.setattr(files, "write_atomic", pulled_plug)
    with pytest.raises(SystemExit):
        run(stateful, out=out)
    monkeypatch.undo()
    assert names_in(out / "evaluations") == ["validation-base.parquet"]
    run(stateful, out=out, resume=True)
    assert_same_run(straight, out)


def test_who_watches_changes_nothing(stateful, straight, tmp_path, watcher, assert_same_run):
    watch = watcher()
    run(stateful, out=tmp_path / "run", progress=watch)
    assert watch.steps == [1, 2, 3, 4, 5, 6]
    assert_same_run(straight, tmp_path / "run")


def test_the_callers_threads_are_given_back(stateful, tmp_path, watcher):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(stateful, out=tmp_path / "run", progress=watcher(after=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_are_measured_once_and_kept(stateful, tmp_path, watcher, monkeypatch):
    open_ = stateful.model_copy(update={"train": stateful.train.model_copy(update={"threads": 0})})
    measured = iter([{1: 1.0, 2: 3.0}])  # a second measurement would find nothing
    monkeypatch.setattr(local, "usable_cores", lambda: 2)
    monkeypatch.setattr(local, "sampling_seconds", lambda cores: next(measured))
    out, watch = tmp_path / "run", watcher(after=2)
    with pytest.raises(KeyboardInterrupt):
        run(open_, out=out, progress=watch)
    assert "threads: 1 of 2, measured" in watch.notes
    run(open_, out=out, resume=True)
    assert Run(out).info["threads"] == 1


FULL = OSError(errno.ENOSPC, "No space left on device")
WRITES = {
    "records": (os, "replace"),
    "a line of metrics": (os, "fsync"),
    "a checkpoint's name": (os, "rename"),
    "a checkpoint's tensors": (checkpoint, "save_file"),
    "a checkpoint's model": (checkpoint, "save_policy"),
}


@pytest.mark.parametrize("where", WRITES.values(), ids=WRITES.keys())
def test_a_full_disk_loses_nothing(
    stateful, straight, tmp_path, monkeypatch, where, assert_same_run
):
    class FillsUp(Silent):
        def step(self, step: int, metrics: Mapping[str, float]) -> None:
            if step == 3:
                monkeypatch.setattr(*where, refuse)

    def refuse(*args, **options):
        raise FULL

    out = tmp_path / "run"
    with pytest.raises(RecordsError) as caught:
        run(stateful, out=out, progress=FillsUp())
    monkeypatch.undo()
    message = str(caught.value)
    assert "no space left" in message.lower()
    assert "--resume" in message
    assert len(message.splitlines()) == 1
    assert names_in(out / "checkpoints") == ["step-000002"]
    run(stateful, out=out, resume=True)
    assert_same_run(straight, out)


def test_a_disk_that_is_full_at_the_end_loses_no_training(
    stateful, straight, tmp_path, monkeypatch, watcher, assert_same_run
):
    def refuse(*args, **options):
        raise RecordsError("The model could not be written.") from FULL

    out = tmp_path / "run"
    monkeypatch.setattr(local, "save_policy", refuse)
    with pytest.raises(RecordsError, match=r"The final model \(step 6\).*No space.*--resume"):
        run(stateful, out=out)
    monkeypatch.undo()
    assert not (out / "final").exists()
    assert not (out / "final.part").exists()
    notes = watcher()
    run(stateful, out=out, resume=True, progress=notes)
    assert notes.steps == []
    assert_same_run(straight, out)
