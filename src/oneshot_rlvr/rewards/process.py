"""One grading process as the pool holds it: started, sent a task, ended with all it has started.

The process that is started is a guard (guard.py); the worker is its child. Not here: which task
goes where, and what an answer means (pool.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

STARTUP_SECONDS = 120.0  # imports of sympy on a busy machine, many times over
PATIENCE_SECONDS = 5.0  # for a guard that is told to end; it takes milliseconds

_COMMAND = (
    "import sys, json; a = json.loads(sys.argv[1]); sys.path[:] = a['path']; "
    "from oneshot_rlvr.rewards.worker import main; main(a['timeout'], a['memory'], a['life'])"
)
_numbers = itertools.count(1)


class Worker:
    """One process: at most one task at a time; `deadline` is on the monotonic clock."""

    def __init__(self, timeout_seconds: float, memory_bytes: int):
        life_line, self._life = os.pipe()
        setup = {
            "life": life_line,
            "path": [os.path.abspath(p) for p in sys.path],
            "timeout": timeout_seconds,
            "memory": memory_bytes,
        }
        # What it prints to stderr, for the error of a worker that cannot start.
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in kill
        self.process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            bufsize=0,
            pass_fds=[life_line],
            start_new_session=True,  # Ctrl-C reaches the parent only; one kill ends the whole group
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        os.close(life_line)
        self.task: int | None = None
        self.number = 0  # of the task as it was sent: an answer that names another is nobody's
        self.started = False
        self.deadline = 0.0
        self.received = b""
        self.last_words = ""  # the last line it printed to stderr, once it is dead

    def send(self, task: int, message: dict[str, object]) -> None:
        """Hands out a task. OSError where the process has died."""
        self.task, self.number, self.started = task, next(_numbers), False
        self.deadline = time.monotonic() + STARTUP_SECONDS
        assert self.process.stdin is not None
        view = memoryview(json.dumps({**message, "number": self.number}).encode("ascii") + b"\n")
        while view:
            view = view[self.process.stdin.write(view) :]

    def kill(self, *, dead: bool = False) -> None:
        """Ends it and whatever its verifier started; `dead`: it ended by itself, and tells how."""
        if dead:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE_SECONDS)
        with contextlib.suppress(OSError):  # a byte: a fork of ours may hold this end open too
            os.write(self._life, b"!")
        os.close(self._life)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE_SECONDS)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process.wait()
        with contextlib.suppress(OSError, ValueError):
            self.complaints.seek(0)
            lines = self.complaints.read(1 << 20).decode("utf-8", "replace").strip().splitlines()
            self.last_words = lines[-1] if lines else ""
        self.complaints.close()


def kill_all(workers: list[Worker], owner: int) -> None:
    """Kills the owner's workers. A fork of the owner must not do so when it exits."""
    if os.getpid() == owner:
        while workers:
            workers.pop().kill()
