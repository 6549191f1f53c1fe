r"""Code that attacks its sandbox or its grader. Each is contained and reported as its reason.

Every attack defines `add`, so that "correct" would mean that the attack paid.
"""

import contextlib
import os
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from oneshot_rlvr.errors import DataError, GraderError, MissingDependencyError
from oneshot_rlvr.types import Example, Reason
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.sandbox import confine

TESTS = "assert add(2, 2) == 4\nassert add(-7, 3) == -4\nassert add(10**9, 1) == 1000000001"
HONEST = "def add(a, b):\n    return a + b\n"

needs_sandbox = pytest.mark.skipif(
    confine.unusable() is not None, reason=f"no sandbox here: {confine.unusable()}"
)


PATIENT = 120  # seconds: only an attack that spins waits for its deadline


def grade(code, tests=TESTS, **options):
    example = Example(
        "x", "q", "", "python_code", extra={"tests": tests, "timeout_seconds": PATIENT, **options}
    )
    return get_verifier("python_code").check(f"```python\n{textwrap.dedent(code)}\n```", example)


# Each tries something and says by an exception whether it was stopped: an honest `add` that is
# only reached when the attack FAILED gives "correct", so these must be correct.
STOPPED = {
    "read /etc/passwd": "open('/etc/passwd').read()",
    "read the project": f"open({str(Path(__file__).resolve())!r}).read()",
    "read the installed package": f"open({confine.__file__!r}).read()",
    "list the home folder": "import os; assert os.listdir(os.path.expanduser('~') or '/root')",
    "read the environment": "import os; assert 'HOME' in os.environ or 'USER' in os.environ",
    "write outside": "open('/escaped', 'w').write('x')",
    "write into the standard library": "import json; open(json.__file__, 'w')",
    "write to the devices' folder": "open('/dev/escaped', 'w')",
    "fill the disk": "open('/tmp/big', 'wb').write(bytes(64 << 20)); open('/tmp/b', 'wb').flush()",
    "open a socket": "import socket; socket.socket()",
    "open a unix socket": "import socket; socket.socket(socket.AF_UNIX)",
    "resolve a name": "import socket; socket.create_connection(('example.com', 443), 1)",
    "start a process": "import subprocess; subprocess.run(['/bin/sh', '-c', 'true'], check=True)",
    "fork": "import os; pid = os.fork()",
    "leave a daemon": "import os; os.fork() or os.setsid()",
    "use a pool of processes": "import multiprocessing; multiprocessing.Pool(2).map(int, '12')",
    "fork by system call": "import ctypes; assert ctypes.CDLL(None).fork() >= 0",
    "make namespaces": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "mount": "import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0",
    "memory outside the limits": "import os; os.memfd_create('x')",
    "raise its own limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "kill its neighbours": "import os; [os.kill(p, 9) for p in range(3, 4000)]; assert 0",
    "see other processes": "import os; assert sum(p.isdigit() for p in os.listdir('/proc')) > 3",
    "trace another process": "import ctypes; assert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0",
    "become root": "import os; os.setuid(0); assert 0",
    "import the grader": "import oneshot_rlvr.verifiers.python_code",
    "import packages": "import sys, os; sys.path.append(os.__file__[:-5] + 'site-packages')"
    "; import pip",
}


@needs_sandbox
@pytest.mark.parametrize("attack", STOPPED.values(), ids=STOPPED.keys())
def test_what_code_may_not_do_fails_inside_and_harms_nothing_outside(attack):
    stopped = (
        f"try:\n    {attack}\nexcept BaseException:\n    {'pass'}\nelse:\n    raise SystemExit\n"
    )
    verdict = grade(stopped + HONEST)
    assert verdict.reason is Reason.CORRECT, verdict
    assert not Path("/escaped").exists()


