"""The seam: what is written reads back, also from a live, interrupted or resumed run."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from oneshot_rlvr.errors import OneshotError, RecordsError, RunError
from oneshot_rlvr.records import Run, RunWriter, files, manifest
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict
from oneshot_testing import files_of_at_most


def graded(row: int = 0, index: int = 0, text: str = r"\boxed{4}", correct: bool = True) -> Graded:
    rollout = Rollout(row, index, "a", (1, 2), (3, 4, 5), (-0.5, -0.25, -1.0), text, True)
    reason = Reason.CORRECT if correct else Reason.NO_ANSWER
    verdict = Verdict(correct, reason, "4" if correct else None)
    return Graded(rollout, verdict, float(correct))


def sample(example_id: str = "q1", correct: bool = True, **extra: object) -> dict[str, object]:
    return {
        "example_id": example_id,
        "family": "times",
        "domain": "arithmetic",
        "question": "2 + 2?",
        "answer": "4",
        "sample": 0,
        "text": "4",
        "tokens": 3,
        "finished": True,
        "correct": correct,
        "reason": "correct" if correct else "mismatch",
        "extracted": "4",
        "boxed": False,
        **extra,
    }


def write_steps(writer: RunWriter, steps: range) -> None:
    for step in steps:
        writer.metrics(step, {"train/accuracy": step / 10, "train/loss": -0.5})
        writer.timings(step, {"step_seconds": 1.5})
        writer.rollouts(step, [graded(), graded(0, 1, "no", False)], [1.0, -1.0])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_a_run_reads_back_what_was_written(directory):
    with RunWriter.create(directory, {"recipe": {"name": "r"}, "seed": np.int64(3)}) as writer:
        write_steps(writer, range(1, 4))
        writer.evaluation("validation", 0, [sample()], {"overall": {"questions": 1}})
        writer.evaluation("test", 120, [sample(correct=False)], {"overall": {"questions": 1}})
        writer.finish({"accuracy": np.float32(0.5)})
    run = Run(directory)
    assert run.info == {"recipe": {"name": "r"}, "seed": 3}
    assert (run.status, run.result) == ("finished", {"accuracy": 0.5})
    assert run.metrics()["train/accuracy"].tolist() == [0.1, 0.2, 0.3]
    assert run.timings()["step_seconds"].sum() == 4.5
    assert run.rollout_steps() == [1, 2, 3]
    assert run.evaluations() == [("test", 120), ("validation", 0)]
    assert run.summary("test", 120) == {"overall": {"questions": 1}}
    assert run.samples("test", 120)["correct"].tolist() == [False]
    names = sorted(path.name for path in (directory / "evaluations").iterdir())
    assert names == [
        "test-000120.json", "test-000120.parquet", "validation-base.json", "validation-base.parquet"
    ]  # fmt: skip


def test_every_field_of_a_rollout_reads_back(directory):
    with RunWriter.create(directory, {}) as writer:
        writer.rollouts(7, [graded(2, 5)], [0.75])
    row = Run(directory).rollouts([7]).iloc[0]
    assert (row.step, row["row"], row["index"], row.example_id) == (7, 2, 5, "a")
    assert (list(row.prompt_tokens), list(row.tokens)) == ([1, 2], [3, 4, 5])
    assert list(row.logprobs) == [-0.5, -0.25, -1.0]
    assert (row.text, bool(row.finished), bool(row.correct)) == (r"\boxed{4}", True, True)
    assert (row.reason, row.extracted, row.reward, row.advantage) == ("correct", "4", 1.0, 0.75)


def test_some_steps_and_columns_can_be_read_alone(directory):
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 4))
    rows = Run(directory).rollouts([1, 3], columns=["step", "reward"])
    assert rows.columns.tolist() == ["step", "reward"]
    assert rows["step"].tolist() == [1, 1, 3, 3]
    with pytest.raises(RecordsError, match="no rollouts of step 9"):
        Run(directory).rollouts([9])


def test_an_empty_run_reads_as_empty_tables(directory):
    RunWriter.create(directory, {}).close()
    run = Run(directory)
    assert (run.status, run.result) == ("running", None)
    assert run.metrics().empty
    assert "step" in run.metrics()
    assert run.rollouts().empty
    assert (run.rollout_steps(), run.evaluations()) == ([], [])


def test_metrics_lines_are_flat_json_that_starts_with_step_and_has_no_nan(directory):
    with RunWriter.create(directory, {}) as writer:
        writer.metrics(1, {"train/loss": float("nan"), "train/tokens": np.int64(3)})
    line = (directory / "metrics.jsonl").read_text()
    assert line == '{"step": 1, "train/loss": null, "train/tokens": 3}\n'
    assert math.isnan(Run(directory).metrics()["train/loss"][0])


def test_a_nested_value_is_refused_and_nothing_is_written(directory):
    with RunWriter.create(directory, {}) as writer:
        with pytest.raises(RecordsError, match="reasons is nested"):
            writer.metrics(1, {"reasons": {"correct": 1}})
        assert not (directory / "metrics.jsonl").exists()


def test_a_later_step_never_overwrites_an_earlier_one(directory):
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 3))
        writer.evaluation("test", 2, [sample()], {})
        for again in (
            lambda: writer.metrics(2, {}),
            lambda: writer.metrics(1, {}),
            lambda: writer.timings(2, {}),
            lambda: writer.rollouts(2, [graded()], [0.0]),
            lambda: writer.evaluation("test", 2, [sample()], {}),
        ):
            with pytest.raises(RecordsError, match=r"append-only"):
                again()
    assert Run(directory).metrics()["step"].tolist() == [1, 2]


def test_a_directory_that_holds_a_run_is_refused(directory):
    RunWriter.create(directory, {"first": True}).close()
    with pytest.raises(RunError, match="--resume or choose another directory with --out"):
        RunWriter.create(directory, {})
    assert Run(directory).info == {"first": True}


def test_a_missing_run_is_a_run_error(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        Run(tmp_path)
    with pytest.raises(RunError, match="holds no run"):
        RunWriter.resume(tmp_path, 3)


@pytest.mark.parametrize("text", ['{"schema_version": 2}', "{}", "[]", "{"])
def test_another_schema_version_or_broken_json_is_refused(directory, text):
    directory.mkdir()
    (directory / "run.json").write_text(text)
    with pytest.raises(RecordsError):
        Run(directory)
    with pytest.raises(RecordsError):
        RunWriter.resume(directory, 0)


def test_resume_drops_what_came_after_the_step_and_keeps_the_rest(directory):
    with RunWriter.create(directory, {"seed": 1}) as writer:
        write_steps(writer, range(1, 6))
        for step in (0, 2, 3, 4):
            writer.evaluation("validation", step, [sample()], {"step": step})
        writer.evaluation("test", 0, [sample()], {})
        writer.finish({"done": True})
    (directory / "rollouts" / ".step-000006.parquet.part").write_bytes(b"half")
    before = (directory / "rollouts" / "step-000003.parquet").read_bytes()
    with RunWriter.resume(directory, 3) as writer:
        run = Run(directory)
        assert (run.status, run.result, run.info) == ("running", None, {"seed": 1})
        assert run.metrics()["step"].tolist() == [1, 2, 3]
        assert run.timings()["step"].tolist() == [1, 2, 3]
        assert sorted(p.name for p in (directory / "rollouts").iterdir()) == [
            f"step-00000{step}.parquet" for step in (1, 2, 3)
        ]
        assert run.evaluations() == [("test", 0), *(("validation", s) for s in (0, 2, 3))]
        write_steps(writer, range(4, 6))
    assert Run(directory).metrics()["step"].tolist() == [1, 2, 3, 4, 5]
    assert (directory / "rollouts" / "step-000003.parquet").read_bytes() == before


def test_a_half_written_last_line_is_left_out_and_mended_by_resume(directory):
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 3))
    with open(directory / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 3, "train/accu')
    assert Run(directory).metrics()["step"].tolist() == [1, 2]
    with RunWriter.resume(directory, 2) as writer:
        writer.metrics(3, {"train/accuracy": 0.3})
    assert Run(directory).metrics()["step"].tolist() == [1, 2, 3]


def test_a_broken_line_in_the_middle_names_file_and_line(directory):
    with RunWriter.create(directory, {}) as writer:
        writer.metrics(1, {"a": 1})
    with open(directory / "metrics.jsonl", "ab") as file:
        file.write(b"oops\n")
    with pytest.raises(RecordsError, match=r"metrics.jsonl: has a broken line 2"):
        Run(directory).metrics()


def test_a_part_that_is_being_written_is_not_read(directory):
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 2))
        (directory / "rollouts" / ".step-000002.parquet.part").write_bytes(b"PAR1 half")
        assert Run(directory).rollout_steps() == [1]
        assert len(Run(directory).rollouts()) == 2


def test_a_truncated_part_is_a_records_error(directory):
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 2))
    (directory / "rollouts" / "step-000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordsError, match="could not be read"):
        Run(directory).rollouts()


def test_a_second_writer_is_refused_until_the_first_lets_go(directory):
    writer = RunWriter.create(directory, {})
    with pytest.raises(RunError, match="written by another process"):
        RunWriter.resume(directory, 0)
    writer.close()
    RunWriter.resume(directory, 0).close()


def test_the_lock_of_a_killed_process_does_not_block_resuming(directory):
    code = (
        "import os, sys; from oneshot_rlvr.records import RunWriter\n"
        "w = RunWriter.create(sys.argv[1], {}); w.metrics(1, {'a': 1}); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(directory)], check=False)
    with RunWriter.resume(directory, 1) as writer:
        writer.metrics(2, {"a": 2})
    assert Run(directory).metrics()["a"].tolist() == [1, 2]


def test_a_full_disk_is_one_clear_error_and_loses_nothing(directory, monkeypatch):
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 3))
        content = (directory / "metrics.jsonl").read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files.os, "fsync", full)
        for write in (
            lambda: writer.metrics(3, {"a": 1}),
            lambda: writer.rollouts(3, [graded()], [0.0]),
            lambda: writer.finish({}),
        ):
            with pytest.raises(RecordsError, match=r"No space left .*--resume"):
                write()
        monkeypatch.undo()
        assert (directory / "metrics.jsonl").read_bytes() == content
        assert Run(directory).rollout_steps() == [1, 2]
        assert not list(directory.rglob("*.part"))
        write_steps(writer, range(3, 4))
    assert Run(directory).metrics()["step"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("room", [0, 1, 20])
def test_a_line_that_fits_in_part_is_not_there_at_all(directory, room):
    """Not its end either, which a buffer writes again when it is closed and there is room."""
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 3))
        path = directory / "metrics.jsonl"
        content = path.read_bytes()
        with files_of_at_most(len(content) + room), pytest.raises(RecordsError, match="raise the"):
            files.append_line(path, b"x" * (room + 10))
        assert path.read_bytes() == content
        files.append_line(path, b'{"step": 3}')
        assert path.read_bytes() == content + b'{"step": 3}\n'


def test_hostile_model_text_reads_back(directory):
    texts = ["</script><script>alert(1)</script>", "a\x00b\u2028", "\ud800 lone", "Ω" * 1000, ""]
    with RunWriter.create(directory, {"note": texts[2]}) as writer:
        writer.rollouts(1, [graded(0, i, t) for i, t in enumerate(texts)], [0.0] * len(texts))
        writer.evaluation("test", 1, [sample(text=t, sample=i) for i, t in enumerate(texts)], {})
    expected = [texts[0], texts[1], "? lone", texts[3], ""]
    assert Run(directory).rollouts()["text"].tolist() == expected
    assert Run(directory).samples("test", 1)["text"].tolist() == expected


def test_extra_sample_columns_are_kept_and_missing_ones_are_named(directory):
    with RunWriter.create(directory, {}) as writer:
        writer.evaluation("test", 1, [sample(difficulty=3)], {})
        bad = sample()
        del bad["boxed"]
        with pytest.raises(RecordsError, match="lacks the column boxed"):
            writer.evaluation("test", 2, [bad], {})
    assert Run(directory).samples("test", 1)["difficulty"].tolist() == [3]
    assert Run(directory).samples("test", 1)["group"].tolist() == [""]


@pytest.mark.parametrize("name", ["test-base", "../up", "", "Test"])
def test_an_evaluation_name_that_would_not_read_back_is_refused(directory, name):
    with RunWriter.create(directory, {}) as writer, pytest.raises(RecordsError, match="evaluation"):
        writer.evaluation(name, 1, [sample()], {})


def test_a_missing_evaluation_lists_the_recorded_ones(directory):
    with RunWriter.create(directory, {}) as writer:
        writer.evaluation("test", 0, [sample()], {})
    with pytest.raises(RecordsError, match="Recorded: test at 0"):
        Run(directory).summary("validation", 20)


def test_a_directory_named_like_a_partition_adds_no_column(tmp_path):
    directory = tmp_path / "lr=1e-5"
    with RunWriter.create(directory, {}) as writer:
        writer.rollouts(1, [graded()], [0.0])
    assert "lr" not in Run(directory).rollouts().columns


def test_a_directory_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OneshotError):
        RunWriter.create(tmp_path / "file" / "run", {})


def test_run_json_tells_its_schema_version(directory):
    RunWriter.create(directory, {}).close()
    assert json.loads((directory / "run.json").read_text())["schema_version"] == 1


def test_reading_records_needs_no_torch():
    code = "import sys, oneshot_rlvr.records; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scores_stand_beside_right_and_wrong(directory):
    part = Graded(graded().rollout, Verdict(False, Reason.MISMATCH, "5", score=0.25), 0.25)
    with RunWriter.create(directory, {}) as writer:
        writer.rollouts(1, [part, graded(0, 1)], [-1.0, 1.0])
        writer.evaluation("test", 0, [sample(score=0.5, correct=False), sample("q2")], {})
    run = Run(directory)
    assert run.rollouts()[["correct", "score"]].values.tolist() == [[False, 0.25], [True, 1.0]]
    assert run.samples("test", 0, ["score"])["score"].tolist() == [0.5, 1.0]


def test_a_run_from_before_scores_reads_with_those_of_yes_and_no(directory):
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 2))
        writer.evaluation("test", 0, [sample(), sample("q2", correct=False)], {})
    for path in (directory / "rollouts" / "step-000001.parquet", directory / "evaluations"):
        path = next(path.glob("*.parquet")) if path.is_dir() else path
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["score"]), path)
    (directory / "manifest.jsonl").unlink()  # which such a run has not
    document = json.loads((directory / "run.json").read_text())
    document.pop("manifest"), document.pop("checksum")
    (directory / "run.json").write_text(json.dumps(document))
    run = Run(directory)
    assert run.rollouts()["score"].tolist() == [1.0, 0.0]
    assert run.rollouts(columns=["score"]).columns.tolist() == ["score"]
    assert run.rollouts(columns=["score", "text", "correct"])["score"].tolist() == [1.0, 0.0]
    assert run.samples("test", 0, ["example_id", "score"])["score"].tolist() == [1.0, 0.0]
    assert "score" not in run.samples("test", 0)  # as it was written


def test_two_processes_that_write_one_path_at_once_leave_one_of_the_two(tmp_path):
    code = (
        "import sys; from pathlib import Path; from oneshot_rlvr.records import files\n"
        "for _ in range(300):\n"
        "    files.write_atomic(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)\n"
        "    seen = set(Path(sys.argv[1]).read_bytes())\n"
        "    assert len(seen) == 1, seen"
    )
    path = tmp_path / "page.html"
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(path), letter], stderr=subprocess.PIPE)
        for letter in "ab"
    ]
    told = [one.communicate(timeout=300)[1].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert [found.name for found in tmp_path.iterdir()] == ["page.html"]


def test_an_output_takes_the_place_of_its_like_alone(tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    assert files.write_outputs({one: b"1", two: b"2"}) == [one, two]
    files.write_outputs({one: b"1"})
    with pytest.raises(RecordsError, match=r"two\.csv is there already.*--overwrite"):
        files.write_outputs({one: b"1", two: b"3", tmp_path / "three.csv": b"3"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.csv", "two.csv"]
    files.write_outputs({two: b"3"}, overwrite=True)
    assert two.read_bytes() == b"3"
    (tmp_path / "folder").mkdir()
    for overwrite in (False, True):
        with pytest.raises(RecordsError, match="folder"):
            files.write_outputs({tmp_path / "folder": b"1"}, overwrite=overwrite)


def test_what_two_processes_would_make_at_once_one_of_them_makes(tmp_path):
    target = tmp_path / "new" / "model"
    with files.only_writer(target):
        with pytest.raises(RunError, match=r"new/model is being written by another process"):
            files.only_writer(target).__enter__()
        target.mkdir()
    with files.only_writer(target):  # and then another may
        pass
    assert list(target.parent.iterdir()) == [target]


def test_an_output_may_be_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE)
    files.write_outputs({tmp_path / "pipe": b"told"})
    assert reader.communicate(timeout=60)[0] == b"told"


def test_what_a_killed_write_left_is_gone_after_a_resume(directory):
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 2))
    (directory / ".run.json.12345.part").write_bytes(b"half")
    RunWriter.resume(directory, 1).close()
    assert not list(directory.rglob("*.part"))


def test_the_manifest_is_on_the_disk_itself_before_a_checkpoint_counts_on_it(
    directory, monkeypatch
):
    synced = []
    with RunWriter.create(directory, {}) as writer:
        write_steps(writer, range(1, 2))
        monkeypatch.setattr(
            manifest.os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        )
        writer.offset()
    assert synced == [str(directory / "manifest.jsonl")]
