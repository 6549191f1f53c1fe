"""Workers side by side until every task is done: what fails is told and the rest goes on.

Whether several runs of one thread each are faster than one run on all cores is measured with steps
of the study's own recipe, and kept. A worker outlives a study that is killed by the step it is in.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError, RunError
from oneshot_rlvr.records.files import to_json, write_atomic
from oneshot_rlvr.study.identity import code_version
from oneshot_rlvr.study.tasks import Task

# What worker.py ends with; importing it here would bring torch.
BUSY, STOPPED = 75, 76

MACHINE = "machine.json"
_WORTH = 1.05
"""Runs go side by side only where that is faster by this: it takes more memory."""


_SHOWN_SECONDS = 0.2
"""Between two looks at how far all is."""

_BUSY_SECONDS = 5.0
"""Between two looks whether another process still has a run: each look is a process of its own."""


@dataclass(frozen=True, slots=True)
class Placing:
    """`slots` workers at once, each with so many `threads` (0: as the recipe says)."""

    slots: int
    threads: int
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Working:
    """A task and how far it is: `phase` train or answers, `done` of `total`."""

    task: Task
    phase: str = "starting"
    done: int = 0
    total: int = 0
    failed: str | None = None


@dataclass(slots=True)
class State:
    """What a progress display needs: tasks finished, those at work, share of all work, seconds."""

    finished: int
    total: int
    working: Sequence[Working]
    share: float
    seconds_left: float | None


Watch = Callable[[State], None]


def placing(
    tasks: Sequence[Task],
    pool: Path,
    cores: int,
    say: Callable[[str], None] = lambda text: None,
    slots: int | None = None,
) -> Placing:
    """How the tasks that are left are placed on this machine; `slots`: by order, so many at once.

    ConfigError for several at once on a backend that has all GPUs for one run.
    """
    trained = [task for task in tasks if task.trains and not task.trained]
    elsewhere = {task.recipe.backend.name for task in trained} - {"local"}
    if elsewhere:
        if (slots or 1) > 1:
            raise ConfigError(
                f"{slots} runs at once on the backend {', '.join(elsewhere)}, whose every run has "
                "all GPUs: they follow one another; leave slots out."
            )
        return Placing(1, 0)  # its own scheduler has the GPUs
    if slots is not None:
        return Placing(slots, 1)
    if cores == 1:
        return Placing(1, 1)
    if len(trained) < 2:
        return Placing(1, cores)
    return measured_placing(trained[0].recipe, pool, cores, say)


def measured_placing(
    recipe: Recipe, pool: Path, cores: int, say: Callable[[str], None] = lambda text: None
) -> Placing:
    """Steps of the recipe alone on all cores, and one run a core at once; measured once."""
    known = machine(pool)
    key = _key(recipe, cores)
    if key not in known:
        say(f"measuring a few steps, alone on {cores} threads and {cores} runs at once ...")
        alone = _probes(recipe, cores, 1)[0]
        beside = _probes(recipe, 1, cores) if alone["device"] == "cpu" and cores > 1 else []
        known[key] = {"alone": alone, "beside": beside}
        write_atomic(pool / MACHINE, to_json(known, indent=1))
    return _placed(known[key], cores)


def known_placing(recipe: Recipe, pool: Path, cores: int) -> Placing | None:
    """The same where it was measured before; None where it was not."""
    measured = machine(pool).get(_key(recipe, cores))
    return None if measured is None else _placed(measured, cores)


def _placed(measured: Mapping[str, Any], cores: int) -> Placing:
    import psutil

    alone, beside = measured["alone"], measured["beside"]
    if not beside:
        return Placing(1, 0 if alone["device"] != "cpu" else cores, measured)
    together = sum(1 / one["step_seconds"] for one in beside)
    room = psutil.virtual_memory().available // max(1, max(o["memory_bytes"] for o in beside))
    slots = max(1, min(cores, int(room)))
    if slots > 1 and together * slots / cores * alone["step_seconds"] > _WORTH:
        return Placing(slots, 1, measured)
    return Placing(1, cores, measured)


def machine(pool: Path) -> dict[str, Any]:
    """What was measured before; empty where nothing was, or where it cannot be read."""
    try:
        found = json.loads((pool / MACHINE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(recipe: Recipe, cores: int) -> str:
    told = [
        recipe.model.model_dump(mode="json"),
        recipe.rollouts.model_dump(mode="json"),
        recipe.train.updates_per_rollout,
        cores,
        code_version(),
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _probes(recipe: Recipe, threads: int, count: int) -> list[dict[str, Any]]:
    """So many workers at once, each measuring steps on so many threads. RunError where one fails"""
    task = {"probe": True, "recipe": recipe.model_dump(mode="json"), "threads": threads}
    workers = [_start(task, threads, subprocess.PIPE) for _ in range(count)]
    found = []
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stderr is not None
        line, said = worker.stdout.readline(), worker.stderr.read()
        if worker.wait() != 0 or not line:
            last = (said.strip().splitlines() or ["no word"])[-1]
            raise RunError(f"a few steps of the recipe could not be measured: {last}")
        found.append(json.loads(line))
    return found


def _start(task: Mapping[str, Any], threads: int, log: Any) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    worker = subprocess.Popen(
        [sys.executable, "-m", "oneshot_rlvr.study.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the study, which tells them
    )
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(task) + "\n")
    worker.stdin.flush()
    return worker


class Schedule:
    """Runs tasks in their order, `slots` at once. `stop` ends it after the steps under way."""

    def __init__(
        self,
        tasks: Sequence[Task],
        placed: Placing,
        logs: Path,
        watch: Watch,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ):
        self._tasks, self._placed, self._logs, self._watch = tasks, placed, logs, watch
        self._asked = asked_to_stop
        self._left = [task for task in tasks if not task.done]
        self._at_work: dict[int, tuple[subprocess.Popen[str], Working]] = {}
        self._elsewhere: dict[str, tuple[float, Working]] = {}  # when it was seen; by task
        self._heard: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        self._began = time.monotonic()
        self._first_share: float | None = None
        self._stopped = False
        self._shown = -_SHOWN_SECONDS
        self.failures: dict[str, str] = {}

    def stop(self) -> None:
        """No task is begun any more; workers end after their step."""
        self._stopped = True
        for worker, _ in self._at_work.values():
            if worker.stdin is not None and not worker.stdin.closed:
                worker.stdin.close()

    def run(self) -> bool:
        """Works until all is done; whether it was (False: stopped)."""
        number, waiting = 0, list(self._left)
        self._logs.mkdir(parents=True, exist_ok=True)
        folders: set[Path] = set()  # two tasks of one folder (the base's) never at once
        try:
            while (waiting and not self._stopped) or self._at_work:
                free = self._placed.slots - len(self._at_work)
                ready = [t for t in waiting if t.folder not in folders and not self._busy(t)]
                for task in ready[: max(0, free)]:
                    if self._stopped:
                        break
                    waiting.remove(task)
                    folders.add(task.folder)
                    number += 1
                    self._begin(number, task)
                self._show(at_least=_SHOWN_SECONDS)
                if self._asked() and not self._stopped:
                    self.stop()
                done = self._hear()
                if done is not None:
                    code, working = done
                    folders.discard(working.task.folder)
                    if code == BUSY:
                        waiting.append(working.task)
                        told = Working(working.task, "another process has it, waiting")
                        self._elsewhere[working.task.name] = time.monotonic(), told
                    elif code not in (0, STOPPED):
                        why = working.failed or working.task.failure()
                        self.failures[working.task.name] = why or f"ended with exit code {code}"
        except BaseException:
            self.stop()
            for worker, _ in self._at_work.values():
                worker.wait()
            raise
        self._show()
        return not self._stopped

    def _busy(self, task: Task) -> bool:
        """Whether another process had it a moment ago."""
        seen, _ = self._elsewhere.get(task.name, (-_BUSY_SECONDS, None))
        return time.monotonic() - seen < _BUSY_SECONDS

    def _begin(self, number: int, task: Task) -> None:
        log = self._logs / f"{task.folder.name}.log"
        threads = self._placed.threads
        with log.open("ab") as file:
            worker = _start(task.told(threads), threads, file)
        self._elsewhere.pop(task.name, None)
        self._at_work[number] = (worker, Working(task))
        threading.Thread(target=self._listen, args=(number, worker), daemon=True).start()

    def _listen(self, number: int, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            try:
                self._heard.put((number, json.loads(line)))
            except ValueError:
                continue
        self._heard.put((number, None))

    def _hear(self) -> tuple[int, Working] | None:
        """Takes news for at most a second; (exit code, task) when a worker has ended."""
        try:
            number, told = self._heard.get(timeout=1.0)
        except queue.Empty:
            return None
        worker, working = self._at_work[number]
        if told is None:
            del self._at_work[number]
            return worker.wait(), working
        working.failed = told.get("failed", working.failed)
        working.phase = told.get("phase", working.phase)
        working.done, working.total = told.get("done", 0), told.get("total", 0)
        return None

    def _show(self, at_least: float = 0.0) -> None:
        if time.monotonic() - self._shown < at_least:
            return
        self._shown = time.monotonic()
        weights = [_weight(task) for task in self._tasks]
        at_work = {id(w.task): w for _, w in self._at_work.values()}
        share = sum(
            weight * _share(task, at_work.get(id(task)), self._is_left(task))
            for task, weight in zip(self._tasks, weights, strict=True)
        ) / sum(weights)
        if self._first_share is None:
            self._first_share = share
        gone, passed = share - self._first_share, time.monotonic() - self._began
        left = passed / gone * (1 - share) if gone > 0.01 else None
        finished = sum(not self._is_left(task) for task in self._tasks)
        shown = [*at_work.values(), *(working for _, working in self._elsewhere.values())]
        self._watch(State(finished, len(self._tasks), shown, share, left))

    def _is_left(self, task: Task) -> bool:
        if task in self._left and (task.done or task.name in self.failures):
            self._left.remove(task)
        return task in self._left


_TRAINING = 0.75
"""Of the work of a task that trains, about."""


def _weight(task: Task) -> float:
    return 1.0 if task.trains else 0.1 * max(1, len(task.answers))


def _share(task: Task, working: Working | None, left: bool) -> float:
    """How much of a task is done, 0..1."""
    if not left:
        return 1.0
    training = _TRAINING if task.trains else 0.0
    done = sum(one.done for one in task.answers) / max(1, len(task.answers))
    if working is None or not working.total:
        steps = task.steps_done / task.recipe.train.steps if task.trains else 0.0
        return training * min(1.0, steps) + (1 - training) * done
    if working.phase == "train":
        return training * working.done / working.total
    part = working.done / working.total / max(1, len(task.answers))
    return training + (1 - training) * min(1.0, done + part)
