"""The process in which an item's tests run, and where results meet expected values.

Model code never enters it: the names that the tests use are stand-ins that call into the other
process (guest_model.py) and get plain values back. Standard library only; its code travels into
the sandbox, after that of wire.py.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import itertools
import json
import math
import os
import sys
import types

from oneshot_rlvr.verifiers.sandbox.called import classes, defined, tests_in
from oneshot_rlvr.verifiers.sandbox.guest_model import begin, limit, silence
from oneshot_rlvr.verifiers.sandbox.wire import Closed, decode, encode, receive, send

TYPE_CHECKING = False  # typing takes longer to import than most tests to run
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

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
    "__bool__",
)
MAX_STREAMED = 1_000_000  # items that tests may take of one iterator


class _Fault(BaseException):
    """The tests ask for what cannot cross between the processes."""


class _Refused(BaseException):
    """The code hands over what may not cross. Tests that expect an exception must not catch it."""


class _Remote:
    """Stands for something that lives with the model code. Equal to nothing but itself."""

    __slots__ = ("_line", "_target", "_type")
    _line: _Line
    _target: int | str
    _type: str

    def __init__(self, line: _Line, target: int | str, type_name: str = "function"):
        object.__setattr__(self, "_line", line)
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_type", type_name)

    def __repr__(self) -> str:
        return f"<{self._type} of the answer>"


class _Callable(_Remote):
    """A function or a bound method: it can be called, and nothing else."""

    __slots__ = ("_owner",)
    _owner: _Instance | None

    def __init__(
        self,
        line: _Line,
        target: int | str,
        type_name: str = "function",
        owner: _Instance | None = None,
    ):
        super().__init__(line, target, type_name)
        object.__setattr__(self, "_owner", owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # A class, by the tests' use of what it makes: that can be worked with.
        makes = self._target in self._line.classes
        return self._line.call(self._target, args, kwargs, makes, self._owner)


class _Attributes(_Remote):
    """Something whose attributes can be read and set."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        owner = self if isinstance(self, _Instance) else None
        request = {"do": "get", "target": self._target, "name": name}
        return self._line.ask(request, owner)

    def __setattr__(self, name: str, value: Any) -> None:
        line = self._line
        line.ask({"do": "set", "target": self._target, "name": name, "args": [line.out(value)]})


class _Named(_Callable, _Attributes):
    """A name of the code: its function or its class."""

    __slots__ = ()


class _Instance(_Attributes):
    """What a class of the code made for the tests: its methods and operators are under test."""

    __slots__ = ()

    def __iter__(self) -> Any:
        return self._line.ask({"do": "iterate", "target": self._target})


def _special(name: str) -> Any:
    def method(self: _Instance, *args: Any) -> Any:
        line = self._line
        if name == "__exit__":
            args = (None, None, None)
        out = [line.out(a) for a in args]
        return line.ask({"do": name, "target": self._target, "args": out}, self)

    return method


for _name in _SPECIAL:
    setattr(_Instance, _name, _special(_name))


class _Stream(_Remote):
    """A generator or other iterator: its items, plain values, can be taken one after the other."""

    __slots__ = ("_items",)
    _items: Any

    def __init__(self, line: _Line, target: int, type_name: str):
        super().__init__(line, target, type_name)
        object.__setattr__(self, "_items", self._taken())

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return next(self._items)

    def _taken(self) -> Any:
        taken = 0
        for count in itertools.chain((1, 1, 2, 4, 8, 32, 128, 512), itertools.repeat(1000)):
            reply = self._line.request({"do": "items", "target": self._target, "count": count})
            items = self._line.read(reply["value"])
            yield from items
            if reply.get("then"):
                self._line.checked(reply["then"])
            taken += len(items)
            if reply.get("ended") or not items or taken >= MAX_STREAMED:
                return


