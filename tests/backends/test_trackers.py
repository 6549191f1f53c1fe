"""Trackers: told what the run logs, each step once also after a kill; never able to change it."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import MissingDependencyError, UnknownNameError
from oneshot_rlvr.records import Run
from oneshot_rlvr.train import trackers as room
from oneshot_rlvr.train.trackers import TRACKERS, Trackers, finite, history

ALL = ["tensorboard", "wandb", "trackio"]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_X_SERVICE_WAIT", "300")  # seconds; on a busy machine 30 may be few
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "300")
    folder = tmp_path_factory.getbasetemp() / "trackio"
    monkeypatch.setenv("TRACKIO_DIR", str(folder))


def tensorboard_steps(directory: Path) -> list[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # Orphans are not purged: nothing may stand in the files twice.
    reader = EventAccumulator(str(directory / "tensorboard"), purge_orphaned_data=False)
    reader.Reload()
    return [(e.step, tag, e.value) for tag in reader.Tags()["scalars"] for e in reader.Scalars(tag)]


def wandb_records(path: Path) -> Iterator:
    """The records of a .wandb file: a LevelDB log of blocks of 32 KiB with a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a full record, or its last part
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def wandb_steps(directory: Path) -> list[tuple[int, str, float]]:
    """Of all sessions that would be synced."""
    found = []
    for path in (directory / "wandb").glob("offline-run-*/*.wandb"):
        for record in wandb_records(path):
            items = {
                (item.key or "/".join(item.nested_key)): json.loads(item.value_json)
                for item in record.history.item
            }
            step = items.pop("_step", None)
            found += [(step, k, v) for k, v in items.items() if not k.startswith("_")]
    return found


def trackio_steps(directory: Path) -> list[tuple[int, str, float]]:
    identity = json.loads((directory / "tracking.json").read_text())["id"]
    from trackio.utils import TRACKIO_DIR

    with sqlite3.connect(TRACKIO_DIR / "oneshot-rlvr.db") as base:
        rows = base.execute("select run_name, step, metrics from metrics").fetchall()
    return [
        (step, key, value)
        for name, step, metrics in rows
        if name == f"small-{identity}"
        for key, value in json.loads(metrics).items()
    ]


def told_by(directory: Path) -> dict[str, list[tuple[int, str, float]]]:
    return {
        "tensorboard": tensorboard_steps(directory),
        "wandb": wandb_steps(directory),
        "trackio": trackio_steps(directory),
    }


def as_recorded(directory: Path) -> list[tuple[int, str, float]]:
    return [(step, key, v) for step, row in history(Run(directory)) for key, v in row.items()]


def assert_told_once(directory: Path) -> None:
    """Every tracker holds what the records hold, each number of a step once."""
    expected = {(step, key): value for step, key, value in as_recorded(directory)}
    steps = {step for step, _ in expected}
    assert steps == {0, 1, 2, 3, 4}
    for name, told in told_by(directory).items():
        results = [(s, k) for s, k, _ in told if k.endswith(("/before", "/after"))]
        rest = {(s, k): v for s, k, v in told if (s, k) not in results}
        assert len(rest) + len(results) == len(told), f"{name} holds a step twice"
        assert len(set(results)) == len(results), name
        # A killed process may have told a time that the one that went on did not spend again.
        again = {key for key in rest if key[1] == "timings/checkpoint_seconds"}
        assert rest.keys() - again == expected.keys() - again, name
        for key, value in rest.items():
            # A timing of a step that was done again may be the first one's.
            if "timings/" not in key[1]:
                assert value == pytest.approx(expected[key], rel=1e-6), (name, key)


@pytest.fixture(scope="module")
def tracked_recipe(small_recipe: Callable[..., Recipe]) -> Recipe:
    return small_recipe({"tracking.trackers": ALL})


