"""Weights & Biases, online or offline as WANDB_MODE says; its files lie in the run's `wandb/`.

Online the server tells how far it has heard, and is told the rest. An offline session cannot be
continued and loses what a kill caught in its buffer: a resume begins a new one under the same id,
tells it everything, and deletes those that it replaces.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import wandb

from oneshot_rlvr.train.trackers import About, Values


class WeightsAndBiases:
    """One wandb run, resumed by the id of the run's directory."""

    def __init__(self, about: About, history: Sequence[tuple[int, Values]]):
        earlier = list((about.directory / "wandb").glob(f"offline-run-*-{about.id}"))
        self._run = wandb.init(
            dir=str(about.directory),
            project=about.project,
            name=about.name,
            id=about.id,
            resume="allow",
            config=dict(about.recipe),
            # Its console capture would take over our stdout, its warnings the moving line.
            settings=wandb.Settings(console="off", silent=True, disable_git=True),
        )
        if self._run.offline:
            for folder in earlier:
                shutil.rmtree(folder, ignore_errors=True)
        self._next = int(self._run.step)
        for step, values in history:
            self.log(step, values)

    def log(self, step: int, values: Values) -> None:
        """A step, unless wandb has it from before the run was stopped."""
        if step >= self._next:
            self._run.log(dict(values), step=step)

    def finish(self, step: int, result: Values) -> None:
        """The result goes into wandb's summary."""
        self._run.summary.update({**result, "result_step": step})

    def close(self) -> None:
        """Uploads or writes what is left."""
        self._run.finish()
