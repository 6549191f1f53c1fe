"""The process between the pool and its worker: what it guards cannot outlive it, nor its parent.

`guarded` forks: the child returns and does the work, the parent stays and waits for the child's end
or for the life line, a pipe whose other end the pool holds. It readable or closed means that the
pool wants an end, or has died in whatever way. Then everything that descends from the child is
killed, also what left its session: the guard is the reaper of its orphans (prctl(2)). Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

_PDEATHSIG, _CHILD_SUBREAPER = 1, 36  # prctl's options
_ROUNDS = 200  # of killing what is still there, 5 ms apart


def guarded(life_line: int) -> bool:
    """True in the child, which is guarded from here on; False where there is no such thing.

    The parent never returns: it ends as its child did.
    """
    if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open"):
        return False
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        if prctl(_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            return False
        guard = os.getpid()
        child = os.fork()
    except (OSError, AttributeError):
        return False
    if child == 0:
        prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
        os.close(life_line)  # what a verifier starts must not hold it
        return True
    _stand_guard(child, life_line)
    raise AssertionError("the guard has ended")


def _stand_guard(child: int, life_line: int) -> None:
    """Waits, ends what is left, and ends as the child did."""
    for stream in (0, 1):  # the worker's alone: its end is then seen at the other side
        os.close(stream)
    ends = os.pidfd_open(child)
    select.select([ends, life_line], [], [])
    status = _reap(child)
    if status is None:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    _kill_descendants()
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(max(code, 0))


def _reap(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return status if pid == child else None


def _kill_descendants() -> None:
    for _ in range(_ROUNDS):
        left = _descendants(os.getpid())
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not left:
            return
        time.sleep(0.005)


def _descendants(of: int) -> list[int]:
    """Every process below this one, by /proc."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                open(f"/proc/{name}/stat") as f,
            ):
                # The command's name stands in brackets and may hold anything.
                parents[int(name)] = int(f.read().rpartition(")")[2].split()[1])
    found, new = set[int](), {of}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return sorted(found)
