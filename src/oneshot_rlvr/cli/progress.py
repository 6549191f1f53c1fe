"""The live line of a run: step, training and held-out accuracy, entropy, tokens/s, time left.

On a terminal one line that moves, elsewhere (a log file, CI) one plain line every few steps. Both
go to stderr, so that a command's output stays clean. Not here: anything that a run needs.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from oneshot_rlvr.cli.terminal import console as terminal_console
from oneshot_rlvr.cli.terminal import say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

# Key of the metrics, label, format. A value that a step lacks keeps its last one on the line:
# held-out accuracy is measured every few steps only.
COLUMNS = (
    ("train/accuracy", "train", "{:.2f}"),
    ("train/score", "score", "{:.2f}"),
    ("validation/accuracy", "held-out", "{:.2f}"),
    ("train/entropy_nats", "entropy", "{:.2f}"),
    ("tokens_per_second", "tokens/s", "{:,.0f}"),
)


SECONDS_BETWEEN_LINES = 15.0
"""Of an evaluation's lines where the output is no terminal."""


class Progress:
    """`start(total)`, `step(n, metrics)` after every step, `answers(benchmark, done, in
    all)` while a held-out set is asked, `note(text)`, `close()`."""

    def __init__(self, console: Console | None = None, plain_every: int = 10):
        self._console = console or terminal_console(stderr=True)
        self._plain_every = plain_every
        self._total = 0
        self._latest: dict[str, float] = {}
        self._first: tuple[int, float] | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._told: Counted | None = None

    def start(self, total_steps: int) -> None:
        """Begins the line; `total_steps` is the step that ends the run."""
        self.close()
        self._total = total_steps
        self._latest, self._first = {}, None
        if self._console.is_terminal:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                BarColumn(bar_width=12),
                TextColumn("{task.description}", markup=False),
                console=self._console,
            )
            self._task = self._bar.add_task(f"step 0/{total_steps}", total=total_steps)
            self._bar.start()

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows step `step` (from 1; a resumed run begins later)."""
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        known = {key for key, _, _ in COLUMNS}
        if metrics.get("train/score") == metrics.get("train/accuracy"):
            known.discard("train/score")  # verdicts of yes and no
        self._latest.update({k: v for k, v in metrics.items() if k in known and math.isfinite(v)})
        line = self._line(step, now)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, description=line)
        elif step % self._plain_every == 0 or step >= self._total or step == self._first[0]:
            self._print(line)

    def answers(self, benchmark: str, done: int, total: int) -> None:
        """`done` of `total` answers of a held-out set are graded."""
        if self._told is None or self._told.benchmark != benchmark or done < self._told.done:
            self._told = Counted(benchmark)
        line = self._told.line(done, total)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=line)
        elif self._told.due(done, total):
            self._print(line)

    def note(self, text: str) -> None:
        """One line that stays: what is being done, what was found."""
        self._print(text)

    def close(self) -> None:
        """Ends the line. Safe to call at any time and twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _line(self, step: int, now: float) -> str:
        parts = [f"step {step}/{self._total}"]
        parts += [
            f"{label} {form.format(self._latest[key])}"
            for key, label, form in COLUMNS
            if key in self._latest
        ]
        assert self._first is not None
        first_step, first_time = self._first
        if step > first_step:
            seconds = (now - first_time) / (step - first_step) * (self._total - step)
            parts.append(f"{_clock(seconds)} left")
        return "  ".join(parts)


class Counted:
    """How far a benchmark's answers are, and how long the rest will take."""

    def __init__(self, benchmark: str):
        self.benchmark, self.done = benchmark, 0
        self._began = self._said = time.monotonic()
        self._first: int | None = None

    def line(self, done: int, total: int) -> str:
        """`NAME: 120 of 400 answers  0:42 left`; the time once some were seen to come."""
        self.done, now = done, time.monotonic()
        if self._first is None:
            self._first, self._began = done, now
        left = ""
        if self._first < done < total:
            seconds = (now - self._began) / (done - self._first) * (total - done)
            left = f"  {_clock(seconds)} left"
        return f"{self.benchmark}: {done:,} of {total:,} answers{left}"

    def due(self, done: int, total: int) -> bool:
        """Whether a log file wants the line: now and then, not for what is done in a moment."""
        if time.monotonic() - self._said < SECONDS_BETWEEN_LINES:
            return False
        self._said = time.monotonic()
        return True


class AnswerCount:
    """How far an evaluation is: on a terminal a line that is gone when it is done, elsewhere one
    now and then."""

    def __init__(self, console: Console | None = None):
        self._console = console or terminal_console(stderr=True)
        self._status = self._console.status("evaluating")
        self._told: Counted | None = None
        self._status.start()

    def __call__(self, benchmark: str, done: int, total: int) -> None:
        """`done` of `total` answers of a benchmark are graded."""
        if self._told is None or self._told.benchmark != benchmark:
            self._told = Counted(benchmark)
        line = self._told.line(done, total)
        if self._console.is_terminal:
            self._status.update(escape(line))
        elif self._told.due(done, total):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Ends the line."""
        self._status.stop()


def print_stopped(stopped_after: int, total: int, command: Sequence[str]) -> None:
    """What a run says that was asked to stop: where it stands, and the command that goes on."""
    where = (
        f"after step {stopped_after:,} of {total:,}" if stopped_after else "before its first save"
    )
    say(f"Stopped {where}; all of it is saved. Continue with:")
    say(f"  {shlex.join(command)}")


@contextmanager
def resumable(command: Sequence[str]) -> Iterator[None]:
    """Gives an interruption at once the words that tell how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Continue with: {shlex.join(command)}") from None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
