"""A new run from another run's checkpoint, with a changed recipe.

Weights, optimizer and all else that learns are the parent's after its step n; steps go on counting
from there, so that parent and fork can be drawn on one axis. Settings, seed and schedule are the
new recipe's; the KL reference is its `model.path` as always. The checkpoint is copied, so that the
fork stands when the parent is deleted, and run.json tells where it comes from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError, RecordsError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.train.checkpoint import (
    STATE,
    Checkpoint,
    checkpoint_steps,
    copy_checkpoint,
    latest_checkpoint,
    read_checkpoint,
)


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a run comes from: a whole checkpoint of another run."""

    parent: Run
    checkpoint: Checkpoint

    @property
    def step(self) -> int:
        """The step after which the fork goes on."""
        return self.checkpoint.step

    def described(self) -> dict[str, Any]:
        """run.json's "fork"."""
        state = json.loads((self.checkpoint.directory / STATE).read_text(encoding="utf-8"))
        info = self.parent.info
        return {
            "run": str(self.parent.directory.resolve()),
            "step": self.checkpoint.step,
            "name": info.get("name"),
            "fingerprint": info.get("fingerprint"),
            "checkpoint": state["checksum"],
            "fork": info.get("fork"),  # the parent's own parent
        }

    def plant(self, out: Path) -> Checkpoint:
        """The parent's checkpoint as the fork's first. RecordsError when the disk refuses."""
        offset = {"metrics_bytes": 0, "rollout_parts": 0}
        return copy_checkpoint(self.checkpoint, out, {"forked": True, "records": offset})


def find_fork(text: str, recipe: Recipe | None = None) -> Fork:
    """The checkpoint that RUN or RUN@STEP names; without a step the newest whole one.

    RunError where there is none; ConfigError where the recipe has no step after it.
    """
    match = re.fullmatch(r"(.+)@(\d+)", text)
    directory, step = (Path(match[1]), int(match[2])) if match else (Path(text), None)
    parent = Run(directory)
    trainer = (parent.info.get("backend") or {}).get("name", "local")
    if trainer != "local":
        raise RunError(
            f"{directory} was trained by {trainer}, whose optimizer only {trainer} can continue; "
            "give one of its checkpoints as model.path to begin anew from its weights."
        )
    steps = checkpoint_steps(directory)
    kept = f"It has checkpoints of {_listed(steps)}"
    try:
        found = (
            latest_checkpoint(directory)[0] if step is None else read_checkpoint(directory, step)
        )
    except RecordsError as error:
        if step in steps:
            raise
        raise RunError(f"{directory} has no checkpoint of step {step}. {kept}.") from error
    if found is None:
        raise RunError(f"{directory} has no whole checkpoint to fork from. {kept}.")
    if recipe is not None and recipe.train.steps <= found.step:
        raise ConfigError(
            f"train.steps is {recipe.train.steps} and the fork begins after step {found.step} of "
            f"{directory}, counting on; set train.steps to more than {found.step}."
        )
    return Fork(parent, found)


def refuse_another_fork(directory: Path, info: Mapping[str, Any], text: str) -> None:
    """RunError where a run to resume does not come from the checkpoint that `text` names."""
    was, match = info.get("fork"), re.fullmatch(r"(.+)@(\d+)", text)
    path, step = (match[1], int(match[2])) if match else (text, None)
    if was is None:
        raise RunError(f"{directory} holds a run that is no fork; resume it without --fork.")
    if str(Path(path).resolve()) != was["run"] or step not in (None, was["step"]):
        raise RunError(
            f"{directory} holds a fork of {was['run']}@{was['step']}, not of {text}; resume it "
            "without --fork, or choose another directory with --out."
        )


def replant(directory: Path, info: Mapping[str, Any]) -> Checkpoint:
    """The first checkpoint of a fork that has lost all of its own, from its parent once more.

    RunError where the parent has it no longer: starting from the base model would be another run.
    """
    was = info["fork"]
    try:
        fork = find_fork(f"{was['run']}@{was['step']}")
        same = fork.described()["checkpoint"] == was["checkpoint"]
    except (RunError, RecordsError):
        same = False
    if not same:
        raise RunError(
            f"{directory} is a fork without a whole checkpoint, and its parent {was['run']} no "
            f"longer has the one of step {was['step']}; it cannot be continued."
        )
    return fork.plant(directory)


def _listed(steps: list[int]) -> str:
    return f"steps {', '.join(map(str, steps))}" if steps else "no step"
