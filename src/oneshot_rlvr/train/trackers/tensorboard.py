"""TensorBoard: event files in the run's `tensorboard/`, written anew from the records on a resume.

`tensorboard --logdir RUN` shows it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from torch.utils.tensorboard import SummaryWriter

from oneshot_rlvr.train.trackers import About, Values

FOLDER = "tensorboard"


class TensorBoard:
    """One scalar a metric, on the disk after every step; the recipe as text."""

    def __init__(self, about: About, history: Sequence[tuple[int, Values]]):
        folder = about.directory / FOLDER
        # Event files cannot be cut: what a killed run told beyond its checkpoint would stay.
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        self._writer.add_text("recipe", _as_code(about.recipe_toml))
        for step, values in history:
            self._add(step, values)
        self._writer.flush()

    def log(self, step: int, values: Values) -> None:
        """A step's scalars, flushed."""
        self._add(step, values)
        self._writer.flush()

    def finish(self, step: int, result: Values) -> None:
        """The result as scalars at the chosen step."""
        self._add(step, result)

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)


def _as_code(text: str) -> str:
    """Markdown shows a line that is indented by four as it is."""
    return "".join(f"    {line}\n" for line in text.splitlines())
