"""Where runs go: side by side where that was measured to be faster and there is memory for it."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.study.file import read_study
from oneshot_rlvr.study.schedule import _placed, placing
from oneshot_rlvr.study.tasks import tasks_of


def measured(alone: float, beside: float, memory: int = 1 << 20, device: str = "cpu"):
    one = {"step_seconds": alone, "memory_bytes": memory, "device": device}
    other = {**one, "step_seconds": beside}
    return {"alone": one, "beside": [other, other] if device == "cpu" else []}


def test_two_runs_of_a_thread_each_that_do_more_steps_together_go_side_by_side():
    placed = _placed(measured(alone=1.0, beside=1.3), cores=2)
    assert (placed.slots, placed.threads) == (2, 1)


def test_a_run_that_gains_more_from_all_cores_has_them():
    placed = _placed(measured(alone=1.0, beside=2.0), cores=2)
    assert (placed.slots, placed.threads) == (1, 2)
    # 4 % are not worth the memory of a second run.
    assert _placed(measured(alone=1.0, beside=1.93), cores=2).slots == 1


def test_runs_that_do_not_fit_beside_one_another_follow_one_another(monkeypatch):
    room = SimpleNamespace(available=3 << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: room)
    assert _placed(measured(1.0, 1.1, memory=2 << 30), cores=2).slots == 1
    assert _placed(measured(1.0, 1.1, memory=1 << 30), cores=2).slots == 2


def test_a_gpu_has_one_run_at_a_time_with_the_recipes_threads():
    placed = _placed(measured(1.0, 1.0, device="cuda"), cores=16)
    assert (placed.slots, placed.threads) == (1, 0)


def test_runs_on_verl_follow_one_another(tmp_path):
    tasks = tasks_of(read_study("paper_llama32_3b"), tmp_path)
    placed = placing(tasks, tmp_path, cores=16)
    assert (placed.slots, placed.threads) == (1, 0)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2)])
def test_one_run_has_all_cores_and_one_core_one_run(cores, threads, study_file, tmp_path):
    changes = {"seeds": [0], "intervals": "questions", "arms": {"outcome": {}}, "claims": [],
               "controls": ["base"]}  # fmt: skip
    tasks = tasks_of(read_study(study_file(changes)), tmp_path)
    placed = placing(tasks, tmp_path, cores)
    assert (placed.slots, placed.threads) == (1, threads)


def test_the_first_seed_of_every_arm_comes_before_any_second(study_file, tmp_path):
    tasks = tasks_of(read_study(study_file()), tmp_path)
    assert [(task.arm, task.seed) for task in tasks] == [
        ("base", None), ("outcome", 0), ("no_update", 0), ("hot", 0),
        ("outcome", 1), ("no_update", 1), ("hot", 1),
    ]  # fmt: skip


def test_runs_on_verl_never_go_side_by_side_even_when_told_to(tmp_path):
    tasks = tasks_of(read_study("paper_llama32_3b"), tmp_path)
    with pytest.raises(ConfigError, match="2 runs at once on the backend verl"):
        placing(tasks, tmp_path, cores=16, slots=2)
    assert placing(tasks, tmp_path, cores=16, slots=1).slots == 1


def test_slots_that_are_told_are_taken_without_a_measurement(study_file, tmp_path):
    tasks = tasks_of(read_study(study_file()), tmp_path)
    placed = placing(tasks, tmp_path, cores=2, slots=3)
    assert (placed.slots, placed.threads) == (3, 1)
    assert list(tmp_path.glob("machine.json")) == []
