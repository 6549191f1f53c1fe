"""One family of errors. Each is also a stdlib error, so that callers may catch either.

A message says what came, what was wanted, and what to do. The CLI prints it as one line; `--debug`
shows the traceback.
"""

from __future__ import annotations

import errno
import os
import re

_QUOTED = re.compile(r"(`[^`]*`)")
_FLAG = re.compile(r"(?<![\w-])--([a-z][\w.-]*)((?: [A-Z][A-Z@\[\]|,]*\b)*)")
_SWITCHES = ("resume", "overwrite")


def with_arguments(text: str) -> str:
    """A message of the command line's as a caller in Python reads it: `--history-out DIR` is
    history_out, `--resume` is resume=True. What stands in backquotes is a command and stays."""

    def argument(flag: re.Match[str]) -> str:
        name = flag[1].replace("-", "_")
        return f"{name}=True" if name in _SWITCHES else name

    parts = _QUOTED.split(text)
    return "".join(p if p.startswith("`") else _FLAG.sub(argument, p) for p in parts)


_AGAIN = "start it again (a run with --resume)"
_NO_ROOM = {
    errno.ENOSPC: f"free some space and {_AGAIN}",
    errno.EDQUOT: f"free some space of your quota and {_AGAIN}",
    errno.EFBIG: f"raise the limit to a file's size (`ulimit -f`) and {_AGAIN}",
}


def room(error: BaseException) -> str:
    """What to do about a write that found no room, "" for any other error.

    Some libraries tell in words alone why the system refused; the words are the system's.
    """
    number, words = getattr(error, "errno", None), str(error)
    for code, advice in _NO_ROOM.items():
        if number == code or os.strerror(code) in words:
            return advice
    return ""


class OneshotError(Exception):
    """Base of every error a user can mend."""


class ConfigError(OneshotError, ValueError):
    """A recipe, flag or combination of settings that cannot work."""


class DataError(OneshotError, ValueError):
    """Examples that are missing, malformed, or whose gold their own verifier rejects."""


class ModelError(OneshotError, ValueError):
    """A model or tokenizer that cannot be loaded or that do not fit each other."""


class RunError(OneshotError, RuntimeError):
    """A run directory that cannot be used as asked: occupied, unfinished, of another recipe."""


class TrainingError(OneshotError, RuntimeError):
    """A run whose numbers broke down: it stops with the batch that shows why."""


class RecordsError(OneshotError, RuntimeError):
    """Records that cannot be read or written: another schema, a full disk, a broken file."""


class MissingDependencyError(OneshotError, ImportError):
    """An optional package is needed for what was asked."""


class GraderError(OneshotError, RuntimeError):
    """The grader itself is broken (never the model's text): a crash must not read as `wrong`."""


class EndpointError(OneshotError, ConnectionError):
    """A server of answers that cannot be used at all; a single answer that fails is counted."""


class UnknownNameError(OneshotError, KeyError):
    """A name that no registry entry has; the message lists them and names the nearest."""

    def __str__(self) -> str:  # KeyError would show the repr
        return str(self.args[0]) if self.args else ""
