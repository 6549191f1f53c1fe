"""What is shown of some runs, read again when their files have changed.

A version names the state of the files by their sizes and times; what was made of one is kept until
the next. Nothing here fails of what a run holds: one that cannot be read is shown as such.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import OneshotError
from oneshot_rlvr.records import Run, schema
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData, setting
from oneshot_rlvr.report.page import chart_data, draw_all, sections
from oneshot_rlvr.report.reader.tokens import Pieces

if TYPE_CHECKING:
    from oneshot_rlvr.selection import History

_WATCHED = (
    schema.RUN, schema.METRICS, schema.TIMINGS, schema.ROLLOUTS, schema.EVALUATIONS, schema.FINAL
)  # fmt: skip


def version_of(directories: Mapping[str, Path]) -> str:
    """A short name of the state of these runs' files."""
    told = hashlib.blake2b(digest_size=8)
    for name, directory in directories.items():
        told.update(name.encode("utf-8", "surrogateescape"))
        for part in _WATCHED:
            try:
                found = (directory / part).stat()
                told.update(f"{part} {found.st_mtime_ns} {found.st_size}".encode())
            except OSError:
                told.update(b"-")
    return told.hexdigest()


def read_run(directory: Path, label: str, pool: History | None = None) -> RunData:
    """As `RunData.load`; a run that cannot be read at all tells why, as damage."""
    try:
        return RunData.load(Run(directory, partly=True), label=label, pool=pool)
    except (OneshotError, OSError, ValueError, KeyError, TypeError) as error:
        return RunData(
            info={}, status="unknown", damage=[str(error)], directory=directory, label=label
        )


class State:
    """The runs as they were at one version, and what the page makes of them, each made once."""

    def __init__(self, version: str, runs: Runs, price_per_hour: float | None):
        self.version = version
        self.runs = runs
        self._price = price_per_hour
        self._lock = threading.RLock()

    @cached_property
    def figures(self) -> dict[str, dict[str, Any]]:
        """Every figure's specification."""
        with self._lock:
            return draw_all(self.runs)

    @cached_property
    def parts(self) -> dict[str, str]:
        """The page's parts as HTML."""
        figures = self.figures
        return sections(self.runs, figures, price_per_hour=self._price, live=True)

    @cached_property
    def first_parts(self) -> dict[str, str]:
        """The same before any figure is drawn: what is painted first."""
        if "figures" in self.__dict__:
            return self.parts
        return sections(self.runs, {}, price_per_hour=self._price, live=True, pending=True)

    @cached_property
    def charts(self) -> dict[str, Any]:
        """What the scripts draw from."""
        return chart_data(self.runs, self.figures, price_per_hour=self._price)


class Watched:
    """One page of runs. `find` gives the directories by name, each time anew."""

    def __init__(
        self,
        find: Callable[[], Mapping[str, Path]],
        pool: History | None = None,
        price_per_hour: float | None = None,
    ):
        self._find = find
        self._pool = pool
        self._price = price_per_hour
        self._lock = threading.Lock()
        self._state: State | None = None
        self._pieces: dict[Path, Pieces] = {}

    def version(self) -> str:
        """Of the files as they are now; empty where there is no run any more."""
        found = self._find()
        return version_of(found) if found else ""

    def state(self) -> State | None:
        """The runs as they are now; None where there are none (any more)."""
        found = self._find()
        if not found:
            return None
        version = version_of(found)
        with self._lock:
            if self._state is None or self._state.version != version:
                runs = Runs.of(*(read_run(path, name, self._pool) for name, path in found.items()))
                self._state = State(version, runs, self._price)
            return self._state

    def one(self, place: int) -> tuple[Run, RunData, Pieces] | None:
        """The run at a place of the page, opened, with its tokenizer; None where it is not."""
        state = self.state()
        if state is None or not 0 <= place < len(state.runs.runs):
            return None
        data = state.runs.runs[place]
        assert data.directory is not None  # every run of a server lies somewhere
        pieces = self._pieces.get(data.directory)
        if pieces is None or not pieces.known:
            pieces = self._pieces[data.directory] = Pieces.of(data.directory, data.recipe)
        return Run(data.directory, partly=True), data, pieces

    def told(self, state: State) -> str:
        """How far it is, in a few words for the top of the page."""
        runs = state.runs
        going = sum(run.status == "running" for run in runs.runs)
        if runs.alone is None:
            return f"live: {going} of {len(runs.runs)} runs not finished"
        run = runs.alone
        planned = setting(run.recipe, "train.steps")
        of = f" of {planned:,}" if isinstance(planned, int) else ""
        return f"live: step {run.steps_done:,}{of}{'' if going else ', finished'}"
