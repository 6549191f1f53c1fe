"""A study from its file to its verdicts: what is shared, resumed, failed and told."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from oneshot_rlvr.cli import main
from oneshot_rlvr.errors import ConfigError, RecordsError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.files import Lock
from oneshot_rlvr.study.file import read_study
from oneshot_rlvr.study.folder import registered
from oneshot_rlvr.study.tasks import tasks_of
from oneshot_rlvr.study.worker import FAILURE
from oneshot_rlvr.verbs.study import plan, study
from oneshot_testing import files_of_at_most


def started(folder: Path) -> dict[str, int]:
    """When each file of a folder was last written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.suffix == ".parquet"}


def test_every_arm_has_its_seeds_and_the_base_its_ways(finished):
    _, found, _ = finished
    assert not found.failures
    assert not found.result["unfinished"]
    arms = {row["arm"]: row for row in found.result["arms"]}
    assert list(arms) == ["base", "outcome", "no_update", "hot"]
    assert arms["outcome"]["seeds"] == [0, 1]
    assert arms["base"]["seeds"] == []
    ways = [row["way"] for row in found.result["base_ways"]]
    assert ways == ["own, temperature 1", "own, greedy", "bare, temperature 1", "bare, greedy"]
    best = max(found.result["base_ways"], key=lambda row: row["value"])
    assert best["strongest"]
    assert arms["base"]["value"] == best["value"]
    assert arms["base"]["way"] == best["way"]


def test_what_was_never_updated_answers_as_the_base_does(finished):
    _, found, _ = finished
    arms = {row["arm"]: row for row in found.result["arms"]}
    own = next(r for r in found.result["base_ways"] if r["way"] == "own, temperature 1")
    assert arms["no_update"]["by_seed"] == [own["value"]] * 2


def test_differences_and_intervals_are_those_of_the_graded_answers(finished):
    _, found, _ = finished
    arms = {row["arm"]: row for row in found.result["arms"]}
    for row in found.result["differences"]:
        expected = arms[row["arm"]]["value"] - arms[row["against"]]["value"]
        assert row["value"] == pytest.approx(expected)
        assert row["p_holm"] >= row["p_value"]
    pairs = [(row["arm"], row["against"]) for row in found.result["differences"]]
    assert ("outcome", "base") in pairs
    assert ("no_update", "no_update") not in pairs


def test_the_result_holds_the_hash_of_the_file_as_it_was_before_the_runs(finished):
    file, found, _ = finished
    told = registered(found.directory)
    assert told["sha256"] == read_study(file).sha256 == found.result["sha256"]
    assert (found.directory / "study.toml").read_text() == file.read_text()
    first = (found.directory / "study.json").stat().st_mtime_ns
    runs = Path(found.directory.parent / "arms").glob("*/run/run.json")
    assert all(first < run.stat().st_mtime_ns for run in runs)


def test_all_files_tell_the_same_numbers(finished):
    _, found, _ = finished
    folder = found.directory
    outcome = next(row for row in found.result["arms"] if row["arm"] == "outcome")
    shown = f"{100 * outcome['value']:.1f}"
    assert shown in (folder / "table.md").read_text()
    assert shown in (folder / "table.tex").read_text()
    assert shown in (folder / "study.html").read_text()
    frame = pd.read_parquet(folder / "results.parquet")
    kept = frame[(frame["kind"] == "arms") & (frame["arm"] == "outcome")]
    assert kept["value"].tolist() == [outcome["value"]]
    assert set(frame["kind"]) >= {"arms", "differences", "claims", "curves", "pass_at_k", "budgets"}
    assert json.loads((folder / "result.json").read_text())["study"] == "small"


def test_the_page_has_no_script_and_asks_for_nothing(finished):
    _, found, _ = finished
    page = (found.directory / "study.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=[\"']http", page)
    assert "default-src 'none'" in html.unescape(page)
    assert "training helps" in page


def test_a_finished_study_repeats_nothing(finished):
    file, found, _ = finished
    pool = found.directory.parent / "arms"
    before = started(pool)
    again = study(file, out=found.directory, runs=pool, slots=2)
    assert started(pool) == before
    assert again.result["claims"] == found.result["claims"]


def test_an_arm_that_studies_share_is_run_once(finished, study_file, tmp_path):
    _, found, _ = finished
    pool = found.directory.parent / "arms"
    other = study_file({"name": "other", "arms": {"the_method": {"named": "outcome"}},
                        "controls": ["base"], "claims": []})  # fmt: skip
    before = started(pool)
    again = study(other, out=tmp_path / "out", runs=pool, slots=1)
    assert started(pool) == before
    row = next(r for r in again.result["arms"] if r["arm"] == "the_method")
    assert row["value"] == next(r for r in found.result["arms"] if r["arm"] == "outcome")["value"]


