"""Being asked to stop: the first signal ends the run after the step it is in, the second at once.

Where a step is only sampling yet (minutes, with a large model), nothing of it has moved and the
same seed draws it again: there the first signal breaks it off, and the step before is saved.

SIGINT (Ctrl-C), SIGTERM (schedulers) and SIGHUP (a closed terminal) are the same wish. What stands
on disk is whole at any moment (`checkpoint`, `records`), so this is a courtesy: a step that has
begun is not lost. Not here: what is saved.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_AFTER = "stopping after this step. Once more stops at once, and loses the step."
_NOW = "stopping; the step's sampling is broken off and will be made again, all else is saved."
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(Exception):
    """The run ends here because it was asked to; `step` is the last whole one, saved."""

    def __init__(self, step: int):
        super().__init__(step)
        self.step = step


class StoppedSampling(BaseException):
    """The first signal, in the middle of a step's sampling."""


class StopNow(KeyboardInterrupt):
    """A signal where there is nothing to finish, or the second one."""


class Stopping:
    """A wish to stop that a run looks up between its steps. `listening` ties it to signals."""

    def __init__(self) -> None:
        self.asked = False
        self._in_step = self._in_sampling = False
        self._answer = _AFTER

    def ask(self) -> None:
        """The run shall end after the step it is in."""
        self.asked = True

    @contextmanager
    def step(self, answer: str = _AFTER) -> Iterator[None]:
        """Work that the first signal lets come to its end; `answer` is said when it comes."""
        self._in_step, self._answer = True, answer
        try:
            yield
        finally:
            self._in_step = False

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """The part of a step that the first signal breaks off (StoppedSampling)."""
        self._in_sampling = self._in_step
        if self._in_sampling and self.asked:
            raise StoppedSampling
        try:
            yield
        finally:
            self._in_sampling = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals; gives them back. A signal that was ignored (nohup, `&`) stays so.

        Does nothing outside the main thread, where Python allows no handlers.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {}
        for name in _SIGNALS:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, self._receive)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.asked or not self._in_step:
            raise StopNow(name)
        self.ask()
        if self._in_sampling:
            _say(f"{name}: {_NOW}")
            raise StoppedSampling
        _say(f"{name}: {self._answer}")


def _say(text: str) -> None:
    """A line on stderr, from inside a signal handler: no lock, no buffer, over a moving bar."""
    begin = "\r\x1b[2K" if sys.stderr.isatty() else ""
    with suppress(OSError):  # the terminal may have gone
        os.write(2, f"{begin}{text}\n".encode())
