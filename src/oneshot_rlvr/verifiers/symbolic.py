r"""Symbolic comparison by math-verify 0.9, without its SIGALRM and with three rules of our own.

math-verify parses LaTeX to sympy and compares sets, intervals, matrices, relations and numbers.
Departures, each from a known wrong verdict:
- decimals that round to the same six places are equal only if they also agree to one part in
  10^4, so that 1.6e-19 is not 6.6e-34 (Math-Verify#14);
- words are compared as words: `\text{Evelyn}` is no product of symbols, so no anagram of it passes;
- what cannot be parsed equals nothing but its own text, spaces and case apart (ms-swift#9889).
Importing this imports sympy (a second); nothing here has a deadline: it runs in a killable worker.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import math_verify.grader
import math_verify.parser
import sympy
from latex2sympy2_extended.latex2sympy2 import convert_to_pct
from latex2sympy2_extended.math_normalization import normalize_latex
from math_verify import LatexExtractionConfig, verify

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Reason, Verdict
from oneshot_rlvr.verifiers import grammar, proof
from oneshot_rlvr.verifiers.base import correct, shown, wrong
from oneshot_rlvr.verifiers.spelling import respelled

# Deadlines are the worker's: math-verify's own rest on SIGALRM, and it warns when they are off.
math_verify.parser.TIMEOUT_WARNING_SHOWN = True
math_verify.grader.TIMEOUT_WARNING_SHOWN = True
logging.getLogger("math_verify").setLevel(logging.CRITICAL)

RELATIVE_AGREEMENT = 1e-4

MAX_LIST = 64

# Units are taken off by trailing_units.py.
_NORMALIZATION = replace(LatexExtractionConfig().normalization_config, units=False)
_LISTS = (sympy.FiniteSet, sympy.Tuple)
_HUNDREDTH = sympy.UnevaluatedExpr(sympy.Rational(1, 100))
_RELATIONS = (sympy.core.relational.Relational, sympy.And)
_PERCENT = re.compile(r"\s*(?:\\?%|\\text\s?\{\s?(?:\\?%|percent)\s?\}|percent)\s*$")
_NAMED = re.compile(r"\\?[A-Za-z]+(?:_\{[^{}=]{1,40}\}|_\w)?(?:\s*\([^()=]{1,40}\))?\s*=\s*([^=]+)")
_SPACING = re.compile(r"\s|(?<=[A-Za-z])\.")
_MEANINGFUL = re.compile(r"[^\W_]")  # a letter or a digit
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox|textit)\s?\{([^{}]*)\}")
_WORDS = re.compile(r"[^\W\d_]+(?:[\s,'-]+[^\W\d_]+)*")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_OR = re.compile(r"\\text\s?\{\s?OR\s?\}")
_ARTICLE = re.compile(r"^(?:an?|the)\s(?=[^\W\d_]{2})", re.IGNORECASE)
_LETTER_IN_PARENTHESES = re.compile(r"\(([A-Za-z])\)")


def compare(answer: str, golds: Sequence[str]) -> Verdict:
    """Whether the answer equals one of the golds. DataError for a gold without a meaning."""
    parts = _OR.split(answer)
    if len(parts) > 1:  # right if every way of saying it is
        verdicts = [compare(part, golds) for part in parts]
        false = next((v for v in verdicts if not v.correct), None)
        return wrong(false.reason, answer) if false else correct(answer)
    said_words = _words(answer)
    said: Any | None = None
    for gold in _alternatives(golds):
        wanted_words = _words(gold)
        if wanted_words is not None:
            if said_words == wanted_words:
                return correct(answer)
            if len(wanted_words) > 1:
                continue
        wanted = _parsed(gold)
        if wanted is None:
            if not _MEANINGFUL.search(gold):
                raise DataError(f"the gold {shown(gold)} cannot be read as a mathematical answer.")
            if _letters(answer) == _letters(gold):
                return correct(answer)
            continue
        said = _parsed(answer)
        if said is not None and _equal(wanted, said):
            return correct(answer)
    readable = said_words is not None or said is not None or _parsed(answer) is not None
    return wrong(Reason.MISMATCH if readable else Reason.UNPARSEABLE, answer)


def _alternatives(golds: Sequence[str]) -> list[str]:
    r"""Each gold, and each side of a `\text{ OR }` in one (DeepScaleR has such golds)."""
    return [part for gold in golds for part in _OR.split(gold)]


def has_meaning(text: str) -> bool:
    """Whether a text is words or can be read as mathematics."""
    return _words(text) is not None or _parsed(text) is not None


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any | None:
    """The sympy object that the whole of an answer spells, or None.

    The whole: math-verify's own `parse` falls back on any number inside an answer that it cannot
    read, by which 4:41 a.m. equals 4:40 a.m. It also hands that number to sympy's `parse_expr`,
    which evaluates; the LaTeX grammar used here does not.
    """
    body = respelled(text)
    if body is None:
        return None
    percent = _PERCENT.search(body)
    named = _NAMED.fullmatch(body)
    if percent and percent.start() > 0:
        body = (named[1] if named else body).removesuffix(percent[0])
    value = _read(body)
    if value is None and named and not percent:
        value = _read(named[1])  # m_{max} = n - 1, of which the grammar reads only n - 1
    if value is None and r"\pm" in body and not percent:
        # Inside a fraction or a root, where the grammar does not know it: both signs, as a list.
        minus = body.replace(r"\pm", "-").replace(r"\mp", "+")
        value = _read(f"{body.replace(chr(92) + 'pm', '+').replace(chr(92) + 'mp', '-')}, {minus}")
    if percent:
        return convert_to_pct(value) if isinstance(value, sympy.Expr) else None
    return value


def _read(latex: str) -> Any | None:
    try:
        value = grammar.read(normalize_latex(latex, _NORMALIZATION))
    except MemoryError:
        raise
    except Exception:  # the grammar's refusals are plain Exceptions
        return None
    return None if value is sympy.nan or value is sympy.zoo else value


def _equal(wanted: Any, said: Any) -> bool:
    if isinstance(wanted, sympy.Eq) and wanted.lhs.is_Add and not isinstance(said, _RELATIONS):
        return False  # x + y = 5 is not 5; math-verify takes every left side for a name
    proved = proof.equal(wanted, said)
    if proved is not None:
        return proved
    # verify() is True or False for anything that was parsed; its own errors are False.
    if bool(verify(wanted, said, timeout_seconds=None)) and _agree(wanted, said):
        return True
    # 9% and 9 are one answer to math-verify, but 9.5% and 9.5 only by its fallback.
    percent_wanted, percent_said = _percentage(wanted), _percentage(said)
    if percent_wanted is None and percent_said is not None:
        return _equal(wanted, percent_said)
    if percent_said is None and percent_wanted is not None:
        return _equal(percent_wanted, said)
    return False


def _percentage(value: Any) -> Any | None:
    """9 of 9%; None for what is no percentage."""
    rest = [a for a in value.args if a != _HUNDREDTH] if isinstance(value, sympy.Mul) else []
    return sympy.Mul(*rest) if rest and len(rest) < len(value.args) else None


def _agree(wanted: Any, said: Any) -> bool:
    """False for numbers that only rounding to six places made equal, also inside equal lists."""
    try:
        if isinstance(wanted, _LISTS) and isinstance(said, _LISTS):
            left, right = list(wanted.args), list(said.args)
            if len(left) != len(right) or len(left) > MAX_LIST:
                return True
            numbers = [[_number(value) for value in side] for side in (left, right)]
            if any(n is None or n.imag for side in numbers for n in side):
                return True
            ordered = [sorted(n.real for n in side if n is not None) for side in numbers]
            return all(_close(a, b) for a, b in zip(*ordered, strict=True))
        a, b = _number(wanted), _number(said)
        if a is None or b is None:
            return True
        # 9% and 9 are one answer to math-verify, and to us.
        return _close(a, b) or _close(a * 100, b) or _close(a, b * 100)
    except MemoryError:
        raise
    except Exception:  # sympy on strange objects: math-verify's verdict stands
        return True


def _number(value: Any) -> complex | None:
    if isinstance(value, sympy.Basic) and getattr(value, "is_number", False):
        return complex(value.doit().evalf(20))
    return None


def _close(a: complex, b: complex) -> bool:
    return a == b or abs(a - b) <= RELATIVE_AGREEMENT * max(abs(a), abs(b))


def _words(text: str) -> str | None:
    r"""The words of an answer that is nothing but words, case folded; else None."""
    plain = _plain_text(text)
    letter = _LETTER_IN_PARENTHESES.fullmatch(plain)
    if letter:
        return letter[1]
    if not _WORDS.fullmatch(plain):
        return None
    if len(plain) == 1:
        return plain
    if _TEXT.search(text) or _LONG_WORD.search(plain):
        return _ARTICLE.sub("", plain).casefold()
    return None


def _plain_text(text: str) -> str:
    plain = _TEXT.sub(lambda m: m[1], text.replace("$", "").replace("\\dfrac", "\\frac"))
    return " ".join(plain.replace("\\ ", " ").replace("\\,", " ").split()).rstrip(".").strip()


def _letters(text: str) -> str:
    """A text without its spaces, case and abbreviation dots: `4:40 a.m.` is `4:40 AM`."""
    return _SPACING.sub("", _plain_text(text)).casefold()
