"""verl's log in the terminal, beside our progress line.

The whole log is thousands of lines for every hundred that mean something to somebody who waits. So
while nothing trains yet, its newest line is shown every few seconds, with the time since the start;
and an exception that is no report of another is shown when it comes, each kind once. The file has
all of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from oneshot_rlvr.backends.verl.causes import exceptions, last_words

PAUSE_SECONDS = 20.0
MOST = 20  # exceptions told of; a log that is nothing else is in the file
WIDTH = 200


class Follower:
    """Reads what was added to a log since it last looked. `note` shows a line."""

    def __init__(self, log: Path, note: Callable[[str], None]):
        self._log, self._note = log, note
        self._began = self._told_at = time.monotonic()
        self._offset = 0
        self._shown = ""
        self._kinds: set[str] = set()

    def look(self, training: bool) -> None:
        """Tells what is new; `training`: the progress line moves by itself."""
        lines = self._new_lines()
        for text in exceptions(lines):
            kind = re.sub(r"\d+|0x[0-9a-f]+", "#", text)
            if kind not in self._kinds and len(self._kinds) < MOST:
                self._kinds.add(kind)
                self._note(f"verl: {text[:WIDTH]}")
        newest = last_words(lines)
        self._shown = newest or self._shown
        now = time.monotonic()
        if not training and self._shown and now - self._told_at >= PAUSE_SECONDS:
            self._told_at = now
            self._note(f"verl, {now - self._began:.0f} s: {self._shown[:WIDTH]}")
            self._shown = ""

    def _new_lines(self) -> list[str]:
        """Whole lines behind the last look. A log that was written anew is read from its start."""
        try:
            size = self._log.stat().st_size
            if size < self._offset:
                self._offset = 0
            with open(self._log, "rb") as file:
                file.seek(self._offset)
                added = file.read(size - self._offset)
        except OSError:
            return []
        whole = added.rfind(b"\n") + 1
        self._offset += whole
        return added[:whole].decode("utf-8", "replace").splitlines()