class _Line:
    """The connection to the process with the model code.

    What comes over it is plain values of built-in types, in containers of built-in types, or, as a
    whole, an iterator or something to call. An object of another type does not come over: whatever
    it says of itself, by an operator or a method, would be the code grading itself. The exception
    is what a class of the code, called by its capitalised name, makes for tests that use it as an
    object (`called.classes`).
    """

    def __init__(self, fd: int):
        self.fd = fd
        self.raised = ""  # the kind of the latest exception in the model code
        self.stopped: BaseException | None = None  # even if the tests caught it
        self.classes: set[Any] = set()  # names whose results the tests use as objects

    def out(self, value: Any) -> Any:
        return encode(value, self._handle)

    def ask(self, request: dict[str, Any], owner: _Instance | None = None) -> Any:
        return self.read(self.request(request)["value"], owner=owner)

    def call(
        self,
        target: int | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        makes: bool = False,
        owner: _Instance | None = None,
    ) -> Any:
        reply = self.request(
            {
                "do": "call",
                "target": target,
                "makes": makes,
                "args": [self.out(a) for a in args],
                "kwargs": {key: self.out(value) for key, value in kwargs.items()},
            }
        )
        for mine, changed in zip(args, reply["changed"], strict=True):
            if changed is not None:
                _change(mine, decode(changed, self._refuse))
        return self.read(reply["value"], makes, owner)

    def read(self, message: Any, makes: bool = False, owner: _Instance | None = None) -> Any:
        """The value of a reply. `makes`: the tests called a class. `owner`: whose method it was."""
        if not (isinstance(message, list) and message[0] == "handle"):
            return decode(message, self._refuse)
        number, type_name, kind = message[1]
        if owner is not None and number == owner._target:
            return owner  # a method that returns its object
        if makes:
            return _Instance(self, int(number), str(type_name))
        if kind == "stream":
            return _Stream(self, int(number), str(type_name))
        if kind == "callable":
            return _Callable(self, int(number), str(type_name), owner)
        return self._refuse(message[1])

    def names(self) -> list[str]:
        return [str(name) for name in self.checked(receive(self.fd))["names"]]

    def request(self, request: dict[str, Any]) -> Any:
        try:
            send(self.fd, request)
            return self.checked(receive(self.fd))
        except Closed as closed:
            self.stopped = closed
            raise

    def checked(self, reply: Any) -> Any:
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

    def _refuse(self, handle: Any) -> Any:
        self.stopped = _Refused(
            f"the code returned a {handle[1]!s:.60}, and only values of built-in types cross; "
            'tests that need the object itself take isolation = "shared"'
        )
        raise self.stopped

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
    """Tests, each a context: counted, and with `every` one that fails does not end the others.

    Nor does code that ends its process or hands over what may not cross: whatever is asked of it
    from then on fails, so that the share of tests is always of all of them.
    """

    def __init__(self, every: bool):
        self.every, self.tests, self.passed = every, 0, 0
        self.failure: BaseException | None = None

    def __enter__(self) -> None:
        self.tests += 1

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        self.passed += error is None
        return error is not None and self._held(error)

    @contextlib.contextmanager
    def between(self) -> Iterator[None]:
        """What the tests do besides testing: not counted, and ended as a test is."""
        try:
            yield
        except BaseException as error:
            if not self._held(error):
                raise

    def _held(self, error: BaseException) -> bool:
        if not self.every or not isinstance(error, (Exception, _Refused, Closed)):
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
    except _Refused as refused:
        return {"reason": "mismatch", "error": str(refused)}
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
    theirs = defined(setup["tests"])
    line.classes = classes(setup["tests"])
    for name in line.names():
        # A model that defines `all` must not thereby redefine it for the tests, nor a helper of
        # theirs that they define further down, and one that lies about its names must not put
        # `__builtins__` in their place.
        plain = name.isidentifier() and not name.startswith("__")
        if plain and (name == entry_point or not (hasattr(builtins, name) or name in theirs)):
            namespace[name] = _Named(line, name)
    if entry_point and entry_point not in namespace:
        namespace[entry_point] = _Named(line, entry_point)
    for case in setup["cases"]:
        with trial:
            result = line.call(entry_point, tuple(case["args"]), case["kwargs"])
            assert _same(case["expected"], result), "a case failed"
    if setup["tests"]:
        # The item's own tests, as trusted as its gold.
        for statement in ast.parse(setup["tests"], "tests.py").body if trial.every else ():
            piece = compile(ast.Module([statement], []), "tests.py", "exec")
            with trial if isinstance(statement, ast.Assert) else trial.between():
                exec(piece, namespace)  # noqa: S102
        if not trial.every:
            exec(compile(setup["tests"], "tests.py", "exec"), namespace)  # noqa: S102
        for test in tests_in(setup["tests"], namespace, entry_point):
            with trial:
                test()
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
