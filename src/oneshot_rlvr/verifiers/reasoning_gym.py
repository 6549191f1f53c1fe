"""reasoning_gym: the scorer of one of reasoning-gym's generators, on what the text answers.

`generator` names it and `entry` is the question as the generator made it (JSON text, written by
`examples/generated.py`). The answer stands in the last box or, without one, in the last
`<answer>` tags. An answer that scores 1 is right; a lower score is the verdict's score.

Scorers are other people's code and some give the text to Python's `eval` or to sympy's parser,
which evaluates. Here both are replaced, in every module of reasoning-gym, by readers that know
literals and arithmetic, and nothing else. What a scorer raises on a text makes the text
unparseable. Source: Stojanovski et al. 2025, arXiv 2505.24760.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import re
import sys
from functools import cache
from types import ModuleType
from typing import Any

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, shown, wrong
from oneshot_rlvr.verifiers.extraction import final_text

MAX_CHARS = 20_000
_TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_NAMES = re.compile(r"[A-Za-z][A-Za-z0-9]{0,19}(?:_[0-9]{1,3})?")
_FUNCTIONS = frozenset(
    (
        *("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh", "cosh"),
        *("tanh", "exp", "log", "ln", "sqrt", "Abs", "Rational"),
    )
)


class ReasoningGym(Verifier):
    """Options: generator, entry, extraction."""

    name = "reasoning_gym"
    options = frozenset({"generator", "entry", "extraction"})

    def extract(self, text: str, example: Example) -> str | Verdict:
        tagged = _TAGS.findall(text)
        boxed = final_text(text, example) if "\\boxed" in text or not tagged else None
        answer = boxed if boxed is not None else tagged[-1].strip() if tagged else None
        if not answer:
            return wrong(Reason.NO_ANSWER, answer)
        if len(answer) > MAX_CHARS:
            return wrong(Reason.UNPARSEABLE, answer[:200], too_long=len(answer))
        return answer

    def warm(self) -> None:
        _disarmed()

    def compare(self, answer: str, example: Example) -> Verdict:
        generator, entry = _asked(example)
        score = _score(generator, answer, entry)
        if score is None:
            return wrong(Reason.UNPARSEABLE, answer)
        if score >= 1:
            return correct(answer)
        return Verdict(False, Reason.MISMATCH, answer, {}, score)

    def gold_text(self, example: Example) -> str:
        """The answer in tags: a box would have to be balanced."""
        return f"<answer>{example.answer}</answer>"

    def check_gold(self, example: Example) -> None:
        """DataError for an unknown generator, a broken entry, or a gold that scores below 1.

        Where many answers are right a generator gives none, and there is none to check.
        """
        _asked(example)
        if example.answer.strip():
            super().check_gold(example)


def _asked(example: Example) -> tuple[str, dict[str, Any]]:
    generator, text = option(example, "generator", str, ""), option(example, "entry", str, "")
    if generator not in _disarmed().DATASETS:
        raise DataError(
            f"example {example.id!r}: option generator is {shown(generator)}, which reasoning-gym "
            'does not have. Make examples with examples.path = "reasoning_gym:NAME".'
        )
    try:
        entry = _untagged(json.loads(text))
    except (ValueError, RecursionError, TypeError):
        entry = None
    if not isinstance(entry, dict) or not {"question", "answer", "metadata"} <= entry.keys():
        raise DataError(
            f"example {example.id!r}: option entry is {shown(text)}; wanted the JSON text that "
            '"reasoning_gym:NAME" gives an example.'
        )
    return generator, entry


def _score(generator: str, answer: str, entry: dict[str, Any]) -> float | None:
    """The scorer's number within 0..1; None where it raises on the text or gives no number."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            score = float(_scorer(generator)(answer, entry))
    except (MemoryError, RecursionError):
        raise  # the worker's to tell
    except Exception:
        return None
    return min(1.0, max(0.0, score)) if not math.isnan(score) else None


@cache
def _scorer(generator: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        kind, config = _disarmed().DATASETS[generator]
        return kind(config=config(seed=0, size=1)).score_answer


def _untagged(value: Any) -> Any:
    """Back to tuples and to tables with keys that are no text (`examples/generated.py`)."""
    if isinstance(value, list):
        return [_untagged(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"__tuple__"}:
        return tuple(_untagged(value["__tuple__"]))
    if value.keys() == {"__table__"}:
        return {_untagged(key): _untagged(inner) for key, inner in value["__table__"]}
    return {key: _untagged(inner) for key, inner in value.items()}


@cache
def _disarmed() -> Any:
    """reasoning-gym's factory, every module of it without `eval`, `exec` and sympy's parser."""
    import reasoning_gym.factory as factory
    import sympy
    from sympy.parsing.sympy_parser import parse_expr

    parsers = (parse_expr, sympy.sympify, sympy.S)
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "reasoning_gym":
            continue
        for key, value in list(vars(module).items()):
            if value is sympy:
                setattr(module, key, _Sympy("sympy"))
            elif any(value is parser for parser in parsers):
                setattr(module, key, _parse)
        module.eval = _evaluate  # type: ignore[attr-defined]
        module.exec = _refuse  # type: ignore[attr-defined]
    return factory


class _Sympy(ModuleType):
    """sympy, whose parsers read arithmetic alone."""

    def __getattr__(self, name: str) -> Any:
        import sympy

        return _parse if name in ("parse_expr", "sympify", "S") else getattr(sympy, name)


def _refuse(*_: Any, **__: Any) -> Any:
    raise ValueError("no code is run here")


def _parse(text: Any, *args: Any, **options: Any) -> Any:
    """sympy's parse_expr of a text that is arithmetic: numbers, names, operators and functions."""
    import sympy
    from sympy.parsing.sympy_parser import parse_expr

    if not isinstance(text, str):
        return sympy.sympify(text)
    for node in ast.walk(ast.parse(text.strip(), mode="eval")):
        if isinstance(node, ast.Call):
            known = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
            if not known or node.keywords:
                raise ValueError("an unknown function")
        elif isinstance(node, ast.Name):
            if not _NAMES.fullmatch(node.id):
                raise ValueError("an odd name")
        elif isinstance(node, ast.Constant):
            if type(node.value) not in (int, float):
                raise ValueError("a constant that is no number")
        elif not isinstance(node, _ARITHMETIC):
            raise ValueError("no arithmetic")
    return parse_expr(text, *args, **options)


_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)
_OPERATORS: dict[type[ast.AST], Any] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.LShift: lambda a, b: a << _small(b),
    ast.RShift: lambda a, b: a >> b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
    ast.BitXor: lambda a, b: a ^ b,
    ast.UAdd: lambda a: +a,
    ast.USub: lambda a: -a,
    ast.Invert: lambda a: ~a,
}


def _small(shift: int) -> int:
    if shift > 100_000:
        raise ValueError("too far a shift")
    return shift


def _evaluate(text: Any, *_: Any) -> Any:
    """What `eval` gives for literals and for arithmetic of numbers. ValueError for all else."""
    if not isinstance(text, str):
        raise ValueError("only text is read")
    with contextlib.suppress(ValueError):
        return ast.literal_eval(text.strip())
    return _value(ast.parse(text.strip(), mode="eval").body)


def _value(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand))
    raise ValueError("neither a literal nor arithmetic")