# Each tries to pass without solving anything.
CHEATS = {
    "leave before the asserts": ("import os\nos._exit(0)", Reason.ERROR),
    "leave when called": ("import os\ndef add(a, b): os._exit(0)", Reason.ERROR),
    "exit politely": ("raise SystemExit(0)", Reason.ERROR),
    "an __eq__ that is always True": (
        "class Yes:\n    def __eq__(self, other): return True\n"
        "    def __ne__(self, other): return False\n    __hash__ = None\n"
        "def add(a, b): return Yes()",
        Reason.MISMATCH,
    ),
    "an int whose __eq__ is always True": (
        "class Yes(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def add(a, b): return Yes(1)",
        Reason.MISMATCH,
    ),
    "a metaclass that equals all": (
        "class M(type):\n    def __eq__(c, o): return True\n    __hash__ = type.__hash__\n"
        "class Yes(metaclass=M): pass\ndef add(a, b): return Yes",
        Reason.MISMATCH,
    ),
    "replace AssertionError": (
        "import builtins\nclass Quiet(Exception): pass\nbuiltins.AssertionError = Quiet\n"
        "def add(a, b): return 0",
        Reason.MISMATCH,
    ),
    "redefine the tests' builtins": (
        "all = any = isinstance = abs = lambda *a: True\ndef add(a, b): return 0",
        Reason.MISMATCH,
    ),
    "define the tests' check": (
        "def check(candidate): return True\ndef add(a, b): return 0",
        Reason.MISMATCH,
    ),
    "print the success line": (
        "print('correct')\nprint('{\"reason\": \"correct\"}')\ndef add(a, b): return 0",
        Reason.MISMATCH,
    ),
    "write the success line everywhere": (
        "import os\nm = b'{\"reason\": \"correct\"}'\nm = len(m).to_bytes(4, 'big') + m\n"
        "for fd in range(1, 64):\n    try: os.write(fd, m)\n    except OSError: pass\n"
        "def add(a, b): return 0",
        Reason.MISMATCH,
    ),
    "send replies ahead of the calls": (
        "import json, os\nfor fd in range(3, 64):\n    for n in range(9):\n"
        "        m = json.dumps({'value': n, 'changed': [None, None]}).encode()\n"
        "        try: os.write(fd, len(m).to_bytes(4, 'big') + m)\n        except OSError: pass\n"
        "def add(a, b): return 0",
        Reason.MISMATCH,
    ),
    "name itself __builtins__": (
        "import json, os, sys\n"
        "m = json.dumps({'names': ['__builtins__', 'add', 'AssertionError']}).encode()\n"
        "for fd in range(3, 64):\n"
        "    try: os.write(fd, len(m).to_bytes(4, 'big') + m)\n    except OSError: pass\n"
        "def add(a, b): return 0",
        Reason.MISMATCH,
    ),
    "read the expected value from frames": (
        "import sys\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n"
        "        for v in list(f.f_locals.values()):\n            if v == 4: return 4\n"
        "        f = f.f_back\n    return None",
        Reason.MISMATCH,
    ),
    "read the expected value from gc": (
        "import gc\ndef add(a, b):\n    for o in gc.get_objects():\n"
        "        if isinstance(o, str) and 'assert add' in o: return eval(o.split('==')[1])\n"
        "        if isinstance(o, dict) and 'tests' in o: return 4\n    return None",
        Reason.MISMATCH,
    ),
    "read the tests from disk": (
        "import os\ndef add(a, b):\n    for root, _, files in os.walk('/tmp'):\n"
        "        for f in files:\n            if 'assert' in open(os.path.join(root, f)).read():\n"
        "                return 4\n    return None",
        Reason.MISMATCH,
    ),
    "read memory of other processes": (
        "import glob\ndef add(a, b):\n    for p in glob.glob('/proc/[0-9]*/cmdline'):\n"
        "        if b'assert' in open(p, 'rb').read(): return 4\n    return None",
        Reason.MISMATCH,
    ),
    "overwrite its own server": (
        "import sys\nfor m in list(sys.modules.values()):\n"
        "    for n in ('_answer', 'encode', '_raised'):\n"
        "        if n in getattr(m, '__dict__', {}):\n"
        "            m.__dict__[n] = lambda *a: {'value': 0, 'changed': [None, None]}\n"
        "def add(a, b): return 0",
        Reason.MISMATCH,
    ),
    "patch its own comparison by ctypes": (
        "import ctypes\nctypes.memset(id(4) + 24, 0, 4)\ndef add(a, b): return 0",
        None,  # it wrecks its own interpreter, in one way or another
    ),
    "crash its interpreter": (
        "import ctypes\ndef add(a, b): ctypes.string_at(0)",
        Reason.ERROR,
    ),
    "spin": ("def add(a, b):\n    while True: pass", Reason.TIMEOUT),
    "sleep": ("import time\ndef add(a, b): time.sleep(1000)", Reason.TIMEOUT),
    "ignore SIGTERM and all others": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass",
        Reason.TIMEOUT,
    ),
    "one long C call": ("def add(a, b): return 9**9**9", Reason.TIMEOUT),
    "a memory bomb": ("def add(a, b): return len('x' * (1 << 40))", Reason.MEMORY),
    "a slow memory bomb": ("x = [0]\nwhile True: x += x", Reason.MEMORY),
    "threads without end": (
        "import threading, time\ndef add(a, b):\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
        None,
    ),
    "a result too large to hand over": ("def add(a, b): return 'x' * (64 << 20)", None),
    "a result nested without end": (
        "def add(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
        None,
    ),
    "a result that contains itself": ("x = []\nx.append(x)\ndef add(a, b): return x", None),
    "an iterator without end": ("import itertools\ndef add(a, b): return itertools.count()", None),
    "an exception that lies": (
        "class AssertionError(Exception):\n    def __str__(self): raise SystemExit\n"
        "def add(a, b): raise AssertionError",
        Reason.ERROR,
    ),
    "output without end": ("while True: print('x' * 10000)", Reason.TIMEOUT),
}


