"""Of verl's log the terminal sees the newest line while it waits, and each error once."""

from __future__ import annotations

import pytest

from oneshot_rlvr.backends.verl import follow
from oneshot_rlvr.backends.verl.follow import Follower


@pytest.fixture
def log(tmp_path, monkeypatch, clock):
    monkeypatch.setattr(follow, "PAUSE_SECONDS", 0.0)
    clock(follow.__name__, monotonic=lambda: 7.0)
    path = tmp_path / "log.txt"
    path.write_text("")
    return path


def test_while_nothing_trains_the_newest_line_is_shown_and_then_no_longer(log):
    notes = []
    follower = Follower(log, notes.append)
    log.write_text("first\n(WorkerDict pid=7) loading weights\n====\nhalf a li")
    follower.look(training=False)
    assert notes == ["verl, 0 s: WorkerDict: loading weights"]
    follower.look(training=False)
    assert len(notes) == 1  # nothing new
    log.write_text(log.read_text() + "ne\n")
    follower.look(training=True)
    assert len(notes) == 1


def test_an_exception_is_shown_once_a_kind_and_a_report_of_it_never(log):
    notes = []
    follower = Follower(log, notes.append)
    lines = [
        "(A pid=1) ValueError: rank 0 has no weights",
        "(B pid=2) ray.exceptions.RayTaskError(ValueError): rank 0",
        "(A pid=1) ValueError: rank 1 has no weights",
    ]
    log.write_text("\n".join(lines) + "\n")
    follower.look(training=True)
    assert notes == ["verl: ValueError: rank 0 has no weights (said by A)"]


def test_a_log_that_was_written_anew_is_read_from_its_start(log):
    notes = []
    follower = Follower(log, notes.append)
    log.write_text("a long line of the first start\n")
    follower.look(training=False)
    log.write_text("again\n")
    follower.look(training=False)
    assert notes[-1] == "verl, 0 s: again"
