"""Run model code against an item's tests, inside the sandbox, until the deadline.

Three ways: `isolated` (calls; expected values in a process of their own), `program` (standard
input and output; compared here) and `shared` (tests in the model's process: weaker, for tests that
must touch the code's own objects).
"""

from __future__ import annotations

import json
import marshal
import os
import secrets
import selectors
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from oneshot_rlvr.errors import DataError, GraderError
from oneshot_rlvr.types import Reason
from oneshot_rlvr.verifiers.sandbox import confine, wire

OUTPUT_BYTES = 1 << 20  # of a program; more is output_limit
STARTUP_SECONDS = 120.0  # on a busy machine, many times over
MEMORY_EXIT = 99  # guest_model exits so after a MemoryError in a program

_PACKAGE = "oneshot_rlvr.verifiers.sandbox"
# The guest's own modules arrive compiled, by the same interpreter: compiling them would take longer
# than most tests.
_BOOT = (
    "import binascii, json, marshal, sys, types\n"
    "d = json.loads(sys.stdin.buffer.readline())\n"
    "for n, c in d['modules']:\n"
    "    m = sys.modules[n] = types.ModuleType(n)\n"
    "    exec(marshal.loads(binascii.a2b_base64(c)), m.__dict__)\n"
    "sys.modules[d['run']].main()\n"
)
_CPU_LIMIT_CODES = (128 + 24, 128 + 9, -24)  # SIGXCPU, or SIGKILL at the hard limit


@dataclass(frozen=True, slots=True)
class Ending:
    """How the code fared."""

    reason: Reason
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the tests that were run, those that passed; below 1 where the whole did not."""
        passed, tests = self.details.get("passed", 0), self.details.get("tests", 0)
        return passed / (tests + (passed == tests)) if tests else 0.0


@dataclass(frozen=True, slots=True)
class Tests:
    """What code must pass. `source` is assert-style; `cases` are calls with expected values."""

    source: str = ""
    cases: Sequence[Mapping[str, Any]] = ()
    programs: Sequence[Mapping[str, str]] = ()
    entry_point: str = ""


def run(
    code: str,
    tests: Tests,
    *,
    timeout_seconds: float,
    sandbox: str,
    shared: bool,
    every: bool = False,
) -> Ending:
    """Run all the tests, within one deadline. The ending's reason is `correct` if all pass.

    `every`: tests behind one that fails are run too, and counted in the details (`passed` of
    `tests`). The deadline is the code's: how long a sandbox takes to start does not count.
    Errors: MissingDependencyError, GraderError for a sandbox that cannot be used; DataError for
    tests that cannot be run isolated. Never for the code.
    """
    # A lone surrogate has no place in source code; the compiler says so inside the sandbox.
    left = timeout_seconds
    limits = confine.limits(timeout_seconds)
    passed, failed = 0, None
    for number, program in enumerate(tests.programs):
        ending, spent = _program(code, program, left, limits, sandbox)
        left -= spent
        if ending.reason is Reason.CORRECT:
            passed += 1
            continue
        failed = failed or Ending(ending.reason, {**ending.details, "test": number})
        if not every or left <= 0:
            break
    count = {"passed": passed, "tests": len(tests.programs)} if every and tests.programs else {}
    if failed is not None:
        return Ending(failed.reason, {**failed.details, **count})
    if tests.source or tests.cases:
        setup = {"code": code, "limits": limits, "entry_point": tests.entry_point, "every": every}
        if shared:
            return _shared({**setup, "tests": tests.source}, left, sandbox)
        cases = [dict(case) for case in tests.cases]
        return _isolated({**setup, "tests": tests.source, "cases": cases}, left, sandbox)
    return Ending(Reason.CORRECT, count)


class _Guest:
    """One confined process. A context: it is dead when the context ends."""

    def __init__(
        self, module: str, setup: Mapping[str, Any], sandbox: str, fds: Sequence[int] = ()
    ):
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        self.process = confine.start(sandbox, _BOOT, pass_fds=fds, stderr=self._complaints.fileno())
        self._setup = f"{_modules(module, setup.get('mode', ''))}\n{json.dumps(setup)}\n".encode(
            "ascii"
        )

    def __enter__(self) -> _Guest:
        return self

    def __exit__(self, *_: object) -> None:
        confine.kill(self.process)
        self._complaints.close()

    def begin(self) -> None:
        """Hand over the setup and wait until the guest has its limits. GraderError if it cannot."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(self._setup)
            self.process.stdin.flush()
        except OSError:
            pass  # it is dead; the next lines say so
        if _read(self.process, 1, time.monotonic() + STARTUP_SECONDS) != b"R":
            self._complaints.seek(0)
            words = self._complaints.read(2000).decode("utf-8", "replace").strip()
            raise GraderError(f"the sandbox did not start: {words[-300:] or 'no complaint'}.")

    def exit_code(self) -> int | None:
        """Its exit code if it has ended by itself by now."""
        try:
            return self.process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            return None