def test_a_study_that_changed_after_its_runs_says_which_key(finished, study_file):
    _, found, _ = finished
    changed = study_file(
        {"claims/0/threshold": 0.1, "arms/hot": {"set": {"rollouts.temperature": 1.3}}}
    )
    with pytest.raises(ConfigError) as caught:
        study(changed, out=found.directory, runs=found.directory.parent / "arms")
    assert "claims.1.threshold was 0.0, now 0.1" in str(caught.value)
    assert "rollouts.temperature" in str(caught.value)
    assert "--new" in str(caught.value)
    words = study_file({"title": "another title"})
    study(words, out=found.directory, runs=found.directory.parent / "arms", slots=1)


def test_new_begins_another_beside_it_which_is_found_again(finished, study_file):
    _, found, _ = finished
    pool = found.directory.parent / "arms"
    changed = study_file({"claims/0/threshold": 0.1})
    began = study(changed, out=found.directory, runs=pool, slots=1, new=True)
    assert began.directory == found.directory.with_name("out-2")
    again = study(changed, out=found.directory, runs=pool, slots=1)
    assert again.directory == began.directory


def test_one_that_another_process_has_is_left_alone(finished):
    file, found, _ = finished
    lock = Lock(found.directory / "study.lock")
    try:
        with pytest.raises(RunError, match="another process"):
            study(file, out=found.directory, runs=found.directory.parent / "arms")
    finally:
        lock.release()


def test_a_damaged_registration_is_told(study_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.json").write_text('{"schema": 9}')
    with pytest.raises(RecordsError, match="cannot be read as a study"):
        study(study_file(), out=tmp_path / "out", runs=tmp_path / "arms")


def test_an_arm_that_fails_is_told_and_the_others_go_on(study_file, tmp_path):
    # A label that is right is refused when the run reads its examples.
    file = study_file({"seeds": [0, 1], "arms": {
        "outcome": {}, "wrong_label_guessable": {"set": {"reward.wrong_label": "a"}}},
        "controls": ["base"],
        "claims": [{"name": "x", "arm": "wrong_label_guessable", "against": "base"}]})  # fmt: skip
    found = study(file, out=tmp_path / "out", runs=tmp_path / "arms", slots=2)
    assert set(found.failures) == {"wrong_label_guessable, seed 0", "wrong_label_guessable, seed 1"}
    assert all("is the right answer" in why for why in found.failures.values())
    assert [row["arm"] for row in found.result["arms"]] == ["base", "outcome"]
    (claim,) = found.result["claims"]
    assert claim["verdict"] == "cannot tell"
    assert "no run of wrong_label_guessable is done" in claim["why"]
    assert "is the right answer" in (found.directory / "table.md").read_text()
    told = plan(file, runs=tmp_path / "arms", measure=False)
    assert set(told.failed) == set(found.failures)


def test_progress_rises_to_the_end(finished):
    _, _, states = finished
    shares = [state.share for state in states]
    assert shares[0] < 0.05
    assert shares[-1] == pytest.approx(1.0)
    assert shares == sorted(shares)
    assert states[-1].finished == states[-1].total == 7
    assert max(len(state.working) for state in states) == 2


def run_in_a_process(file: Path, folder: Path) -> subprocess.Popen:
    code = (
        "from oneshot_rlvr.verbs.study import study; import sys;"
        "study(sys.argv[1], out=sys.argv[2], runs=sys.argv[3], slots=2)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(file), str(folder / "out"), str(folder / "arms")],
        stdin=subprocess.DEVNULL,
    )


def steps_of(folder: Path) -> int:
    return sum(p.read_bytes().count(b"\n") for p in folder.glob("arms/*/run/metrics.jsonl"))


def test_a_study_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(study_file, tmp_path):
    changes = {"set": {"train.steps": 30, "train.save_every": 1}, "seeds": [0, 1],
               "arms": {"outcome": {}}, "controls": ["base"], "claims": []}  # fmt: skip
    file = study_file(changes)
    straight = study(file, out=tmp_path / "straight" / "out", runs=tmp_path / "straight" / "arms",
                     slots=2)  # fmt: skip
    killed = tmp_path / "killed"
    kills = 0
    for aim in (5, 25, 45):
        process = run_in_a_process(file, killed)
        while process.poll() is None and steps_of(killed) < aim:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        done = steps_of(killed)
        time.sleep(3.0)  # workers end after the step they are in
        assert steps_of(killed) <= done + 6
    assert kills >= 2
    again = study(file, out=killed / "out", runs=killed / "arms", slots=2)
    assert not again.failures
    for key in ("arms", "differences", "base_ways"):
        assert again.result[key] == straight.result[key]


def test_a_worker_that_is_killed_is_a_failed_run_that_the_next_call_ends(study_file, tmp_path):
    file = study_file({"set": {"train.steps": 40, "train.save_every": 1}, "seeds": [0, 1],
                       "arms": {"outcome": {}}, "controls": ["base"], "claims": []})  # fmt: skip
    import psutil

    killed = []

    def watch(state):
        training = [w for w in state.working if w.phase == "train" and w.done > 3]
        if training and not killed:
            for child in psutil.Process().children(recursive=True):
                if "oneshot_rlvr.study.worker" in " ".join(child.cmdline()):
                    killed.append(child.pid)
                    os.kill(child.pid, signal.SIGKILL)
                    break

    found = study(file, out=tmp_path / "out", runs=tmp_path / "arms", slots=1, watch=watch)
    assert killed
    assert list(found.failures.values()) == ["ended with exit code -9"]
    again = study(file, out=tmp_path / "out", runs=tmp_path / "arms", slots=1)
    assert not again.failures
    assert not again.result["unfinished"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_worker_that_finds_no_room_says_so_where_it_can_write_nothing(small_recipe, tmp_path):
    recipe = small_recipe().model_dump(mode="json")
    task = {"folder": str(tmp_path / "arm"), "recipe": recipe, "trains": True, "threads": 1,
            "answers": []}  # fmt: skip
    with files_of_at_most(0), open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "oneshot_rlvr.study.worker"],
            input=json.dumps(task) + "\n", stdout=subprocess.PIPE, stderr=full, text=True,
            timeout=600, check=False,
        )  # fmt: skip
    assert done.returncode == FAILURE
    told = json.loads(done.stdout)["failed"]
    assert "recipe.toml could not be written" in told
    assert "raise the limit to a file's size" in told
    assert not (tmp_path / "arm" / "failed.json").exists()


