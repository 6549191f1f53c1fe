"""The process in which model code runs. It is told nothing but the code and the calls to make.

Standard library only; its source travels into the sandbox as text, after that of wire.py.
Assume that model code has replaced everything in here: it can lie about what its own functions
return, and that is all it can do. Nothing secret and nothing that decides is in this process.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import functools
import json
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from oneshot_rlvr.verifiers.sandbox.wire import Closed, decode, encode, receive, send

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


def defined(tests: str) -> set[str]:
    """Names that the tests define or import for themselves; the code has no part in them."""
    names = set()
    left: list[ast.AST] = list(ast.parse(tests).body)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        else:
            left += ast.iter_child_nodes(node)
    return names


def run_tests(source: str, namespace: dict[str, Any], entry_point: str) -> None:
    """Call what the tests define for somebody else to call, in their order."""
    for test in tests_in(source, namespace, entry_point):
        test()


def tests_in(
    source: str, namespace: dict[str, Any], entry_point: str
) -> Iterator[Callable[[], None]]:
    """What tests that have been executed define to be called: each to be called once.

    `check(candidate)`; functions named test...; the test methods of unittest.TestCase classes and
    of classes named Test... What the tests' own top level calls is not called again.
    """
    called = set()
    for statement in ast.parse(source).body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(statement, ast.If) and "__main__" in ast.dump(statement.test):
            continue  # never true here
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func.id)
    for name in _in_order(source):
        thing = namespace.get(name)
        if name in called or thing is None:
            continue
        if name == "check" and entry_point:
            yield functools.partial(thing, namespace[entry_point])
        elif isinstance(thing, type):
            yield from _methods(thing)
        elif name.startswith("test"):
            yield functools.partial(_call, thing)


def _in_order(source: str) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in ast.parse(source).body if isinstance(node, kinds)]


def _methods(thing: type) -> Iterator[Callable[[], None]]:
    unittest = sys.modules.get("unittest")  # the tests have imported it, if they use it
    if unittest is not None and issubclass(thing, unittest.TestCase):
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(thing)
        yield functools.partial(suite.run, _Strict(unittest.TestResult()))
    elif thing.__name__.startswith("Test"):
        for name in dir(thing):
            if name.startswith("test"):
                yield functools.partial(_method, thing, name)


def _call(test: Any) -> None:
    _finish(test())


def _method(kind: type, name: str) -> None:
    one = kind()
    for prepare in ("setup_class", "setup_method", "setup"):
        if callable(getattr(one, prepare, None)):
            getattr(one, prepare)()
    _finish(getattr(one, name)())


def _finish(result: Any) -> None:
    """Run a coroutine to its end. It may await others, but nothing that needs an event loop."""
    if hasattr(type(result), "__await__"):
        try:
            result.send(None)
        except StopIteration:
            return
        raise RuntimeError("a test waits for an event loop, which the sandbox has none of")


class _Strict:
    """A unittest result that raises what a test raised, as a plain assert would."""

    def __init__(self, result: Any):
        self._result = result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._result, name)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value) if name == "_result" else setattr(
            self._result, name, value
        )

    def addError(self, test: Any, problem: Any) -> None:
        raise problem[1]

    addFailure = addError

    def addSubTest(self, test: Any, subtest: Any, problem: Any) -> None:
        if problem is not None:
            raise problem[1]


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
        result = encode(thing(*args, **kwargs), keep)
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
