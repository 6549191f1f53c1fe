"""The first real error of a log of many processes, whatever the others say after it."""

from __future__ import annotations

from oneshot_rlvr.backends.verl.causes import first_error, never_started

WORKER = "\x1b[36m(WorkerDict pid=27567)\x1b[0m "
RUNNER = "\x1b[36m(TaskRunnerV1 pid=27316, ip=10.0.0.1)\x1b[0m "


def test_the_first_exception_comes_before_those_that_report_it():
    log = [
        WORKER
        + "UserWarning: veomni is not available: ModuleNotFoundError(\"No module 'veomni'\")",
        WORKER + "Traceback (most recent call last):",
        WORKER + "ValueError: 3 heads do not divide by 2",
        RUNNER + "ray.exceptions.RayTaskError(ValueError): ray::WorkerDict.init()",
        "Error executing job with overrides: ['data.x=1']",
        "ray.exceptions.ActorDiedError: The actor died unexpectedly",
    ]
    assert first_error(log) == "ValueError: 3 heads do not divide by 2 (said by WorkerDict)"


def test_a_warning_that_quotes_an_exception_is_not_one():
    assert (
        first_error(["x.py:32: UserWarning: no engine: ModuleNotFoundError('y')", "bye"]) == "bye"
    )


def test_a_death_without_words_comes_before_its_reports():
    log = [
        RUNNER + "(raylet) A worker died or was killed while executing a task: oom",
        "ray.exceptions.ActorDiedError: The actor died because of another",
    ]
    assert "A worker died or was killed" in first_error(log)


def test_with_nothing_but_reports_the_first_is_told():
    log = ["ray.exceptions.ActorDiedError: gone", "ray.exceptions.RayTaskError(X): later"]
    assert first_error(log) == "ray.exceptions.ActorDiedError: gone"


def test_an_empty_validation_is_a_symptom():
    log = ["RuntimeError: Received an empty list as keys", "KeyError: 'tokens'"]
    assert first_error(log) == "KeyError: 'tokens'"


def test_without_an_exception_the_last_line_is_told_and_of_nothing_nothing():
    assert first_error(["one", "two", ""]) == "two"
    assert first_error([]) == ""


def test_a_long_message_is_cut():
    assert len(first_error(["ValueError: " + "x" * 5000])) == 400


def test_ray_that_did_not_start_is_told_from_other_failures():
    assert never_started(["Exception: The current node timed out during startup. This could"])
    assert not never_started(["ValueError: no"])
