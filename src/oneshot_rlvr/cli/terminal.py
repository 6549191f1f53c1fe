"""The one way to the terminal: what comes from outside cannot steer it.

Names of families and runs, questions, a server's words and paths may hold escape codes, which move
the cursor, colour, retitle or worse, and marks that turn the direction of text. They are shown as
what they are: ESC as its picture. Every verb prints through `say` or `Console`, and what the
package logs passes `tame_log`; a test walks the room. Not here: what is said.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_KEPT = "\n\t"
_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)
_PICTURES = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in _KEPT},  # control pictures
    0x7F: 0x2421,
    **dict.fromkeys((*range(128, 160), 8232, 8233, *_TURNING), 65533),
}


def inert(text: str) -> str:
    """The text without a character that steers a terminal; one shown for each."""
    return text.translate(_PICTURES)


def say(*words: object, end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """`print`, of inert text."""
    out = sys.stdout if file is None else file
    print(inert(" ".join(map(str, words))), end=end, file=out, flush=flush)


class _Inert(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return inert(super().format(record))


def tame_log() -> None:
    """Warnings reach stderr inert: they repeat names and a server's words."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Inert())


def flush() -> None:
    """What was printed leaves now, where an error can still be told; OSError where it cannot."""
    if sys.stdout is not None:
        sys.stdout.flush()


def give_up() -> None:
    """What cannot leave (a full disk, a reader that has gone) is dropped.

    Else the interpreter tries once more on its way out, and ends with a code of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def console(**options: Any) -> Console:
    """A rich console whose every segment is inert; what rich itself steers with stays."""
    from rich.console import Console as RichConsole
    from rich.segment import Segment

    class Inert(RichConsole):
        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control or segment.text.isprintable():
                    yield segment
                else:
                    yield Segment(inert(segment.text), segment.style, segment.control)

    return Inert(**options)