def _isolated(setup: dict[str, Any], seconds: float, sandbox: str) -> Ending:
    here, there = socket.socketpair()
    with here, there:
        code = {
            "mode": "functions",
            "code": setup["code"],
            "limits": setup["limits"],
            "fd": there.fileno(),
        }
        tests = {k: setup[k] for k in ("limits", "tests", "cases", "entry_point", "every")}
        with (
            _Guest("guest_model", code, sandbox, [there.fileno()]) as model,
            _Guest(
                "guest_tests", {**tests, "fd": here.fileno()}, sandbox, [here.fileno()]
            ) as judge,
        ):
            here.close()
            there.close()  # so that each side sees the other end
            judge.begin()
            model.begin()  # last: from here on the code runs
            deadline = time.monotonic() + seconds
            report = _report(judge.process, deadline)
            if report is None:
                return _too_late(deadline, "the process with the tests died")
            if "fault" in report:
                raise DataError(
                    f"the tests hand over {report['fault']}, which cannot cross into the sandbox. "
                    'Set isolation = "shared" on the example to run them beside the code (weaker).'
                )
            if report["reason"] == "error" and model.exit_code() in _CPU_LIMIT_CODES:
                return Ending(Reason.TIMEOUT, {"error": "CPU time"})
            details = {k: report[k] for k in ("error", "passed", "tests") if report.get(k)}
            return Ending(Reason(report["reason"]), details)


def _shared(setup: dict[str, Any], seconds: float, sandbox: str) -> Ending:
    here, there = socket.socketpair()
    nonce = secrets.token_hex(16)
    with here, there:
        setup = {**setup, "mode": "shared", "nonce": nonce, "fd": there.fileno()}
        with _Guest("guest_model", setup, sandbox, [there.fileno()]) as model:
            there.close()
            model.begin()
            deadline = time.monotonic() + seconds
            received = b""
            while len(received) <= len(nonce) and deadline > time.monotonic():
                here.settimeout(max(0.001, deadline - time.monotonic()))
                try:
                    piece = here.recv(256)
                except TimeoutError:
                    break
                if not piece:
                    break
                received += piece
            label = {"isolation": "shared"}
            if received == nonce.encode():
                return Ending(Reason.CORRECT, label)
            if received and deadline > time.monotonic():
                kind = received.decode("ascii", "replace")
                known = {"memory": Reason.MEMORY, "unparseable": Reason.UNPARSEABLE}
                known |= {"mismatch": Reason.MISMATCH}
                return Ending(known.get(kind, Reason.ERROR), label)
            ending = _too_late(deadline, "the code ended its own process")
            return Ending(ending.reason, {**ending.details, **label})


def _program(
    code: str,
    test: Mapping[str, str],
    seconds: float,
    limits: Mapping[str, int],
    sandbox: str,
) -> tuple[Ending, float]:
    """How it fared, and the seconds that it ran."""
    setup = {"mode": "program", "code": code, "limits": dict(limits), "stdin": test["stdin"]}
    with _Guest("guest_model", setup, sandbox) as guest:
        guest.begin()
        began = time.monotonic()
        ending = _ending(guest, test["stdout"], began + seconds)
        return ending, time.monotonic() - began


def _ending(guest: _Guest, expected: str, deadline: float) -> Ending:
    """What becomes of a program that has begun."""
    output = _read(guest.process, OUTPUT_BYTES + 1, deadline)
    if output is None:
        return _too_late(deadline, "")
    if len(output) > OUTPUT_BYTES:
        return Ending(Reason.OUTPUT_LIMIT, {"bytes": OUTPUT_BYTES})
    code_of_exit = _wait(guest.process, deadline)
    if code_of_exit is None:
        return _too_late(deadline, "")
    if code_of_exit in _CPU_LIMIT_CODES:
        return Ending(Reason.TIMEOUT, {"error": "CPU time"})
    if code_of_exit == MEMORY_EXIT:
        return Ending(Reason.MEMORY)
    if code_of_exit != 0:
        return Ending(Reason.ERROR, {"exit_code": code_of_exit})
    if _lines(output.decode("utf-8", "replace")) == _lines(expected):
        return Ending(Reason.CORRECT)
    return Ending(Reason.MISMATCH)


def _lines(text: str) -> list[str]:
    """The lines of an output, without trailing spaces and blank lines at the end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _too_late(deadline: float, otherwise: str) -> Ending:
    if time.monotonic() >= deadline:
        return Ending(Reason.TIMEOUT)
    return Ending(Reason.ERROR, {"error": otherwise})


def _report(process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any] | None:
    header = _read(process, 4, deadline)
    if header is None or len(header) < 4:
        return None
    body = _read(process, min(int.from_bytes(header, "big"), wire.MAX_MESSAGE_BYTES), deadline)
    return json.loads(body) if body else None


def _read(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytes | None:
    """Up to `count` bytes, fewer at the end of the stream; None at the deadline."""
    assert process.stdout is not None
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(data) < count:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            piece = os.read(process.stdout.fileno(), count - len(data))
            if not piece:
                break
            data += piece
    return data


def _wait(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    try:
        return process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


@cache
def _modules(module: str, mode: str) -> str:
    """The line that tells a guest its modules, one after the other, and which of them runs."""
    names = ["wire", "guest_model"]
    if module == "guest_tests":
        names = ["wire", "called", "guest_model", "guest_tests"]
    elif mode == "shared":
        names = ["wire", "called", "guest_model"]
    modules = [(f"{_PACKAGE}.{name}", _compiled(name)) for name in names]
    return json.dumps({"modules": modules, "run": f"{_PACKAGE}.{module}"})


@cache
def _compiled(name: str) -> str:
    """A module's code. Its asserts are kept, whatever this process was told of them (-O)."""
    source = resources.files(_PACKAGE).joinpath(f"{name}.py").read_text("utf-8")
    code = compile(source, f"{_PACKAGE}.{name}", "exec", dont_inherit=True, optimize=0)
    return b64encode(marshal.dumps(code)).decode("ascii")