@needs_sandbox
@pytest.mark.parametrize(("code", "reason"), CHEATS.values(), ids=CHEATS.keys())
def test_a_cheat_never_passes_and_is_told_by_its_reason(code, reason):
    start = time.monotonic()
    verdict = grade(code, timeout_seconds=3 if reason in (Reason.TIMEOUT, None) else PATIENT)
    assert not verdict.correct
    assert time.monotonic() - start < PATIENT + 60
    if reason is not None:
        assert verdict.reason is reason, verdict


# Takes the place of its own server: a lie about its names, then an answer to each later question.
FORGED = """
import json, os, time
for message in {messages!r}:
    data = json.dumps(message).encode()
    for fd in range(3, 64):
        try: os.write(fd, len(data).to_bytes(4, 'big') + data)
        except OSError: pass
time.sleep(99)
"""


@needs_sandbox
@pytest.mark.parametrize("name", ["abs", "__builtins__"])
def test_the_tests_keep_their_own_builtins(name):
    tests = "assert abs(add(2, 2) - 4) == 0"
    assert grade(HONEST, tests).correct
    plain = "abs = lambda *a: 0\ndef add(a, b): return 0"
    assert grade(plain, tests).reason is Reason.MISMATCH
    abs_of_theirs = {"value": ["handle", [0, "function"]]}
    told = [abs_of_theirs] if name == "__builtins__" else []  # asked for `abs` first
    zero = {"value": 0, "changed": [None, None]}
    messages = [{"names": [name, "add"]}, *told, zero, {"value": 0, "changed": [None]}]
    verdict = grade(FORGED.format(messages=messages), tests)
    assert verdict.reason is Reason.MISMATCH  # by the tests' own abs, of -4


def test_at_least_twenty_attacks_are_tried():
    assert len(STOPPED) + len(CHEATS) >= 50


@needs_sandbox
def test_tests_that_expect_an_exception_do_not_take_the_codes_death_for_one():
    tests = "try:\n    add(1, 2)\n    assert False\nexcept Exception:\n    pass"
    assert grade("def add(a, b): raise ValueError", tests).correct
    assert grade("import os\ndef add(a, b): os._exit(0)", tests).reason is Reason.ERROR
    bare = tests.replace("except Exception", "except")
    assert grade("import os\ndef add(a, b): os._exit(0)", bare).reason is Reason.ERROR


@needs_sandbox
def test_a_program_that_prints_without_end_is_cut_off():
    programs = [{"stdin": "", "stdout": "x"}]
    assert grade("while True: print('x' * 10000)", programs).reason is Reason.OUTPUT_LIMIT


@needs_sandbox
def test_nothing_is_left_running_after_the_attacks():
    spinning = (
        "import threading\nthreading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()"
    )
    grade(spinning, timeout_seconds=3)
    deadline = time.monotonic() + 60
    while left := _sandboxes():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _sandboxes():
    """Those that this process has started and that still run."""
    found = []
    for child in psutil.Process(os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            found += ["bwrap"] * ("bwrap" in child.name())
    return found


def test_without_bubblewrap_code_is_refused_not_run(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    confine.unusable.cache_clear()
    try:
        with pytest.raises(MissingDependencyError, match="rlimits_only"):
            grade(HONEST)
        with pytest.raises(MissingDependencyError, match="bubblewrap"):
            get_verifier("python_code").check_gold(
                Example("x", "q", HONEST, "python_code", extra={"tests": TESTS})
            )
        assert grade(HONEST, sandbox="rlimits_only").correct
    finally:
        confine.unusable.cache_clear()


def test_without_namespaces_code_is_refused_not_run(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    confine.unusable.cache_clear()
    try:
        with pytest.raises(GraderError, match="No permissions"):
            grade(HONEST)
    finally:
        confine.unusable.cache_clear()


def test_rlimits_only_still_limits_time_and_memory():
    endless = "def add(a, b): return 9**9**9"
    assert grade(endless, sandbox="rlimits_only", timeout_seconds=3).reason is Reason.TIMEOUT
    assert grade("x = [0]\nwhile True: x += x", sandbox="rlimits_only").reason is Reason.MEMORY
    assert grade("def add(a, b): return a - b", sandbox="rlimits_only").reason is Reason.MISMATCH


@needs_sandbox
def test_tests_that_hand_over_functions_must_say_shared():
    tests = "assert apply(lambda x: x + 1, 2) == 3"
    code = "def apply(f, x): return f(x)"
    with pytest.raises(DataError, match=r"shared"):
        grade(code, tests)
    verdict = grade(code, tests, isolation="shared")
    assert verdict.correct
    assert verdict.details["isolation"] == "shared"  # labelled as the weaker kind
    assert grade("import os\nos._exit(0)", tests, isolation="shared").reason is Reason.ERROR
