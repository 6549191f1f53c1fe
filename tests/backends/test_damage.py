"""Damaged records: noticed by every reader, told, and left behind by a resume."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from oneshot_rlvr.analysis import analyse
from oneshot_rlvr.backends.local import run
from oneshot_rlvr.cli import main
from oneshot_rlvr.errors import RecordsError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.running.examine import examine


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """One bit in the middle: of a log line a digit or letter becomes another."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


@pytest.fixture(scope="module")
def stopped(stateful, tmp_path_factory, watcher):
    """A run of six steps that was interrupted after the fifth: checkpoints 2 and 4."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        run(stateful, out=out, progress=watcher(after=5))
    return out


@pytest.mark.parametrize("harm", [cut, flip, remove])
@pytest.mark.parametrize("file", ["rollouts/step-000003.parquet", "metrics.jsonl"])
def test_a_resume_goes_back_to_the_last_whole_checkpoint_and_says_so(
    stateful, straight, stopped, tmp_path, watcher, assert_same_run, harm, file
):
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    harm(out / file)  # of the log: in the middle of five lines, so the third, or all
    told = examine(out)
    assert any(file in what for what in told.damage)
    again = watcher()
    if harm is remove and file == "metrics.jsonl":
        with pytest.raises(RunError, match=r"lacks step 1.*--fork .*@4"):
            run(stateful, out=out, resume=True, progress=again)
        assert Run(out, partly=True).rollout_steps() == [1, 2, 3, 4, 5]  # nothing was dropped
        return
    assert told.goes_on == "--resume goes on after step 2"
    run(stateful, out=out, resume=True, progress=again)
    assert again.notes[0].startswith("warning: ")
    assert file in again.notes[0]
    assert again.steps == [3, 4, 5, 6]
    assert_same_run(straight, out)
    assert examine(out).damage == []


def test_a_damaged_line_after_the_checkpoint_blocks_nothing(
    stateful, straight, stopped, tmp_path, watcher, assert_same_run
):
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    lines = (out / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (out / "metrics.jsonl").write_bytes(b"".join(lines[:4]) + b'{"step": 5, "tra\x00\n')
    again = watcher()
    run(stateful, out=out, resume=True, progress=again)
    assert again.steps == [5, 6]
    assert_same_run(straight, out)


@pytest.mark.parametrize("harm", [cut, flip, remove])
def test_a_line_of_clocks_that_is_lost_costs_no_step(
    stateful, straight, stopped, tmp_path, watcher, assert_same_run, harm
):
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    harm(out / "timings.jsonl")
    again = watcher()
    run(stateful, out=out, resume=True, progress=again)
    assert again.steps == [5, 6]
    assert_same_run(straight, out)
    assert examine(out).damage == []  # what was lost has been told, and is gone


EVERY = [
    "metrics.jsonl",
    "timings.jsonl",
    "rollouts/step-000004.parquet",  # one that the report reads
    "evaluations/validation-000004.json",
    "evaluations/validation-000004.parquet",
    "evaluations/test-000006.parquet",
    "final/model.safetensors",
    "final/config.json",
    "manifest.jsonl",
    "checkpoints/step-000006/optimizer.safetensors",
]


@pytest.mark.parametrize("harm", [cut, flip, remove])
@pytest.mark.parametrize("file", EVERY)
def test_a_reader_says_what_is_not_as_it_was_written(straight, tmp_path, capsys, harm, file):
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    harm(out / file)
    assert main(["doctor", str(out)]) == 1
    assert Path(file).name.split(".")[0] in capsys.readouterr().out
    unread = ("checkpoints/", "final/")  # no reader of records; the model's are the evaluation's
    if file.startswith(unread):
        return
    code = main(["report", str(out)])
    told = capsys.readouterr().err
    found = analyse([out])
    assert code == 1
    assert file in told
    assert file in (out / "report.html").read_text()
    assert found.damaged
    assert any(file in note for note in found.notes)


def test_the_strict_reader_refuses(straight, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    flip(out / "metrics.jsonl")
    flip(out / "rollouts/step-000003.parquet")
    with pytest.raises(RecordsError, match=r"not as written|broken line"):
        Run(out).metrics()
    with pytest.raises(RecordsError, match="not as it was written"):
        Run(out).rollouts([3])
    assert len(Run(out, partly=True).metrics()) == 5
    assert set(Run(out, partly=True).rollouts()["step"]) == {1, 2, 4, 5, 6}


def test_a_changed_run_json_is_refused(straight, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    text = (out / "run.json").read_text()
    assert '"value": 0' in text
    (out / "run.json").write_text(text.replace('"value": 0', '"value": 1', 1))
    with pytest.raises(RecordsError, match="does not match its checksum"):
        Run(out)


def test_a_whole_run_has_no_findings(straight, capsys):
    assert main(["doctor", str(straight)]) == 0
    assert "every file is as it was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    "model", ["final/model.safetensors", "checkpoints/step-000006/model.safetensors"]
)
def test_a_model_that_is_not_as_the_run_wrote_it_answers_and_trains_nothing(
    stateful, straight, tmp_path, capsys, model
):
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    flip(out / model)
    folder = (out / model).parent
    assert main(["evaluate", str(folder), "--ask", "say a"]) == 2
    assert "model.safetensors" in capsys.readouterr().err
    tables = stateful.model_dump(mode="json")
    tables["model"]["path"] = str(folder)
    with pytest.raises(RecordsError, match=r"model\.safetensors"):
        run(type(stateful).model_validate(tables), out=tmp_path / "next")
    assert not (tmp_path / "next" / "run.json").exists()
