"""python_code: fenced Python code that passes the item's tests, in a sandbox (sandbox/).

`extra["tests"]` is assert-style source (a text or a list of texts), or a list of tables: {"args":
[...], "kwargs": {...}, "expected": value} calls the entry point, {"stdin": text, "stdout": text}
runs the code as a program. Of the source, what it defines to be called is called: functions named
test..., test methods of unittest.TestCase and Test... classes, `check(candidate)` with an entry
point. Tests that code which defines nothing would pass are refused when the examples are loaded.
`entry_point` names the function; `prefix` (HumanEval's prompt) is put before code that does not
define it. Of several blocks the one that defines what the tests call is graded. `score = "tests"`
runs every test, also behind one that fails, and scores a wrong answer by the share that pass:
calls, programs, asserts at the top level of the source, and what is called of it.

Expected values stay in a process that the code never enters, unless `isolation = "shared"` (weaker,
and labelled so); into it cross values of built-in types, iterators and functions, and what the
tests themselves make of a class of the code (`Stack()`, by its capitalised name, where they read an
attribute of it).
The gold, where there is one, is a solution and must pass; without a gold the tests are the gold.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, option, shown, wrong
from oneshot_rlvr.verifiers.extraction import tagged
from oneshot_rlvr.verifiers.fences import fences, open_fence
from oneshot_rlvr.verifiers.sandbox import called, confine, run

MAX_CODE_CHARS = 100_000
TIMEOUT_SECONDS = 5.0
LANGUAGES = ("python", "py", "python3", "py3", "")
ISOLATIONS = ("separate", "shared")
_BARE_CODE = re.compile(
    r"^(?:def |class |import |from |@|async def |print\(|[ \t]+\S)", re.MULTILINE
)
_TELLS = re.compile(
    r"_?(?:assert|fail|raises|exit|quit|abort|testmod|run_docstring)", re.IGNORECASE
)
# What a block defines for others to use, and what it uses.
_MADE = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
_MADE_ANYWHERE = re.compile(
    r"^[ \t]*(?:(?:async[ \t]+)?(?:def|class)[ \t]+([A-Za-z_]\w*)|([A-Za-z_]\w*)[ \t]*=(?!=))",
    re.MULTILINE,
)
_IMPORT = re.compile(r"^(?:from[ \t]+\S+[ \t]+)?import\b([^\n#]*)", re.MULTILINE)
_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)[ \t]*[.(]")


RULES = {
    "no-code": "There is no Python code where it is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "tests": "The code was run against the tests.",
}


class PythonCode(Verifier):
    """Options: tests, entry_point, prefix, isolation, timeout_seconds, sandbox, score,
    answer_tags."""

    name = "python_code"
    options = frozenset(
        {
            "answer_tags",
            "tests",
            "entry_point",
            "prefix",
            "isolation",
            "timeout_seconds",
            "sandbox",
            "score",
        }
    )
    rules = RULES

    def extract(self, text: str, example: Example) -> str | Verdict:
        inside = tagged(text, example)
        if inside is None:
            return wrong(Reason.NO_ANSWER, rule="no-code")
        text = inside
        code = _solution(text, _wanted(example))
        if code is None and "```" not in text and _BARE_CODE.search(text[:MAX_CODE_CHARS]):
            code = text  # the bare completion of a prompt that is code
        if code is None:
            return wrong(Reason.NO_ANSWER, rule="no-code")
        if not code.strip():
            return wrong(Reason.NO_ANSWER, code, rule="no-code")
        if len(code) > MAX_CODE_CHARS:
            return wrong(Reason.UNPARSEABLE, code[:200], rule="too-long", too_long=len(code))
        return code

    def warm(self) -> None:
        confine.unusable()  # the probe; its outcome is told where a sandbox is asked for

    def compare(self, answer: str, example: Example) -> Verdict:
        tests = tests_of(example)
        every, _ = _ways(example, tests)
        ending = _ran(answer, tests, example, every=every)
        right = ending.reason is Reason.CORRECT
        score = 1.0 if right else ending.share if every else 0.0
        details = {"rule": "tests", **ending.details}
        return Verdict(right, ending.reason, answer, details, score)

    def gold_text(self, example: Example) -> str:
        """The gold solution, fenced; "" where the tests are all there is."""
        return f"```python\n{example.answer}\n```" if example.answer.strip() else ""

    def check_options(self, example: Example) -> None:
        """DataError for `score` or `isolation` that there is not, or that do not go together."""
        _ways(example, tests_of(example))

    def check_gold(self, example: Example) -> None:
        """DataError for tests that make no sense or that the gold solution fails.

        MissingDependencyError or GraderError where the sandbox cannot be used.
        """
        tests = tests_of(example)
        self.check_options(example)
        if option(example, "sandbox", str, "bubblewrap") == "bubblewrap":
            fault = confine.unusable()
            if fault is not None:
                raise fault
        if tests.source or tests.programs:
            _refuse_idle(tests, example)
        if self.gold_text(example):
            super().check_gold(example)


def _ways(example: Example, tests: run.Tests) -> tuple[bool, str]:
    """Whether every test is run and counted, and how tests and code are kept apart."""
    way = option(example, "score", str, "")
    if way not in ("", "tests"):
        raise DataError(f'example {example.id!r}: option score is {way!r}; wanted "tests".')
    isolation = option(example, "isolation", str, "separate")
    if isolation not in ISOLATIONS or (isolation == "shared" and tests.cases):
        raise DataError(
            f'example {example.id!r}: option isolation is {isolation!r}; wanted "separate", or '
            '"shared" with assert-style tests.'
        )
    if way and isolation == "shared":
        raise DataError(
            f'example {example.id!r}: option score = "tests" needs isolation = "separate": '
            "beside the code no count of passed tests can be trusted."
        )
    return bool(way), isolation


def _ran(code: str, tests: run.Tests, example: Example, *, every: bool = False) -> run.Ending:
    """How code fares in the tests, by the example's options."""
    _, isolation = _ways(example, tests)
    prefix = option(example, "prefix", str, "")
    if prefix and not (tests.entry_point and _defines(code, tests.entry_point)):
        code = prefix + code
    seconds = option(example, "timeout_seconds", (int, float), TIMEOUT_SECONDS)
    try:
        return run.run(
            code,
            tests,
            timeout_seconds=float(seconds),
            sandbox=option(example, "sandbox", str, "bubblewrap"),
            shared=isolation == "shared",
            every=every,
        )
    except DataError as error:
        raise DataError(f"example {example.id!r}: {error}") from None