def test_asked_to_stop_it_saves_and_says_what_is_left(study_file, tmp_path):
    file = study_file({"set": {"train.steps": 200, "train.save_every": 50}, "seeds": [0, 1],
                       "arms": {"outcome": {}}, "controls": ["base"], "claims": []})  # fmt: skip
    stopping = SimpleNamespace(asked=False)

    def watch(state):
        stopping.asked = any(w.phase == "train" and w.done > 3 for w in state.working)

    found = study(file, out=tmp_path / "out", runs=tmp_path / "arms", slots=2, watch=watch,
                  stopping=stopping)  # fmt: skip
    assert found.stopped
    assert not found.failures
    assert found.result["unfinished"]
    tasks = tasks_of(read_study(file), tmp_path / "arms")
    begun = [task for task in tasks if task.trains and (task.folder / "run").exists()]
    assert begun
    assert all(task.steps_done < 200 for task in begun)
    assert any(task.steps_done > 0 for task in begun)
    assert all(Run(task.folder / "run").status == "running" for task in begun)


def test_the_command_plans_and_runs(study_file, tmp_path, capsys):
    file = str(study_file({"seeds": [0, 1], "arms": {"outcome": {}}, "controls": ["base"],
                           "claims/1": None}))  # fmt: skip
    where = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "arms")]
    assert main(["study", file, *where, "--plan"]) == 0
    told = capsys.readouterr().out
    assert "2 to train, of which 0 exist" in told
    assert "8 steps" in told
    assert "measured" in told
    assert not (tmp_path / "out").exists()
    assert main(["study", file, *where, "--slots", "2"]) == 0
    told = capsys.readouterr().out
    assert "training helps" in told
    assert "study.html" in told
    assert main(["study", file, *where, "--plan"]) == 0
    told = capsys.readouterr().out
    assert "2 to train, of which 2 exist" in told
    assert "runs that exist" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--seeds", "a"], "--seeds is 'a'"), (["--gpu", "H100"], "--gpu goes with --plan"),
     (["--slots", "0"], "--slots is 0"), (["--plan", "--gpu", "H1000"], "planning.gpu is 'H1000'"),
     (["--plan", "--gpu", "H100:x"], "wanted NAME or NAME:NUMBER")],
)  # fmt: skip
def test_a_wrong_flag_is_one_line(words, sentence, study_file, capsys):
    assert main(["study", str(study_file()), *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.strip().splitlines()) == 1


def test_a_run_that_another_process_has_is_waited_for_and_shown(study_file, tmp_path, monkeypatch):
    from oneshot_rlvr.study import schedule

    monkeypatch.setattr(schedule, "_BUSY_SECONDS", 0.3)
    file = study_file({"seeds": [0, 1], "arms": {"outcome": {}}, "controls": ["base"],
                       "claims": []})  # fmt: skip
    task = next(t for t in tasks_of(read_study(file), tmp_path / "arms") if t.seed == 1)
    task.folder.mkdir(parents=True)
    held = [Lock(task.folder / ".task.lock")]
    shown = set()

    def watch(state):
        shown.update((working.task.name, working.phase) for working in state.working)
        if held and ("outcome, seed 1", "another process has it, waiting") in shown:
            held.pop().release()

    found = study(file, out=tmp_path / "out", runs=tmp_path / "arms", slots=2, watch=watch)
    assert not held
    assert not found.failures
    assert not found.result["unfinished"]
