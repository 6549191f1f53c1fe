"""A pool of grading processes that are killed at the deadline.

Each worker is a fresh interpreter (not a fork, and no `multiprocessing`: a user's script needs no
`__main__` guard, and daemonic processes such as Ray's may use it), spoken to in JSON lines; no
SIGALRM, so any thread may grade. A worker that overruns, dies or bloats is replaced and the rest
of the batch is unharmed. Tasks go out in order as workers fall idle; verdicts come back in order.
Not here: which texts need grading, and what a verdict is worth (scorer.py).
"""

from __future__ import annotations

import json
import math
import os
import selectors
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oneshot_rlvr.errors import DataError, GraderError, MissingDependencyError, OneshotError
from oneshot_rlvr.rewards.faults import Faults
from oneshot_rlvr.rewards.process import STARTUP_SECONDS, Worker, kill_all
from oneshot_rlvr.types import Example, Reason, Verdict

ATTEMPTS = 2  # a text whose worker dies this often has itself to blame
MEMORY_BYTES = 4 << 30  # address space of a worker; sympy needs about 0.3 GB of it

Task = tuple[str | None, Example]
"""An extracted answer and the example it answers; None asks for `check_gold` instead."""


class Cancelled(GraderError):
    """The batch was cancelled from another thread."""


class Pool:
    """Grades tasks in `workers` processes, started on first need.

    Any thread may call it; batches take turns.
    """

    def __init__(
        self, workers: int, timeout_seconds: float, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._size = workers
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._workers: list[Worker] = []
        self._faults = Faults()
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._wake, self._woken = socket.socketpair()  # cancel() must end a wait
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, kill_all, self._workers, self._owner)

    def close(self) -> None:
        """Kill every worker. The pool may be used again: it starts new ones."""
        with self._lock:
            kill_all(self._workers, os.getpid())

    def cancel(self) -> None:
        """End the batch that another thread is in: its `run` raises Cancelled at once."""
        self._cancelled.set()
        self._wake.send(b"!")

    def pids(self) -> list[int]:
        """Process ids of the live workers."""
        return [worker.process.pid for worker in self._workers]

    def run(self, tasks: Sequence[Task]) -> list[Verdict]:
        """One verdict per task, in order.

        Errors: DataError for a bad gold or option; MissingDependencyError; GraderError for a
        verifier that fails by itself or workers that cannot start. Never for the model's text.
        """
        if not tasks:
            return []
        with self._lock:
            self._leave_what_was_inherited()
            try:
                self._cancelled.clear()
                return _Batch(self, tasks).run()
            except BaseException:  # Ctrl-C too: no worker stays busy with a batch nobody wants
                for worker in [w for w in self._workers if w.task is not None]:
                    self._replace(worker)
                raise

    def _leave_what_was_inherited(self) -> None:
        """A fork of the owner has its own workers: two processes cannot share a pipe."""
        if os.getpid() != self._owner:
            self._owner = os.getpid()
            self._workers = []
            self._wake, self._woken = socket.socketpair()
            self._finalizer = weakref.finalize(self, kill_all, self._workers, self._owner)

    # For _Batch, which lives in this file.
    def _grow(self, wanted: int) -> Iterable[Worker]:
        while len(self._workers) < min(self._size, wanted):
            self._workers.append(Worker(self._timeout_seconds, self._memory_bytes))
        return self._workers

    def _replace(self, worker: Worker, *, dead: bool = False) -> None:
        worker.kill(dead=dead)
        self._workers.remove(worker)


