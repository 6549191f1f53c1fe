"""`runs`: what runs there are below a folder, and how each stands.

Read from what every run writes of itself; one that cannot be read is told as such, no error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import ConfigError, OneshotError
from oneshot_rlvr.verbs.subjects import RUNS

DEEPEST = 3
"""Folders below the one that is named: runs/NAME, and a study's runs/STUDY/ARM/SEED."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One run. state: finished, running (a process writes it), stopped, untrained, or unreadable.

    `step` of `steps`; `before` and `after` are accuracies of its test set (of validation, where it
    has no test), None where they are not there; `arm` is the reward's; `when` is local time of the
    last write.
    """

    path: Path
    state: str
    step: int = 0
    steps: int = 0
    before: float | None = None
    after: float | None = None
    arm: str = ""
    when: str = ""


def runs(folder: str | Path = RUNS) -> list[Listed]:
    """Every run below `folder`, the last written first. ConfigError where there is no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(
            f"there is no folder {folder} here ({Path.cwd()}); name the one that holds the runs."
        )
    found = sorted(_directories(folder, 0), key=lambda run: _written(run), reverse=True)
    return [_listed(run) for run in found]


def _directories(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "run.json").is_file():
        yield folder
    elif depth < DEEPEST:
        for child in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from _directories(child, depth + 1)


def _written(run: Path) -> float:
    files = (run / "run.json", run / "metrics.jsonl")
    return max(path.stat().st_mtime for path in files if path.exists())


def _listed(path: Path) -> Listed:
    from oneshot_rlvr.records import Run

    when = datetime.fromtimestamp(_written(path)).strftime("%Y-%m-%d %H:%M")
    try:
        info = Run(path).info
        run = Run(path, partly=True)
        metrics = run.metrics()
        step = int(metrics["step"].max()) if len(metrics) else 0
        recipe: Mapping[str, Any] = info.get("recipe") or {}
        before, after = _accuracies(run)
        return Listed(
            path,
            _state(run, step),
            step,
            int(recipe.get("train", {}).get("steps", 0)),
            before,
            after,
            str(recipe.get("reward", {}).get("arm", "")),
            when,
        )
    except (OneshotError, KeyError, TypeError, ValueError, AttributeError):
        return Listed(path, "unreadable", when=when)


def _state(run: Any, step: int) -> str:
    from oneshot_rlvr.records.files import is_locked
    from oneshot_rlvr.records.schema import LOCK

    if run.status == "finished":
        return "finished"
    if is_locked(run.directory / LOCK):
        return "running"
    return "stopped" if step else "untrained"


def _accuracies(run: Any) -> tuple[float | None, float | None]:
    """Of the first and the last evaluation of the test set, else of validation."""
    steps: dict[str, list[int]] = {}
    for name, step in run.evaluations():
        steps.setdefault(name, []).append(step)
    name = next((n for n in ("test", "validation") if n in steps), None)
    if name is None:
        return None, None

    def accuracy(step: int) -> float:
        return float(run.summary(name, step)["overall"]["accuracy"]["value"])

    first, last = min(steps[name]), max(steps[name])
    return accuracy(first) if first == 0 else None, accuracy(last) if last > 0 else None
