"""Starting verl, here or on a cluster, and ending it so that nothing is left behind.

A `Job` runs, can be asked whether it still does, gives its log, and can be stopped. The local one
is a process of its own session with a Ray of its own; every process it starts carries a mark in its
environment, by which what outlives it is found. The cluster's is `cluster.py`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

MARK = "ONESHOT_VERL_RUN"
PATIENCE_SECONDS = 15.0  # from asking a process to end to killing it


class Job(Protocol):
    """A run of verl that was started."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def log(self) -> str:
        """All it has said so far."""

    def refresh(self) -> None:
        """Brings its log file up to date, where it does not write into it itself."""

    def state(self) -> str:
        """Its processes in a few lines, for a run that hangs."""

    def stop(self) -> None:
        """Ends it and everything it started. Safe to call at any time and twice."""


class LocalJob:
    """verl on this machine, with a Ray that nobody else uses."""

    def __init__(
        self, python: Path, arguments: Sequence[str], variables: dict[str, str], log: Path
    ):
        self._log = log
        # Short on purpose: Ray's sockets lie below it and their paths may have 107 bytes.
        self._ray = Path(tempfile.mkdtemp(prefix="ray-"))
        self._mark = secrets.token_hex(8)
        environment = {
            **os.environ,
            **variables,
            MARK: self._mark,
            # Else Ray writes a token of its own into the user's home.
            "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", secrets.token_hex(32)),
        }
        environment.pop("RAY_ADDRESS", None)
        command = [
            str(python),
            "-m",
            "verl.trainer.main_ppo",
            *arguments,
            f"+ray_kwargs.ray_init._temp_dir={self._ray}",
            f"hydra.run.dir={log.parent}/hydra",
        ]
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=log.parent,
                start_new_session=True,  # Ctrl-C reaches us alone; we end it in order
            )

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def log(self) -> str:
        """All it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def refresh(self) -> None:
        """Nothing: it writes into the file itself."""

    def state(self) -> str:
        """Processes by name, with processor time and memory."""
        lines = []
        for process in self._ours():
            with contextlib.suppress(Exception):
                memory = process.memory_info().rss >> 20
                program, *arguments = process.cmdline() or [process.name()]
                words = " ".join([Path(program).name, *arguments])[:60]  # not where it lies
                seconds = sum(process.cpu_times()[:2])
                lines.append(
                    f"{process.pid} {seconds:.0f} s {memory} MB {process.status()} {words}"
                )
        return "\n".join(lines) or "no process is left"

    def stop(self) -> None:
        """Asks, waits, kills; then whatever still carries the mark; then Ray's folder."""
        if self._process.poll() is None:
            _signal_group(self._process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_SECONDS)
        _signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left := self._ours():
            for process in left:
                with contextlib.suppress(Exception):
                    process.kill()
            if time.monotonic() > deadline:  # after the kill: to look may itself take that long
                break
            time.sleep(0.2)
        shutil.rmtree(self._ray, ignore_errors=True)

    def _ours(self) -> list:
        """Every live process that carries the mark."""
        import psutil

        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.environ().get(MARK) == self._mark:
                    found.append(process)
        return found


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
