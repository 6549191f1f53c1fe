"""python_code: fenced Python code that passes the item's tests, in a sandbox (sandbox/).

`extra["tests"]` is assert-style source (a text or a list of texts; a `check(candidate)` in it is
called), or a list of tables: {"args": [...], "kwargs": {...}, "expected": value} calls the entry
point, {"stdin": text, "stdout": text} runs the code as a program. `entry_point` names the function;
`prefix` (HumanEval's prompt) is put before code that does not define it. Expected values stay in a
process that the code never enters, unless `isolation = "shared"` (weaker, and labelled so).
`score = "tests"` runs every test, also behind one that fails, and scores a wrong answer by the
share that pass: calls, programs, and asserts at the top level of the source.
The gold, where there is one, is a solution and must pass; without a gold the tests are the gold.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, option, shown, wrong
from oneshot_rlvr.verifiers.fences import fences
from oneshot_rlvr.verifiers.sandbox import confine, run

MAX_CODE_CHARS = 100_000
TIMEOUT_SECONDS = 5.0
LANGUAGES = ("python", "py", "python3", "")
ISOLATIONS = ("separate", "shared")
_BARE_CODE = re.compile(
    r"^(?:def |class |import |from |@|async def |print\(|[ \t]+\S)", re.MULTILINE
)


class PythonCode(Verifier):
    """Options: tests, entry_point, prefix, isolation, timeout_seconds, sandbox, score."""

    name = "python_code"
    options = frozenset(
        {"tests", "entry_point", "prefix", "isolation", "timeout_seconds", "sandbox", "score"}
    )

    def extract(self, text: str, example: Example) -> str | Verdict:
        entry_point = option(example, "entry_point", str, "")
        blocks = [content for language, content in fences(text) if language in LANGUAGES]
        defining = [b for b in blocks if entry_point and _defines(b, entry_point)]
        if defining or blocks:
            code = (defining or blocks)[-1]
        elif "```" not in text and _BARE_CODE.search(text[:MAX_CODE_CHARS]):
            code = text  # the bare completion of a prompt that is code
        else:
            return wrong(Reason.NO_ANSWER)
        if not code.strip():
            return wrong(Reason.NO_ANSWER, code)
        if len(code) > MAX_CODE_CHARS:
            return wrong(Reason.UNPARSEABLE, code[:200], too_long=len(code))
        return code

    def warm(self) -> None:
        confine.unusable()  # the probe; its outcome is told where a sandbox is asked for

    def compare(self, answer: str, example: Example) -> Verdict:
        tests = tests_of(example)
        isolation = option(example, "isolation", str, "separate")
        if isolation not in ISOLATIONS or (isolation == "shared" and tests.cases):
            raise DataError(
                f'example {example.id!r}: option isolation is {isolation!r}; wanted "separate", or '
                '"shared" with assert-style tests.'
            )
        every = _every(example)
        if every and isolation == "shared":
            raise DataError(
                f'example {example.id!r}: option score = "tests" needs isolation = "separate": '
                "beside the code no count of passed tests can be trusted."
            )
        prefix = option(example, "prefix", str, "")
        code = answer
        if prefix and not (tests.entry_point and _defines(answer, tests.entry_point)):
            code = prefix + answer
        try:
            ending = run.run(
                code,
                tests,
                timeout_seconds=float(
                    option(example, "timeout_seconds", (int, float), TIMEOUT_SECONDS)
                ),
                sandbox=option(example, "sandbox", str, "bubblewrap"),
                shared=isolation == "shared",
                every=every,
            )
        except DataError as error:
            raise DataError(f"example {example.id!r}: {error}") from None
        right = ending.reason is Reason.CORRECT
        score = 1.0 if right else ending.share if every else 0.0
        return Verdict(right, ending.reason, answer, ending.details, score)

    def gold_text(self, example: Example) -> str:
        """The gold solution, fenced; "" where the tests are all there is."""
        return f"```python\n{example.answer}\n```" if example.answer.strip() else ""

    def check_gold(self, example: Example) -> None:
        """DataError for tests that make no sense or that the gold solution fails.

        MissingDependencyError or GraderError where the sandbox cannot be used.
        """
        tests_of(example)
        if option(example, "sandbox", str, "bubblewrap") == "bubblewrap":
            fault = confine.unusable()
            if fault is not None:
                raise fault
        if self.gold_text(example):
            super().check_gold(example)


def _every(example: Example) -> bool:
    way = option(example, "score", str, "")
    if way not in ("", "tests"):
        raise DataError(f'example {example.id!r}: option score is {way!r}; wanted "tests".')
    return bool(way)


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
        if not any(isinstance(node, (ast.Assert, ast.Raise, ast.Call)) for node in ast.walk(tree)):
            raise DataError(f"example {example.id!r}: the tests test nothing; add an assert.")
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


def _unfit(example: Example, tests: Any) -> DataError:
    return DataError(
        f"example {example.id!r}: option tests is {shown(str(tests))}; wanted assert-style source, "
        'tables {"args": [...], "expected": value} with an entry_point, or tables '
        '{"stdin": text, "stdout": text}.'
    )


def _defines(code: str, name: str) -> bool:
    pattern = (
        rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+{re.escape(name)}\b|^{re.escape(name)}[ \t]*="
    )
    return re.search(pattern, code, re.MULTILINE) is not None
