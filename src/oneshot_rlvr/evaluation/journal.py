"""Answers and verdicts as they come, one JSON object a line: what makes a killed evaluation go on.

{"key": K, "text", "tokens", "finished", "neutral" (a server's), "sum"} is an answer,
{"key": K, "graded": row, "sum"} a graded one; last lines win, and the sum is of the rest of the
line. A last line that was cut by a crash is dropped; one that was damaged since is passed over, and
its answer is asked for again. One process writes a journal at a time. Not here: what a key is made
of (endpoint.py, run.py).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import ConfigError, RecordsError
from oneshot_rlvr.records.files import Lock, append, clean_text, disk_errors, same_file

MOST_TOKENS = 2**31 - 1  # what the records hold

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came: a text, or the reason why none did ("timeout", "http_500", "garbage" ...)."""

    text: str = ""
    tokens: int | None = None
    finished: bool = False
    failure: str = ""
    said: str = ""  # the server's own words about a failure
    neutral: int | None = None  # what a server was sent beside the question (neutral.NEUTRAL)


class Journal:
    """Reopened, it knows all that was kept. RunError where another process writes it."""

    def __init__(self, path: Path):
        self.path = path
        self.answers: dict[str, Reply] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        # The lock is a file beside it: a journal that is moved away must not take it along.
        self._lock = Lock(
            path.with_name(f".{path.name}.lock"),
            "Wait for it, or choose another folder with --samples-out",
        )
        try:
            if path.exists():
                self._load()
            with disk_errors(path):
                # Open as long as the journal.
                self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        except BaseException:
            self._lock.release()
            raise

    def _load(self) -> None:
        whole, newline, rest = self.path.read_bytes().rpartition(b"\n")
        if rest:
            os.truncate(self.path, len(whole) + len(newline))
        damaged: list[int] = []
        for number, line in enumerate(whole.split(b"\n") if newline else [], start=1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                damaged.append(number)
        if not damaged:
            return
        if not self.answers and not self.rows:
            raise ConfigError(
                f"{self.path}, line {damaged[0]}, is no answer of an earlier call; move the file "
                "away to ask for everything anew."
            )
        log.warning(
            "%s: %d damaged lines (the first is line %d) are passed over; what they held is asked "
            "for again.",
            self.path,
            len(damaged),
            damaged[0],
        )

    def _take(self, entry: dict[str, Any]) -> None:
        key, told = entry["key"], entry.pop("sum", None)
        # Journals of earlier versions have no sums.
        if not isinstance(key, str) or told not in (None, _sum(entry)):
            raise ValueError("damaged")
        if "graded" in entry:
            self.rows[key] = dict(entry["graded"])
            return
        text, tokens, finished = entry["text"], entry["tokens"], entry["finished"]
        if not isinstance(text, str) or not isinstance(finished, bool):
            raise ValueError("damaged")
        self.answers[key] = Reply(
            clean_text(text),
            counted(tokens, MOST_TOKENS),
            finished,
            neutral=counted(entry.get("neutral"), MOST_TOKENS),
        )

    def answered(self, key: str, reply: Reply) -> None:
        """Keeps an answer."""
        self.answers[key] = reply
        entry = {
            "key": key,
            "text": reply.text,
            "tokens": reply.tokens,
            "finished": reply.finished,
        }
        self._write(entry if reply.neutral is None else {**entry, "neutral": reply.neutral})

    def graded(self, key: str, row: dict[str, Any]) -> None:
        """Keeps a graded answer."""
        self.rows[key] = row
        self._write({"key": key, "graded": row})

    def _write(self, entry: dict[str, Any]) -> None:
        # As it will be read: the sum must not depend on what JSON cannot say.
        entry = json.loads(json.dumps(entry).encode("ascii"))
        line = json.dumps({**entry, "sum": _sum(entry)}).encode("ascii") + b"\n"
        with disk_errors(self.path):
            append(self._file, line)
        if not same_file(self._file.fileno(), self.path):
            raise RecordsError(
                f"{self.path} was removed or moved away while answers were written to it. What it "
                "held is where it is now; put it back and start again to go on from there."
            )

    def close(self) -> None:
        """Ends it; the file stays."""
        self._file.close()
        self._lock.release()


def counted(tokens: Any, most: int) -> int | None:
    """A number of tokens that somebody else tells: None (unknown) where it cannot be one."""
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= most:
        return None
    return tokens


def _sum(entry: dict[str, Any]) -> str:
    told = json.dumps(entry, sort_keys=True)
    return hashlib.blake2b(told.encode("ascii"), digest_size=8).hexdigest()
