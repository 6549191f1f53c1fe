"""custom: a user's own Python function as the verifier.

`extra["function"]` is its path, "package.module:function". It is called as
`function(text, example)` in a grading process and returns True, False, a Verdict, or a number: the
value that the answer reaches on an open problem, None where it is no solution. Then `direction`
says whether more or less is better, and `worst` and `best` which values score 0 and 1; an answer
that reaches `best` is right. An exception in it is a fault of the grader and stops the run; it is
never counted as a wrong answer.

A path in a data file must not become a way to call anything at all (`os:system`): the function
must be defined in the module that is named, and that module be the user's own (not the standard
library's, not an installed package's) or the function be marked with `@verifier`.
"""

from __future__ import annotations

import importlib
import math
import sys
import sysconfig
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

from oneshot_rlvr.errors import DataError, GraderError
from oneshot_rlvr.registry import LOOKED_IN
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, shown, wrong
from oneshot_rlvr.verifiers.scoring import reached

Function = TypeVar("Function", bound=Callable[..., Any])
_MARK = "__oneshot_verifier__"


def verifier(function: Function) -> Function:
    """Marks a function as a verifier, so that `custom` may call it from an installed package."""
    setattr(function, _MARK, True)
    return function


class Custom(Verifier):
    """Options: function, sample (a text that must pass), direction, worst, best; the rest of
    `extra` is the function's."""

    name = "custom"
    options = frozenset({"function", "sample", "direction", "worst", "best"})

    def extract(self, text: str, example: Example) -> str | Verdict:
        return text if text.strip() else wrong(Reason.NO_ANSWER, "")

    def compare(self, answer: str, example: Example) -> Verdict:
        result = _function(_path(example))(answer, example)
        if getattr(result, "ndim", None) == 0 and hasattr(result, "item"):  # a scalar of numpy
            result = result.item()
        if isinstance(result, Verdict):
            return result
        if isinstance(result, bool):
            return correct(answer) if result else wrong(Reason.MISMATCH, answer)
        if "direction" in example.extra and isinstance(result, Real | Decimal | None):
            return _reached(answer, result, example)
        raise GraderError(
            f"the custom verifier {_path(example)} returned {shown(repr(result))} for example "
            f"{example.id!r}; wanted True, False, a Verdict, or a number where option direction is "
            "set."
        )

    def gold_text(self, example: Example) -> str:
        """The sample; without one the boxed gold, which the function need not take."""
        return option(example, "sample", str, "") or super().gold_text(example)

    def check_gold(self, example: Example) -> None:
        """DataError for a function that cannot be called, or that rejects the sample."""
        _function(_path(example))
        if "direction" in example.extra:
            _goal(example)
        if option(example, "sample", str, ""):
            super().check_gold(example)


def _goal(example: Example) -> tuple[float, float]:
    """The values that score 0 and 1. DataError where they do not fit the direction."""
    direction = option(example, "direction", str, "")
    worst, best = (
        float(option(example, name, (int, float), math.nan)) for name in ("worst", "best")
    )
    ordered = worst < best if direction == "max" else best < worst
    if direction not in ("max", "min") or not (ordered and math.isfinite(best - worst)):
        raise DataError(
            f"example {example.id!r}: options direction, worst and best are {direction!r}, {worst} "
            f'and {best}; wanted "max" with worst < best, or "min" with best < worst.'
        )
    return worst, best


def _reached(answer: str, result: Any, example: Example) -> Verdict:
    """The verdict on the number that an answer reaches on an open problem; None: no solution."""
    worst, best = _goal(example)
    if result is None or result != result:  # nan
        return wrong(Reason.UNPARSEABLE, answer)
    try:
        value = float(result)
    except OverflowError:  # a whole number that no float holds
        value = math.copysign(sys.float_info.max, 1 if result > 0 else -1)
    score = reached(value, worst, best)
    details = {"value": value}
    if score == 1.0:
        return Verdict(True, Reason.CORRECT, answer, details)
    return Verdict(False, Reason.MISMATCH, answer, details, score)


def _path(example: Example) -> str:
    path = option(example, "function", str, "")
    if path.count(":") != 1:
        raise DataError(
            f"example {example.id!r}: option function is {shown(path)}; wanted "
            '"package.module:function".'
        )
    return path


@cache
def _function(path: str) -> Callable[..., Any]:
    module_name, name = path.split(":")
    if module_name.split(".")[0] in sys.stdlib_module_names:
        raise DataError(f"the custom verifier {path} is in the standard library; name your own.")
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, name)
    except (ImportError, AttributeError, ValueError) as error:
        beside = ", ".join(LOOKED_IN) or "none came from a file"
        raise DataError(
            f"the custom verifier {path} cannot be imported: {error}. Looked for it in the current "
            f"folder ({Path.cwd()}), beside the examples ({beside}) and in Python's own path."
        ) from None
    if not callable(function):
        raise DataError(f"the custom verifier {path} is a {type(function).__name__}, no function.")
    own = getattr(function, "__module__", None) == module_name and not _installed(module)
    if not (own or getattr(function, _MARK, False)):
        raise DataError(
            f"the custom verifier {path} is in an installed package. Mark it with "
            "@oneshot_rlvr.verifiers.custom.verifier, or import it from a module of your own."
        )
    return function


def _installed(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return file is None or any(file.startswith(folder) for folder in folders if folder)
