"""What the tries share: how they may end, a command in a fork, ways to harm it and its files.

The program imports the package once and forks every command; the parent never computes with it, so
that a fork finds no loop compiled and no thread running. Not here: what is tried (the other files).
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from oneshot_rlvr.cli import main

SURVIVED, LOST, WRONG = "survived", "lost", "silently wrong"
LONGEST_SECONDS = 1200.0  # of one command: many times what it takes, on a busy machine too
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of unshare(2)
_PRIVATE = (1 << 14) | (1 << 18)  # MS_REC | MS_PRIVATE of mount(2)
_REMOUNT = 32
_CHANGES = ("os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir", "shutil.rmtree")


class NotSurvived(Exception):
    """A try that ended badly; `outcome` is LOST or WRONG."""

    def __init__(self, outcome: str, what: str):
        super().__init__(what)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (negative: a signal), and what it said to stderr."""

    code: int
    said: str
    changes: int

    def expect(self, *codes: int) -> Ended:
        """NotSurvived for another exit code, or a traceback: the harm was not told as it should."""
        if self.code not in codes or "Traceback" in self.said:
            raise NotSurvived(LOST, f"exit code {self.code}: {self.said[-600:]}")
        return self


def command(
    argv: list[str],
    folder: Path,
    *,
    before: Callable[[], None] = lambda: None,
    dies_at: int | None = None,
    signal_after: tuple[int, float] | None = None,
) -> Ended:
    """Runs `oneshot ARGV` in a fork, in a folder.

    before: called in the fork first. dies_at: SIGKILL just before so many openings, renamings and
    removals of files. signal_after: a signal, and when it comes.
    """
    return Running(argv, folder, before, dies_at).wait(signal_after)


class Running:
    """The same while it runs; `wait` for its end."""

    def __init__(
        self,
        argv: list[str],
        folder: Path,
        before: Callable[[], None] = lambda: None,
        dies_at: int | None = None,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self._said, self._words = b"", os.pipe()  # no file: one would be limited as its files are
        self._reading, writing = os.pipe()
        os.set_blocking(self._words[0], False)
        sys.stdout.flush()
        self._child = os.fork()
        if self._child:
            os.close(writing)
            os.close(self._words[1])
            return
        code = 70
        try:
            os.setsid()
            os.chdir(folder)
            for number in (0, 1):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.dup2(self._words[1], 2)
            before()
            count = _count_changes(folder, dies_at)
            code = main(argv)
            os.write(writing, str(count[0]).encode())
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(code)

    def wait(self, signal_after: tuple[int, float] | None = None) -> Ended:
        """How it ended."""
        began = time.monotonic()
        pause = 0.002
        while True:
            pid, status = os.waitpid(self._child, os.WNOHANG)
            self._listen()
            if pid:
                break
            passed = time.monotonic() - began
            if signal_after is not None and passed >= signal_after[1]:
                with suppress(ProcessLookupError):
                    os.kill(self._child, signal_after[0])
                signal_after = None
            if passed > LONGEST_SECONDS:
                os.killpg(self._child, signal.SIGKILL)
                os.waitpid(self._child, 0)
                raise NotSurvived(LOST, f"no end within {LONGEST_SECONDS:.0f} s")
            left = LONGEST_SECONDS if signal_after is None else signal_after[1] - passed
            time.sleep(max(0.0, min(pause, left)))
            pause = min(0.05, 1.5 * pause)
        with os.fdopen(self._reading, "rb") as told:
            changes = told.read()
        os.close(self._words[0])
        said = self._said.decode("utf-8", "replace")
        return Ended(os.waitstatus_to_exitcode(status), said, int(changes or 0))

    def _listen(self) -> None:
        """Takes what it has said; a full pipe would hold it up."""
        with suppress(BlockingIOError):
            while part := os.read(self._words[0], 1 << 16):
                self._said += part


def _count_changes(folder: Path, dies_at: int | None) -> list[int]:
    """Counts, from now on, what changes files below the folder; dies before one of them."""
    below, count = f"{folder.resolve()}{os.sep}", [0]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in _CHANGES:
            return
        path = arguments[0]
        if isinstance(path, int):
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(below):  # type: ignore[arg-type]
            return
        count[0] += 1
        if count[0] == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def small_files(limit: int) -> Callable[[], None]:
    """In a fork: a file that grows beyond the limit is refused (EFBIG), as by a quota."""

    def before() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return before


class SmallDisk:
    """A disk of its own for the calling process and its children; False where none is allowed."""

    def __init__(self, folder: Path, limit: int):
        self._folder = folder
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.made = (
            hasattr(self._libc, "unshare")
            and self._libc.unshare(_NEW_MOUNTS) == 0
            and self._libc.mount(b"none", b"/", None, _PRIVATE, None) == 0
            and self._mount(0, limit)
        )

    def grow(self) -> bool:
        """Room for everything."""
        return self._mount(_REMOUNT, 1 << 30)

    def _mount(self, flags: int, size: int) -> bool:
        place, told = os.fsencode(self._folder), f"size={size}".encode()
        return bool(self._libc.mount(b"none", place, b"tmpfs", flags, told) == 0)


def harm(path: Path, draw: random.Random) -> bytes:
    """One bit, or a cut, or nothing left; what was there before."""
    before = path.read_bytes()
    data = bytearray(before)
    way = draw.random()
    if way < 0.5 and len(data) > 1:
        data = data[: draw.randrange(len(data))]
    elif way < 0.55:
        data = bytearray()
    else:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return before


def fresh(folder: Path) -> Path:
    """An empty folder of that name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
