"""Other places that are told what a run logs: TensorBoard, Weights & Biases, Trackio.

The run's own files (`records`) are the truth and are always written; a tracker is told the same
numbers afterwards. It can fail, be slow to start or be missing at a resume: that is a warning, and
the run is what it would have been. Told when it opens what the records hold already, each tracker
sees to it that every step stands in it once, also after a kill.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from oneshot_rlvr.config import Recipe, fingerprint, to_toml
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.files import read_lines, write_atomic
from oneshot_rlvr.records.schema import METRICS, TIMINGS
from oneshot_rlvr.registry import Registry

TRACKERS = Registry(
    "tracker",
    {
        "tensorboard": "oneshot_rlvr.train.trackers.tensorboard:TensorBoard",
        "wandb": "oneshot_rlvr.train.trackers.wandb:WeightsAndBiases",
        "trackio": "oneshot_rlvr.train.trackers.trackio:Trackio",
    },
    extras={"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"},
)
IDENTITY = "tracking.json"
"""Holds the id under which outside trackers know this run directory."""

Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class About:
    """The run as a tracker introduces it. `id` belongs to the directory and outlives a resume."""

    directory: Path
    id: str
    name: str
    project: str
    recipe: Mapping[str, Any]
    recipe_toml: str


class Tracker(Protocol):
    """Made with (about, history), where `history` is what the records hold: (step, values)."""

    def log(self, step: int, values: Values) -> None:
        """A step's numbers, finite ones. Steps rise."""

    def finish(self, step: int, result: Values) -> None:
        """The run is complete; `result` at the step that was chosen."""

    def close(self) -> None:
        """Ends it; also after `finish`, and where the run was interrupted."""


class Trackers:
    """All trackers of a run, as one that cannot fail. Use it in `with`."""

    def __init__(self, recipe: Recipe, directory: Path, note: Callable[[str], None]):
        self._recipe, self._directory, self._note = recipe, directory, note
        self._open: dict[str, Tracker] = {}

    def start(self) -> None:
        """Opens them. UnknownNameError, MissingDependencyError: those are the user's to mend."""
        if not self._recipe.tracking.trackers:
            return
        kinds = load_trackers(self._recipe)
        about = About(
            directory=self._directory,
            id=_identity(self._directory),
            name=self._recipe.name,
            project=self._recipe.tracking.project,
            recipe={
                **self._recipe.model_dump(mode="json"),
                "fingerprint": fingerprint(self._recipe),
            },
            recipe_toml=to_toml(self._recipe),
        )
        known = history(Run(self._directory))
        for name, kind in kinds.items():
            with self._guarded(name):
                self._open[name] = kind(about, known)

    def step(self, step: int, values: Values) -> None:
        """Tells all of them a step."""
        told = finite(values)
        for name, tracker in list(self._open.items()):
            with self._guarded(name):
                tracker.log(step, told)

    def finish(self, step: int, result: Values) -> None:
        """Tells all of them the result."""
        for name, tracker in list(self._open.items()):
            with self._guarded(name):
                tracker.finish(step, finite(result))

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._open:
            name, tracker = self._open.popitem()
            with self._guarded(name):
                tracker.close()

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Whatever a tracker does wrong ends the tracker; whatever it prints or draws is lost."""
        from oneshot_rlvr.train.generators import generators_kept  # torch, which a list needs not

        try:
            with generators_kept(), contextlib.redirect_stdout(io.StringIO()):
                yield
        except (Exception, SystemExit) as error:
            self._open.pop(name, None)
            cause = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            self._note(
                f"warning: the tracker {name} failed ({cause}); the run goes on without it, and "
                "its own records are complete"
            )


def load_trackers(recipe: Recipe) -> dict[str, Callable[[About, Sequence[Any]], Tracker]]:
    """The recipe's trackers by name. UnknownNameError; MissingDependencyError with the extra."""
    return {name: TRACKERS.load(name) for name in recipe.tracking.trackers}


def tracked(metrics: Values, timings: Values, validation: float | None) -> dict[str, float]:
    """A step's numbers under the names that trackers show: timings in a section of their own."""
    values = {**metrics, **{f"timings/{key}": value for key, value in timings.items()}}
    return values if validation is None else {**values, "validation/accuracy": validation}


def history(run: Run) -> list[tuple[int, dict[str, float]]]:
    """All that the records hold, as it was told at the time: finite numbers, steps rising."""
    rows: dict[int, dict[str, Any]] = {}
    for name, prefix in ((METRICS, ""), (TIMINGS, "timings/")):
        for row in read_lines(run.directory / name):
            told = {f"{prefix}{key}": value for key, value in row.items() if key != "step"}
            rows.setdefault(row["step"], {}).update(told)
    for name, step in run.evaluations():
        if name == "validation":
            accuracy = run.summary(name, step)["overall"]["accuracy"]["value"]
            rows.setdefault(step, {})["validation/accuracy"] = accuracy
    return [(step, finite(rows[step])) for step in sorted(rows)]


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Only the numbers, and only those that can be drawn."""
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _identity(directory: Path) -> str:
    path = directory / IDENTITY
    if path.exists():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return str(json.loads(path.read_text(encoding="utf-8"))["id"])
    identity = secrets.token_hex(4)  # not from the generators, which belong to the run
    write_atomic(path, json.dumps({"id": identity}).encode())
    return identity
