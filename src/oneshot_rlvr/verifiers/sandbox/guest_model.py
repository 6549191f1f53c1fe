"""The process in which model code runs. It is told nothing but the code and the calls to make.

Standard library only; its code travels into the sandbox, after that of wire.py.
Assume that model code has replaced everything in here: it can lie about what its own functions
return, and that is all it can do. Nothing secret and nothing that decides is in this process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import types

from oneshot_rlvr.verifiers.sandbox.wire import Closed, decode, encode, receive, send

TYPE_CHECKING = False  # typing and ast would take longer to import than most tests to run
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MEMORY_EXIT = 99  # run.py knows it
MAX_ITEMS = 1000  # of an iterator, handed over at once


def main() -> None:
    """Serve calls until the other side closes, or run the code as a program."""
    setup = json.loads(sys.stdin.buffer.readline())
    limit(setup["limits"])
    begin()
    if setup["mode"] == "program":
        _program(setup["code"], setup["stdin"])
        return
    silence(0, 1)
    if setup["mode"] == "shared":
        _shared(setup)
    else:
        _functions(setup["code"], setup["fd"])


def begin() -> None:
    """Tell the host that the limits hold, and stop complaining to it."""
    die_with_the_other_end(os.dup(0))
    os.write(1, b"R")
    silence(2)


def die_with_the_other_end(pipe: int) -> None:
    """SIGKILL when the host, which writes nothing more into this pipe, is gone."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def silence(*streams: int) -> None:
    """Connect standard streams to nothing."""
    null = os.open("/dev/null", os.O_RDWR)
    for stream in streams:
        os.dup2(null, stream)
    os.close(null)


def limit(limits: dict[str, int]) -> None:
    """Hard limits, which no later code can raise again."""
    import resource

    sys.dont_write_bytecode = True
    for name, value in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))


def _program(code: str, standard_input: str) -> None:
    import threading

    reader, writer = os.pipe()
    threading.Thread(
        target=_pour, args=(writer, standard_input.encode("utf-8", "replace")), daemon=True
    ).start()
    os.dup2(reader, 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - the program's own
    sys.argv = ["answer.py"]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        _load(code, module)
    except MemoryError:
        os._exit(MEMORY_EXIT)


def _pour(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(fd, data) :]
    os.close(fd)


def _load(code: str, module: types.ModuleType) -> None:
    # The one place where a model's text is run, and the reason for the walls around it.
    exec(compile(code, "answer.py", "exec"), module.__dict__)  # noqa: S102


def _shared(setup: dict[str, Any]) -> None:
    from oneshot_rlvr.verifiers.sandbox.called import defined, run_tests

    word = "mismatch"
    module = types.ModuleType("answer")
    try:
        try:
            _load(setup["code"], module)
        except SyntaxError:
            word = "unparseable"
            raise
        tests, entry_point = setup["tests"], setup["entry_point"]
        namespace = {
            name: value
            for name, value in module.__dict__.items()
            if name == entry_point or name not in defined(tests)
        }
        exec(compile(tests, "tests.py", "exec"), namespace)  # noqa: S102 - the item's own
        run_tests(tests, namespace, entry_point)
        word = setup["nonce"]
    except AssertionError:
        pass
    except MemoryError:
        word = "memory"
    except BaseException:
        word = word if word == "unparseable" else "error"
    os.write(setup["fd"], word.encode())


def _functions(code: str, fd: int) -> None:
    objects: list[Any] = []
    numbers: dict[int, int] = {}  # id -> its place: one object has one handle

    def keep(value: Any) -> Any:
        if isinstance(value, _VIEWS):
            value = iter(value)
        number = numbers.get(id(value))
        if number is None:
            number = numbers[id(value)] = len(objects)
            objects.append(value)
        return ["handle", [number, type(value).__name__, _kind(value)]]

    def say(message: Any) -> None:
        try:
            send(fd, message)
        except ValueError as error:
            send(fd, _raised(error))

    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    try:
        _load(code, module)
        names = [n for n in list(module.__dict__) if type(n) is str and not n.startswith("__")]
        say({"names": names})
    except BaseException as error:
        say(_raised(error))
        return
    while True:
        try:
            request = receive(fd)
        except Closed:
            return
        try:
            say(_answer(request, module, objects, keep))
        except BaseException as error:
            say(_raised(error))


_VIEWS: tuple[type[Iterable[Any]], ...] = (type({}.keys()), type({}.values()), type({}.items()))


def _kind(value: Any) -> str:
    """How the other side may use it: to take items from, to call, or not at all."""
    if hasattr(type(value), "__next__"):
        return "stream"
    return "callable" if callable(value) else "object"


def _answer(request: Any, module: Any, objects: list[Any], keep: Any) -> Any:
    def find(handle: Any) -> Any:
        return getattr(module, handle) if isinstance(handle, str) else objects[handle]

    what, target = request["do"], request["target"]
    thing = find(target)
    args = [decode(a, find) for a in request.get("args", [])]
    if what == "call":
        kwargs = {k: decode(v, find) for k, v in request["kwargs"].items()}
        before = [
            encode(a, keep) if isinstance(a, (list, dict, set, bytearray)) else None for a in args
        ]
        made = thing(*args, **kwargs)
        # What the tests use as an object stays one, be its class a list's or a dict's.
        own = request["makes"] and type(made).__module__ != "builtins"
        result = keep(made) if own else encode(made, keep)
        after = [
            encode(a, keep) if b is not None else None for a, b in zip(args, before, strict=True)
        ]
        changed = [a if a != b else None for a, b in zip(after, before, strict=True)]
        return {"value": result, "changed": changed}
    if what == "get":
        return {"value": encode(getattr(thing, request["name"]), keep)}
    if what == "set":
        setattr(thing, request["name"], args[0])
        return {"value": None}
    if what == "iterate":
        return {"value": encode(_Items(thing), keep)}
    if what == "items":
        return _items(thing, request["count"], keep)
    if what == "__bool__":
        return {"value": bool(thing)}
    return {"value": encode(getattr(type(thing), what)(thing, *args), keep)}  # a special method


class _Items:
    """An iterator of anything that can be iterated, for the other side to take items from."""

    def __init__(self, thing: Any):
        self._items = iter(thing)
        self.taken = 0

    def __next__(self) -> Any:
        return next(self._items)


def _items(thing: Any, count: int, keep: Any) -> Any:
    """Up to `count` further items. An exception is told when it is the next thing to come."""
    items: list[Any] = []
    while len(items) < min(count, MAX_ITEMS):
        try:
            items.append(encode(next(thing), keep))
        except StopIteration:
            return {"value": ["list", items], "ended": True}
        except Exception as error:
            if not items:
                raise
            return {"value": ["list", items], "ended": False, "then": _raised(error)}
    return {"value": ["list", items], "ended": False}


def _raised(error: BaseException) -> dict[str, Any]:
    try:
        text = str(error)[:500]
    except BaseException:
        text = ""
    return {"raised": [kind.__name__ for kind in type(error).__mro__], "message": text}