def _refuse_idle(tests: run.Tests, example: Example) -> None:
    """DataError for tests that code which does nothing passes, or that nothing can pass."""
    ending = _ran("pass\n", tests, example)
    if ending.reason is Reason.CORRECT:
        raise DataError(
            f"example {example.id!r}: the tests pass for code that defines nothing, so every "
            "answer would pass. Assert at the top level, in functions named test..., in a "
            "unittest.TestCase, or in check(candidate) with an entry_point."
        )
    foreign = called.expected_exceptions(tests.source) & _used(tests.source)
    if foreign and option(example, "isolation", str, "separate") == "separate":
        raise DataError(
            f"example {example.id!r}: the tests expect an exception that the code defines "
            f"({', '.join(sorted(foreign))}), and only Python's own cross between their processes. "
            'Set isolation = "shared" on the example to run them beside the code (weaker).'
        )
    dead = called.never_run(tests.source, tests.entry_point)
    if dead:
        raise DataError(
            f"example {example.id!r}: the tests assert where nothing runs it ({', '.join(dead)}), "
            "so that wrong code would pass there. Call it, or name it test..."
        )
    stubs = [_stub(_wanted(example), returned) for returned in STUB_RETURNS]
    if all(stubs) and all(_ran(s, tests, example).reason is Reason.CORRECT for s in stubs):
        raise DataError(
            f"example {example.id!r}: the tests pass whatever the code returns, so every answer "
            'would pass. Write "assert" before what must hold: assert f(1) == 2.'
        )
    error = str(ending.details.get("error", ""))
    if error.startswith("ModuleNotFoundError"):
        raise DataError(
            f"example {example.id!r}: the tests cannot run in the sandbox, which has Python's "
            f"standard library and nothing else: {error}."
        )


STUB_RETURNS = ("None", "0.7319")
"""What functions that do nothing return: no tests are content with both that compare anything."""


def _stub(wanted: frozenset[str], returned: str) -> str:
    """Code that defines what the tests call, to do nothing; "" where that is not known."""
    return "".join(
        f"def {name}(*args, **kwargs):\n    return {returned}\n"
        for name in sorted(wanted)
        if name.isidentifier()
    )


