"""`study`: a file of arms, seeds and claims -> runs, intervals and verdicts.

The file is read and every mistake told; what it says is written down with its hash; then whatever
is missing of its runs is made, side by side where that is faster; then the result is written. Run
again it goes on where it stood. Not here: what a study is (`study`), its progress (`cli`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oneshot_rlvr.study.plan import Plan
    from oneshot_rlvr.study.schedule import State
    from oneshot_rlvr.train.stopping import Stopping


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Where the study is and all its numbers; `stopped`: it was asked to stop before its end.

    `result` has the shape of result.json (`study.result`).
    """

    directory: Path
    result: Mapping[str, Any]
    stopped: bool = False
    failures: Mapping[str, str] = field(default_factory=dict)


def study(
    file: str | Path,
    *,
    out: str | Path | None = None,
    runs: str | Path | None = None,
    new: bool = False,
    overrides: Mapping[str, Any] | None = None,
    slots: int | None = None,
    watch: Callable[[State], None] = lambda state: None,
    say: Callable[[str], None] = lambda text: None,
    stopping: Stopping | None = None,
) -> StudyResult:
    """Does what is missing of a study and writes its result.

    file: a TOML file, or the name of a study that ships (`controls`).
    out: the study's folder; None takes runs/studies/NAME. runs: the folder of the runs, shared by
        all studies; None takes runs/arms.
    new: the file has changed since its runs: begin another study beside the first.
    overrides: top-level keys of the file replaced, {"seeds": [0, 1]}: a smaller trial.
    slots: runs at once, a thread each; None: measured, whether that is faster than one on all. On
        verl runs follow one another.
    watch: told how far it is, about once a second. say: told a line now and then.
    stopping: asked to stop, it ends after the steps under way; all is saved.
    Raises ConfigError for a mistake in the file, before anything runs; RunError where another
        process has the study.
    """
    from oneshot_rlvr.records.files import Lock
    from oneshot_rlvr.running.provenance import usable_cores
    from oneshot_rlvr.study.checks import inputs_exist
    from oneshot_rlvr.study.file import read_study
    from oneshot_rlvr.study.folder import LOCK, register, study_folder
    from oneshot_rlvr.study.result import result_of, write_result
    from oneshot_rlvr.study.schedule import Schedule, placing

    read = read_study(file, overrides)
    inputs_exist(read)
    directory = study_folder(read, out, new=new, trial=_trial(overrides or {}))
    directory.mkdir(parents=True, exist_ok=True)
    lock = Lock(directory / LOCK, "Wait for it or choose another folder with --out")
    try:
        registered = register(directory, read)
        pool = _pool(runs)
        tasks = _tasks(read, pool)
        left = [task for task in tasks if not task.done]
        done, failures = True, {}
        if left:
            pool.mkdir(parents=True, exist_ok=True)
            placed = placing(left, pool, usable_cores(), say, slots)
            asked = (lambda: stopping.asked) if stopping is not None else (lambda: False)
            schedule = Schedule(tasks, placed, directory / "logs", watch, asked)
            done, failures = schedule.run(), schedule.failures
        result = result_of(read, tasks, registered, failures)
        write_result(directory, result)
    finally:
        lock.release()
    return StudyResult(directory, result, not done, failures)


def plan(
    file: str | Path,
    *,
    runs: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    gpu: str | None = None,
    gpus: int | None = None,
    measure: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Plan:
    """What a study would do and could show; trains nothing. Arguments as in `study`.

    gpu, gpus: of the cost model, instead of steps measured here. measure: False measures nothing
    either: then hours are not told unless they were measured before.
    """
    from oneshot_rlvr.study.file import read_study
    from oneshot_rlvr.study.plan import plan_of

    read = read_study(file, overrides)
    pool = _pool(runs)
    return plan_of(read, _tasks(read, pool), pool, gpu=gpu, gpus=gpus, measure=measure, say=say)


def _trial(overrides: Mapping[str, Any]) -> str:
    """ "seeds-0-1" of {"seeds": [0, 1]}."""
    told = " ".join(f"{key} {value}" for key, value in overrides.items())
    return re.sub(r"[^A-Za-z0-9.]+", "-", told).strip("-")[:80]


def _pool(runs: str | Path | None) -> Path:
    from oneshot_rlvr.study.folder import ARMS

    return Path(runs) if runs is not None else ARMS


def _tasks(read: Any, pool: Path) -> Any:
    from oneshot_rlvr.study.tasks import tasks_of

    return tasks_of(read, pool)
