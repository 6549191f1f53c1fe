"""The process in which an item's tests run, and where results meet expected values.

Model code never enters it: the names that the tests use are stand-ins that call into the other
process (guest_model.py) and get plain values back. Standard library only; its source travels into
the sandbox as text, after that of wire.py.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import json
import math
import os
import sys
import types
from typing import Any

from oneshot_rlvr.verifiers.sandbox.guest_model import begin, limit, silence
from oneshot_rlvr.verifiers.sandbox.wire import Closed, decode, encode, receive, send

_SPECIAL = (
    "__len__",
    "__getitem__",
    "__setitem__",
    "__delitem__",
    "__contains__",
    "__str__",
    "__int__",
    "__float__",
    "__add__",
    "__sub__",
    "__mul__",
    "__truediv__",
    "__floordiv__",
    "__mod__",
    "__pow__",
    "__neg__",
    "__radd__",
    "__rsub__",
    "__rmul__",
    "__enter__",
    "__exit__",
    "__next__",
)


class _Fault(BaseException):
    """The tests ask for what cannot cross between the processes."""


class _Remote:
    """Stands for an object that lives with the model code. Equal to nothing but itself."""

    __slots__ = ("_line", "_target", "_type")

    def __init__(self, line: _Line, target: int | str, type_name: str = "function"):
        object.__setattr__(self, "_line", line)
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_type", type_name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._line.call(self._target, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._line.ask({"do": "get", "target": self._target, "name": name})

    def __setattr__(self, name: str, value: Any) -> None:
        line = self._line
        line.ask({"do": "set", "target": self._target, "name": name, "args": [line.out(value)]})

    def __iter__(self) -> Any:
        return iter(self._line.ask({"do": "items", "target": self._target}))

    def __repr__(self) -> str:
        return f"<{self._type} of the answer>"


def _special(name: str) -> Any:
    def method(self: _Remote, *args: Any) -> Any:
        line = self._line
        if name == "__exit__":
            args = (None, None, None)
        out = [line.out(a) for a in args]
        return line.ask({"do": name, "target": self._target, "args": out})

    return method


for _name in _SPECIAL:
    setattr(_Remote, _name, _special(_name))


class _Line:
    """The connection to the process with the model code."""

    def __init__(self, fd: int):
        self.fd = fd
        self.raised = ""  # the kind of the latest exception in the model code
        self.stopped: BaseException | None = None  # Closed or _Fault, even if the tests caught it

    def out(self, value: Any) -> Any:
        return encode(value, self._handle)

    def ask(self, request: dict[str, Any]) -> Any:
        return decode(self._reply(request)["value"], self._remote)

    def call(self, target: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        reply = self._reply(
            {
                "do": "call",
                "target": target,
                "args": [self.out(a) for a in args],
                "kwargs": {key: self.out(value) for key, value in kwargs.items()},
            }
        )
        for mine, changed in zip(args, reply["changed"], strict=True):
            if changed is not None:
                _change(mine, decode(changed, self._remote))
        return decode(reply["value"], self._remote)

    def names(self) -> list[str]:
        return [str(name) for name in self._checked(receive(self.fd))["names"]]

    def _reply(self, request: dict[str, Any]) -> Any:
        try:
            send(self.fd, request)
            return self._checked(receive(self.fd))
        except Closed as closed:
            self.stopped = closed
            raise

    def _checked(self, reply: Any) -> Any:
        if "raised" not in reply:
            return reply
        self.raised = str(reply["raised"][0])
        for name in reply["raised"]:
            kind = getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception):
                try:
                    error = kind(reply["message"])
                except Exception:  # UnicodeDecodeError and the like want more than a message
                    continue
                error._of_the_answer = True  # type: ignore[attr-defined]
                raise error
        error = RuntimeError(f"{self.raised}: {reply['message']}")
        error._of_the_answer = True  # type: ignore[attr-defined]
        raise error

    def _remote(self, handle: Any) -> _Remote:
        number, type_name = handle
        return _Remote(self, number, str(type_name))

    def _handle(self, value: Any) -> Any:
        if isinstance(value, _Remote):
            return ["handle", value._target]
        if not isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type)):
            raise TypeError(f"a {type(value).__name__} cannot be handed over")
        # Only the tests themselves can have made it.
        self.stopped = _Fault(f"a {type(value).__name__} as an argument")
        raise self.stopped


def _change(mine: Any, new: Any) -> None:
    """Make my argument what the call made of its copy."""
    if type(mine) is not type(new):
        return
    if isinstance(mine, (list, bytearray)):
        mine[:] = new
    else:
        mine.clear()
        mine.update(new)


def main() -> None:
    """Run the tests and report {"reason": ...} on what was standard output."""
    setup = json.loads(sys.stdin.buffer.readline())
    limit(setup["limits"])
    report = os.dup(1)
    begin()
    silence(0, 1)
    send(report, _outcome(setup))


class _Trial:
    """Tests, each a context: counted, and with `every` one that fails does not end the others."""

    def __init__(self, every: bool):
        self.every, self.tests, self.passed = every, 0, 0
        self.failure: BaseException | None = None

    def __enter__(self) -> None:
        self.tests += 1

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        self.passed += error is None
        if error is None or not self.every or not isinstance(error, Exception):
            return False
        self.failure = self.failure or error
        return True


def _outcome(setup: dict[str, Any]) -> dict[str, Any]:
    trial = _Trial(setup["every"])
    outcome = _judged(setup, trial)
    if trial.every and trial.tests:
        return {**outcome, "passed": trial.passed, "tests": trial.tests}
    return outcome


def _judged(setup: dict[str, Any], trial: _Trial) -> dict[str, Any]:
    line = _Line(setup["fd"])
    try:
        _run(setup, line, trial)
        if line.stopped is not None:
            raise line.stopped
        return {"reason": "correct"}
    except Closed:
        return {"reason": "error", "error": "the code ended its own process"}
    except _Fault as fault:
        return {"fault": str(fault)}
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}"[:300]
        if not getattr(error, "_of_the_answer", False):
            return {"reason": "mismatch", "error": text}
        if line.raised == "MemoryError":
            return {"reason": "memory", "error": text}
        broken = line.raised in ("SyntaxError", "IndentationError", "TabError")
        return {"reason": "unparseable" if broken else "error", "error": text}


def _run(setup: dict[str, Any], line: _Line, trial: _Trial) -> None:
    entry_point = setup["entry_point"]
    namespace: dict[str, Any] = {"__name__": "tests"}
    for name in line.names():
        # A model that defines `all` must not thereby redefine it for the tests, and one that
        # lies about its names must not put `__builtins__` in their place.
        plain = name.isidentifier() and not name.startswith("__")
        if plain and (not hasattr(builtins, name) or name == entry_point):
            namespace[name] = _Remote(line, name)
    if entry_point and entry_point not in namespace:
        namespace[entry_point] = _Remote(line, entry_point)
    for case in setup["cases"]:
        with trial:
            result = line.call(entry_point, tuple(case["args"]), case["kwargs"])
            assert _same(case["expected"], result), "a case failed"
    if setup["tests"]:
        # The item's own tests, as trusted as its gold.
        for statement in ast.parse(setup["tests"], "tests.py").body if trial.every else ():
            piece = compile(ast.Module([statement], []), "tests.py", "exec")
            with trial if isinstance(statement, ast.Assert) else contextlib.nullcontext():
                exec(piece, namespace)  # noqa: S102
        if not trial.every:
            exec(compile(setup["tests"], "tests.py", "exec"), namespace)  # noqa: S102
        check = namespace.get("check")
        if entry_point and callable(check) and not isinstance(check, _Remote):
            check(namespace[entry_point])
    if trial.failure is not None:
        raise trial.failure


def _same(expected: Any, result: Any) -> bool:
    """Equal, where JSON has one kind of list and floats carry noise."""
    if isinstance(expected, bool) or isinstance(result, bool):
        return expected is result
    if isinstance(expected, (int, float)) and isinstance(result, (int, float)):
        return expected == result or math.isclose(expected, result, rel_tol=1e-9)
    if isinstance(expected, list) and isinstance(result, (list, tuple)):
        return len(expected) == len(result) and all(map(_same, expected, result))
    if isinstance(expected, dict) and isinstance(result, dict):
        return expected.keys() == result.keys() and all(
            _same(value, result[key]) for key, value in expected.items()
        )
    return type(expected) is type(result) and bool(expected == result)