def test_every_tracker_is_told_each_step_once_and_changes_nothing(
    tracked_recipe, small, tmp_path, assert_same_run
):
    run(tracked_recipe, out=tmp_path / "run")
    assert_same_run(small, tmp_path / "run")
    assert_told_once(tmp_path / "run")


def test_a_resumed_run_stands_in_every_tracker_once(
    tracked_recipe, small, tmp_path, watcher, assert_same_run
):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(tracked_recipe, out=out, progress=watcher(after=3))
    assert len({step for step, *_ in tensorboard_steps(out)}) == 4  # a step beyond the checkpoint
    run(tracked_recipe, out=out, resume=True)
    assert_same_run(small, out)
    assert_told_once(out)


def test_a_tracker_may_join_at_a_resume(small_recipe, tmp_path, watcher):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(small_recipe(), out=out, progress=watcher(after=3))
    run(small_recipe({"tracking.trackers": ["tensorboard"]}), out=out, resume=True)
    told = {(step, key) for step, key, _ in tensorboard_steps(out)}
    assert {(step, key) for step, key, _ in as_recorded(out)} <= told


class Broken:
    """Fails at one of its calls; prints and draws random numbers at all of them."""

    at = "log"

    def __init__(self, about, known):
        self._noisy("init")

    def log(self, step, values):
        self._noisy("log")

    def finish(self, step, result):
        self._noisy("finish")

    def close(self):
        self._noisy("close")

    def _noisy(self, call):
        print("NOISE", random.random())
        if call == self.at:
            raise SystemExit("the server\nis down.")


@pytest.mark.parametrize("at", ["init", "log", "finish", "close"])
def test_a_failing_tracker_is_one_warning_and_nothing_else(
    small_recipe, small, tmp_path, monkeypatch, watcher, assert_same_run, capsys, at
):
    monkeypatch.setattr(Broken, "at", at)
    monkeypatch.setattr(room, "load_trackers", lambda recipe: {"broken": Broken})
    recipe = small_recipe({"tracking.trackers": ["tensorboard"]})
    watch = watcher()
    run(recipe, out=tmp_path / "run", progress=watch)
    warnings = [note for note in watch.notes if note.startswith("warning")]
    assert warnings == [
        "warning: the tracker broken failed (the server is down); the run goes on without it, and "
        "its own records are complete"
    ]
    assert "NOISE" not in capsys.readouterr().out
    assert_same_run(small, tmp_path / "run")


def test_ctrl_c_inside_a_tracker_is_no_failure_of_it(small_recipe, tmp_path, monkeypatch):
    class Interrupted(Broken):
        def _noisy(self, call):
            if call == "log":
                raise KeyboardInterrupt

    monkeypatch.setattr(room, "load_trackers", lambda recipe: {"one": Interrupted})
    recipe = small_recipe({"tracking.trackers": ["tensorboard"]})
    with pytest.raises(KeyboardInterrupt):
        run(recipe, out=tmp_path / "run")


def test_an_unknown_tracker_is_refused_before_anything_is_written(small_recipe, tmp_path):
    recipe = small_recipe({"tracking.trackers": ["tensorbord"]})
    with pytest.raises(UnknownNameError, match='Did you mean "tensorboard"'):
        run(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ALL)
def test_a_tracker_that_is_not_installed_is_refused_naming_its_extra(monkeypatch, name):
    import sys

    monkeypatch.setitem(sys.modules, TRACKERS[name].partition(":")[0], None)
    with pytest.raises(MissingDependencyError, match=rf"oneshot-rlvr\[{name}\]"):
        TRACKERS.load(name)


def test_only_finite_numbers_are_told():
    values = {"a": 1, "b": math.nan, "c": None, "d": "text", "e": -math.inf, "f": 0.5}
    assert finite(values) == {"a": 1.0, "f": 0.5}


def test_no_trackers_is_no_file(small_recipe, tmp_path):
    with Trackers(small_recipe(), tmp_path, print) as trackers:
        trackers.start()
        trackers.step(1, {"a": 1.0})
    assert list(tmp_path.iterdir()) == []