class _Batch:
    """One run over a batch: who has which task, and until when."""

    def __init__(self, pool: Pool, tasks: Sequence[Task]):
        self._pool = pool
        self._tasks = list(tasks)
        self._asked = len(tasks)  # what stands behind them are golds, to tell whose fault it is
        self._waiting = deque(range(len(tasks)))
        self._attempts = [0] * len(tasks)
        self._verdicts: list[Verdict | None] = [None] * len(tasks)
        self._left = len(tasks)
        self._failed_starts = 0
        self._selector = selectors.DefaultSelector()

    def run(self) -> list[Verdict]:
        with self._selector:
            self._selector.register(self._pool._woken, selectors.EVENT_READ)
            while self._left:
                if self._pool._cancelled.is_set():
                    raise Cancelled("grading was cancelled.")
                self._hand_out()
                busy = [w for w in self._pool._workers if w.task is not None]
                wait = min(w.deadline for w in busy) - time.monotonic()
                for key, _ in self._selector.select(max(0.0, wait)):
                    if key.data is None:
                        self._pool._woken.recv(64)
                    else:
                        self._receive(key.data)
                self._kill_overdue()
        return [verdict for verdict in self._verdicts[: self._asked] if verdict is not None]

    def _hand_out(self) -> None:
        wanted = len(self._waiting) + sum(w.task is not None for w in self._pool._workers)
        for worker in list(self._pool._grow(wanted)):
            if worker.task is None and self._waiting:
                number = self._waiting.popleft()
                self._watch(worker)
                try:
                    worker.send(number, _message(*self._tasks[number]))
                except OSError:  # it died while idle
                    self._died(worker)

    def _watch(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        if worker.process.stdout.fileno() not in self._selector.get_map():
            self._selector.register(worker.process.stdout, selectors.EVENT_READ, worker)

    def _receive(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        data = os.read(worker.process.stdout.fileno(), 1 << 16)
        if not data:
            self._died(worker)
            return
        *lines, worker.received = (worker.received + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if worker.task is None or message["number"] != worker.number:
                continue  # of a task that is over: whoever wrote it, it answers nothing now
            if message.get("started"):
                worker.started = True
                worker.deadline = time.monotonic() + self._pool._timeout_seconds
            else:
                self._finish(worker, message)

    def _finish(self, worker: Worker, message: dict[str, Any]) -> None:
        number = worker.task
        assert number is not None
        answer, example = self._tasks[number]
        worker.task = None
        if "error" in message:
            raise _raised(message["error"], example)
        if "memory" in message:
            self._drop(worker)  # its heap may be in any state
            self._fail(number, Verdict(False, Reason.MEMORY, answer), "memory")
        elif "recursion" in message:
            too_deep = Verdict(False, Reason.UNPARSEABLE, answer, {"too_deep": True})
            self._fail(number, too_deep, "too deep a recursion")
        else:
            verdict = Verdict(
                message["correct"],
                Reason(message["reason"]),
                message["extracted"],
                message["details"],
                message.get("score", math.nan),
            )
            self._pool._faults.done(example)
            self._settle(number, verdict)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for worker in [w for w in self._pool._workers if w.task is not None and w.deadline <= now]:
            number, started = worker.task, worker.started
            assert number is not None
            if not started:
                raise GraderError(
                    f"a grading process did not start within {STARTUP_SECONDS:.0f} seconds. "
                    "Is the machine overloaded or out of memory?"
                )
            self._drop(worker)
            seconds = self._pool._timeout_seconds
            verdict = Verdict(False, Reason.TIMEOUT, self._tasks[number][0], {"seconds": seconds})
            self._fail(number, verdict, f"no answer in {seconds:g} s")

    def _died(self, worker: Worker) -> None:
        number, started = worker.task, worker.started
        if number is None:  # it had answered, and then its verifier's rest ended it
            self._drop(worker, dead=True)
            return
        self._drop(worker, dead=True)
        code = worker.process.returncode
        if not started:
            self._failed_starts += 1
            if self._failed_starts > 3:
                raise GraderError(
                    f"grading processes die at start (exit code {code}): {worker.last_words}. "
                    "Raise reward.memory_megabytes if memory is what they lack."
                )
            self._waiting.appendleft(number)
            return
        self._attempts[number] += 1
        if self._attempts[number] < ATTEMPTS:
            self._waiting.appendleft(number)
            return
        answer, example = self._tasks[number]
        if code >= 0 and answer is not None:
            self._pool._faults.exited(example, code)
            if number >= self._asked:
                raise self._pool._faults.failed_on_gold(example, f"exit code {code}")
        verdict = Verdict(False, Reason.CRASH, answer, {"exit_code": code})
        if code < 0:
            self._fail(number, verdict, f"signal {-code}")
        else:
            self._settle(number, verdict)

    def _fail(self, number: int, verdict: Verdict, how: str) -> None:
        """No verdict on the text itself: wrong, or the verifier's fault (faults.py)."""
        answer, example = self._tasks[number]
        if number >= self._asked:
            raise self._pool._faults.failed_on_gold(example, how)
        if answer is not None and (gold := self._pool._faults.failed(example)) is not None:
            self._waiting.appendleft(len(self._tasks))
            self._tasks.append((gold, example))
            self._attempts.append(0)
            self._verdicts.append(None)
            self._left += 1
        self._settle(number, verdict)

    def _drop(self, worker: Worker, *, dead: bool = False) -> None:
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout)
        self._pool._replace(worker, dead=dead)

    def _settle(self, number: int, verdict: Verdict) -> None:
        self._verdicts[number] = verdict
        self._left -= 1


def _message(answer: str | None, example: Example) -> dict[str, Any]:
    """A task as it is sent: JSON's own types. DataError for an option that has none."""
    task = {
        "verifier": example.verifier,
        "id": example.id,
        "question": example.question,
        "gold": example.answer,
        "extra": dict(example.extra),
        "answer": answer,
    }
    return dict(json.loads(json.dumps(task, default=plain)))


def plain(value: Any) -> Any:
    """What JSON cannot say by itself: arrays become lists, mappings dicts. DataError otherwise."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):  # numpy, as Parquet columns come
        return value.tolist()
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value)
    raise DataError(
        f"an example's option holds a {type(value).__name__}, which JSON cannot say. "
        "Use numbers, texts, lists and tables."
    )


_RAISED: dict[str, type[OneshotError]] = {
    "DataError": DataError,
    "MissingDependencyError": MissingDependencyError,
    "GraderError": GraderError,
}


def _raised(error: Mapping[str, str], example: Example) -> OneshotError:
    kind = _RAISED.get(error["type"])
    if kind is not None:
        return kind(error["message"])
    return GraderError(
        f"verifier {example.verifier} failed by itself on example {example.id!r}: "
        f"{error['type']}: {error['message']}. This is a fault of the grader, not of the text."
    )
