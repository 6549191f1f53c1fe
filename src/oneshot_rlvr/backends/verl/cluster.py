"""A run of verl as a job of a Ray cluster.

The cluster's machines must see the run's directory under the same path (a shared file system), and
have verl and oneshot_rlvr in their Python. The job's name is kept beside its log: what a killed
launcher left running is stopped by the next one.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from oneshot_rlvr.backends.verl.jobs_api import JobsApi, NotYet
from oneshot_rlvr.backends.verl.launch import MARK
from oneshot_rlvr.errors import RunError

STOP_SECONDS = 60.0
AWAY_SECONDS = 120.0  # the head may restart; longer and the cluster counts as lost
LOG_SECONDS = 5.0  # between two readings of the log, more where it is large
RECORD = "job.json"
_OVER = {"SUCCEEDED": 0, "FAILED": 1, "STOPPED": 130}


class ClusterJob:
    """verl as a job of the cluster at `address`."""

    def __init__(
        self,
        address: str,
        python: str,
        arguments: Sequence[str],
        variables: dict[str, str],
        log: Path,
        *,
        note: Callable[[str], None] = lambda text: None,
        asked: Callable[[], bool] = lambda: False,
    ):
        self._api, self._log = JobsApi(address), log
        self._last, self._message = "PENDING", ""
        self._away: float | None = None  # since when the cluster has not answered
        self._log_due = 0.0
        self.identity = f"oneshot-{secrets.token_hex(6)}"
        record = log.with_name(RECORD)
        self._end_the_one_before(record, note)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
        record.write_text(json.dumps({"address": address, "job": self.identity}), encoding="utf-8")
        entry = shlex.join(
            [python, "-m", "verl.trainer.main_ppo", *arguments, f"hydra.run.dir={log.parent}/hydra"]
        )
        marked = {**variables, MARK: self.identity}
        try:
            started = self._api.submit(self.identity, entry, marked, note=note, asked=asked)
        except BaseException:
            # Also an interruption in the middle of the request, which may have arrived.
            with contextlib.suppress(RunError):
                self._api.stop(self.identity)
            raise
        if started:
            note(f"job {self.identity} on {self._api.address}")
        else:
            self._last = "STOPPED"

    def poll(self) -> int | None:
        """Its exit code; None while it runs, or while the cluster does not answer."""
        if self._last in _OVER:
            return _OVER[self._last]
        try:
            told = self._api.info(self.identity)
        except NotYet:
            now = time.monotonic()
            self._away = self._away or now
            if now - self._away > AWAY_SECONDS:
                raise
            return None
        self._away = None
        self._last, self._message = str(told.get("status")), str(told.get("message") or "")
        return _OVER.get(self._last)

    def log(self) -> str:
        """All it has said so far; kept beside the run too."""
        self._log_due = 0.0
        self.refresh()
        return self._log.read_text(encoding="utf-8", errors="replace")

    def refresh(self) -> None:
        """Brings the log file up to date, now and then: the API gives the whole log each time."""
        began = time.monotonic()
        if began >= self._log_due:
            with contextlib.suppress(RunError):
                text = self._api.logs(self.identity)
                if not text and self._last == "FAILED":
                    text = self._message  # it never came to say anything itself
                self._log.write_text(text, encoding="utf-8")
            taken = time.monotonic() - began
            self._log_due = time.monotonic() + max(LOG_SECONDS, 50 * taken)

    def state(self) -> str:
        """What the cluster says of it."""
        return f"job {self.identity} is {self._last} on {self._api.address}"

    def stop(self) -> None:
        """Asks the cluster to stop the job, and waits until it has. Safe to call twice."""
        if self._last in _OVER:
            return
        try:
            self._stop()
        except RunError as error:
            raise RunError(
                f"{error} Stop the job by hand: ray job stop {self.identity} "
                f"--address {self._api.address}"
            ) from error

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        self._api.stop(self.identity)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise RunError(f"{self.state()} {STOP_SECONDS:.0f} s after it was told to stop.")
            time.sleep(0.5)

    @staticmethod
    def _end_the_one_before(record: Path, note: Callable[[str], None]) -> None:
        """A job of this run that still goes, though nobody watches it any more: two would write
        into the same files. RunError where it does not end."""
        try:
            told = json.loads(record.read_text(encoding="utf-8"))
            api, identity = JobsApi(told["address"]), str(told["job"])
            if api.info(identity).get("status") in _OVER:
                return
        except (OSError, ValueError, KeyError, TypeError, RunError):
            return  # there was none, or its cluster is gone or has forgotten it
        note(f"stopping job {identity}, which an earlier launch left on {api.address}")
        api.stop(identity)
        deadline = time.monotonic() + STOP_SECONDS
        while api.info(identity).get("status") not in _OVER:
            if time.monotonic() > deadline:
                raise RunError(
                    f"job {identity} on {api.address} still runs and writes into this directory; "
                    f"stop it by hand: ray job stop {identity} --address {api.address}"
                )
            time.sleep(0.5)
