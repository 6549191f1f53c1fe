"""A grading process: reads one JSON task a line, answers one JSON line, until its input ends.

Run by pool.py as `python -c ... main()`, never by hand. It protects its parent, not itself: the
parent kills it at the deadline. It cannot outlive its parent, even inside one long C call: a guard
(guard.py) ends it and what it has started when the other end of its life line closes; without a
guard the kernel's signal for that does it, else, later, the end of its input (noticed by a thread)
and a CPU limit, set anew for every task.
Not here: choosing what to do with a verdict.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from typing import Any, BinaryIO

from oneshot_rlvr.rewards.guard import guarded

CPU_MARGIN_SECONDS = 10  # beyond the deadline, at which the parent kills
RECURSION_LIMIT = 2000  # sympy needs about 1000; far below what the C stack bears


def main(timeout_seconds: float, memory_bytes: int, life_line: int) -> None:
    """Serve tasks from stdin to stdout. Anything printed by a verifier goes to stderr."""
    if not guarded(life_line):
        _die_with_the_other_end(life_line)
    me = os.getpid()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.setrecursionlimit(RECURSION_LIMIT)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, tasks), daemon=True).start()
    limited = False
    while True:
        task = json.loads(tasks.get())
        number = {"number": task["number"]}  # an answer says what it answers
        try:
            verifier = _verifier(task["verifier"])
            if not limited:  # after the heavy imports, which may map more than they use
                _limit_memory(memory_bytes)
                limited = True
        except BaseException as error:  # SystemExit too: a verifier's, whatever it meant by it
            _send(answers, {"error": _described(error), **number})
            continue
        _limit_cpu(timeout_seconds)
        _send(answers, {"started": True, **number})
        answer = _graded(verifier, task)
        if os.getpid() != me:  # a fork that the verifier made came back too; it has no say
            os._exit(0)
        _send(answers, {**answer, **number})


def _die_with_the_other_end(pipe: int) -> None:
    """SIGKILL, sent by the kernel, when nobody holds the writing end of the pipe any more.

    Not PR_SET_PDEATHSIG, which goes by the thread that started this process, not its process.
    """
    with contextlib.suppress(ImportError, AttributeError, OSError):  # Linux only
        import fcntl
        import select
        import signal

        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([pipe], [], [], 0)[0]:  # it had closed before
            os._exit(0)


def _read(stream: BinaryIO, tasks: queue.SimpleQueue[bytes]) -> None:
    for line in stream:
        tasks.put(line)
    os._exit(0)  # the parent closed the pipe or died


def _verifier(name: str) -> Any:
    from oneshot_rlvr.verifiers import get_verifier

    verifier = get_verifier(name)
    verifier.warm()
    return verifier


def _graded(verifier: Any, task: dict[str, Any]) -> dict[str, Any]:
    from oneshot_rlvr.types import Example

    example = Example(
        id=task["id"],
        question=task["question"],
        answer=task["gold"],
        verifier=task["verifier"],
        extra=task["extra"],
    )
    try:
        if task["answer"] is None:
            verifier.check_gold(example)
            return {"correct": True, "reason": "correct", "extracted": None, "details": {}}
        verdict = verifier.compare(task["answer"], example)
        verdict = verifier.scored(verdict, task["answer"], example)
        return {
            "correct": verdict.correct,
            "reason": str(verdict.reason),
            "extracted": verdict.extracted,
            "details": dict(verdict.details),
            "score": verdict.score,
        }
    except MemoryError:
        return {"memory": True}
    except RecursionError:
        return {"recursion": True}
    except BaseException as error:  # SystemExit, KeyboardInterrupt: no verdict either
        return {"error": _described(error)}


def _described(error: BaseException) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error)}


def _send(stream: Any, message: dict[str, Any]) -> None:
    data = (json.dumps(message, default=_plain_or_text) + "\n").encode("ascii")
    while data:
        data = data[stream.write(data) :]


def _plain_or_text(value: Any) -> Any:
    """numpy's numbers as numbers: str() would make a text of them, and "False" is true."""
    return value.item() if hasattr(value, "item") and not getattr(value, "ndim", 0) else str(value)


def _limit_memory(memory_bytes: int) -> None:
    if memory_bytes:
        with contextlib.suppress(ImportError, ValueError, OSError):
            import resource

            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, hard))


def _limit_cpu(timeout_seconds: float) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(usage.ru_utime + usage.ru_stime + timeout_seconds + CPU_MARGIN_SECONDS) + 1
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
