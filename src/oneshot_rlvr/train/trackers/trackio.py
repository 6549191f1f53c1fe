"""Trackio: a local database (TRACKIO_DIR, else in the Hugging Face cache); `trackio show` draws it.

It cannot drop steps, but a run continued from a checkpoint repeats them to the bit: what the
database holds already is not told again.
"""

from __future__ import annotations

from collections.abc import Sequence

import trackio

from oneshot_rlvr.train.trackers import About, Values


class Trackio:
    """One trackio run, named after the recipe and the run's directory."""

    def __init__(self, about: About, history: Sequence[tuple[int, Values]]):
        name = f"{about.name}-{about.id}"
        self._run = trackio.init(
            project=about.project,
            name=name,
            config=dict(about.recipe),
            resume="allow",
            embed=False,  # nothing shown from inside a notebook
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        # The step after the last that the database, here or remote, holds; nothing public tells it.
        self._next = int(self._run._next_step)
        for step, values in history:
            self.log(step, values)

    def log(self, step: int, values: Values) -> None:
        """A step, unless the database has it from before the run was stopped."""
        if step >= self._next and values:
            self._run.log(dict(values), step=step)

    def finish(self, step: int, result: Values) -> None:
        """The result as one more row at the chosen step."""
        self._run.log(dict(result), step=step)

    def close(self) -> None:
        """Writes what is left."""
        trackio.finish()  # not the run's own: that would leave it to be finished at exit again