def _solution(text: str, wanted: frozenset[str]) -> str | None:
    """The block that defines what the tests call; of several that do, the last.

    Blocks that define it between them are put together, and in front of a block stand earlier ones
    whose functions it calls or whose modules it uses. Where none defines it the last block counts,
    one that says it is Python first. A block that never closes counts where no closed one defines
    anything of it.
    """
    found = [(language, b) for language, b in fences(text) if language in LANGUAGES]
    blocks = [block for _, block in found]
    defined = [{name for name in wanted if _defines(block, name)} for block in blocks]
    everything = set().union(*defined)
    cut_off = open_fence(text)
    if cut_off is not None and cut_off[0] in LANGUAGES and not everything:
        names = {name for name in wanted if _defines(cut_off[1], name)}
        if names or not blocks:
            return _with_helpers(cut_off[1], blocks)
    if not blocks:
        return None
    if not everything:
        named = [i for i, (language, _) in enumerate(found) if language] or [len(found) - 1]
        return _with_helpers(blocks[named[-1]], blocks[: named[-1]])
    whole = [i for i, names in enumerate(defined) if names == everything]
    if whole:
        return _with_helpers(blocks[whole[-1]], blocks[: whole[-1]])
    return "\n\n".join(b for b, names in zip(blocks, defined, strict=True) if names)


def _with_helpers(block: str, earlier: Sequence[str]) -> str:
    """A block behind those earlier ones that define what it calls and does not define itself."""
    code = [block]
    own = {name or assigned for name, assigned in _MADE_ANYWHERE.findall(block)} | _imported(block)
    needed = set(_CALLED.findall(block)) - own
    for other in reversed(earlier):
        offered = set(_MADE.findall(other)) | _imported(other)
        if needed & offered:
            code.insert(0, other)
            needed = (needed | set(_CALLED.findall(other))) - offered
    return "\n\n".join(code)


def _imported(code: str) -> set[str]:
    return {name for line in _IMPORT.findall(code) for name in re.findall(r"[A-Za-z_]\w*", line)}


def _wanted(example: Example) -> frozenset[str]:
    """Names that the solution has to define: the entry point, or what the tests use."""
    entry_point = option(example, "entry_point", str, "")
    if entry_point:
        return frozenset({entry_point})
    raw = example.extra.get("tests")
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        return frozenset()
    return _used("\n".join(items))


@lru_cache(maxsize=256)
def _used(tests: str) -> frozenset[str]:
    """Names that tests use and neither define nor find among Python's own."""
    try:
        nodes = list(ast.walk(ast.parse(tests)))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()  # told where the tests are run
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    own = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    own |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    return frozenset(names - own - called.defined(tests) - set(dir(builtins)))


def tests_of(example: Example) -> run.Tests:
    """The example's tests. DataError where there are none or they make no sense."""
    raw = example.extra.get("tests")
    entry_point = option(example, "entry_point", str, "")
    if entry_point and not entry_point.isidentifier():
        raise DataError(f"example {example.id!r}: entry_point {shown(entry_point)} is no name.")
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not items:
        raise _unfit(example, raw)
    if all(isinstance(item, str) for item in items):
        source = "\n".join(items)
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError) as error:
            raise DataError(f"example {example.id!r}: the tests are no Python: {error}.") from None
        if not any(map(_may_fail, ast.walk(tree))):
            raise DataError(
                f'example {example.id!r}: the tests test nothing. Write "assert" before what must '
                "hold: assert f(1) == 2."
            )
        return run.Tests(source=source, entry_point=entry_point)
    if not all(isinstance(item, Mapping) for item in items):
        raise _unfit(example, raw)
    cases, programs = [], []
    for item in items:
        if "stdin" in item and "stdout" in item:
            programs.append({"stdin": str(item["stdin"]), "stdout": str(item["stdout"])})
        elif "expected" in item and entry_point:
            args, kwargs = item.get("args", []), item.get("kwargs", {})
            if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
                raise _unfit(example, item)
            cases.append({"args": list(args), "kwargs": dict(kwargs), "expected": item["expected"]})
        else:
            raise _unfit(example, item)
    return run.Tests(cases=cases, programs=programs, entry_point=entry_point)


def _may_fail(node: ast.AST) -> bool:
    """Whether a piece of tests can tell wrong code from right: an assert, a raise, an exit."""
    name = getattr(node, "id", getattr(node, "attr", ""))
    return isinstance(node, (ast.Assert, ast.Raise)) or _TELLS.match(str(name)) is not None


def _unfit(example: Example, tests: Any) -> DataError:
    came = "option tests is missing" if tests is None else f"option tests is {shown(str(tests))}"
    return DataError(
        f"example {example.id!r}: {came}; wanted assert-style source, "
        'tables {"args": [...], "expected": value} with an entry_point, or tables '
        '{"stdin": text, "stdout": text}.'
    )


def _defines(code: str, name: str) -> bool:
    pattern = (
        rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+{re.escape(name)}\b"
        rf"|^{re.escape(name)}[ \t]*(?::[^=\n]*)?=(?!=)"
    )
    return re.search(pattern, code, re.MULTILINE) is not None or name in _imported(code)
