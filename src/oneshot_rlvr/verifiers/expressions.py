r"""Single expressions: LaTeX to sympy by latex2sympy's grammar, and whether two are equal.

Everything that the grammar drops or folds is put into the names of symbols first (`marked`): the
primes of f'(x), the inverse in f^{-1}(x), a transpose. Letter case is kept, `i` is the imaginary
unit, and symbols are real. Importing this imports sympy (a second); no deadline here: it runs in a
killable worker.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

import math_verify.grader
import math_verify.parser
import sympy
from latex2sympy2_extended.math_normalization import normalize_latex
from math_verify import LatexExtractionConfig, verify

from oneshot_rlvr.verifiers import bases, grammar, proof
from oneshot_rlvr.verifiers.numbers import DECIMALS

# Deadlines are the worker's: math-verify's own rest on SIGALRM, and it warns when they are off.
math_verify.parser.TIMEOUT_WARNING_SHOWN = True
math_verify.grader.TIMEOUT_WARNING_SHOWN = True
logging.getLogger("math_verify").setLevel(logging.CRITICAL)

RELATIVE_AGREEMENT = 1e-4
ROUNDING = 5.0001e-7  # half of the sixth place

# Units are taken off by trailing_units.py.
_NORMALIZATION = replace(LatexExtractionConfig().normalization_config, units=False)
_NAME = r"(?<![A-Za-z\\])(?P<name>\\?[A-Za-z]+?|[A-Za-z])"
_SUB = r"(?:_\s?(?:\{(?P<sub>[^{}]{1,40})\}|(?P<one>\w)))?"
_PRIMES = re.compile(
    r"(?P<name>\\[A-Za-z]{2,12}|[A-Za-z])"
    rf"{_SUB}\s?(?P<marks>'+|’+|′+|\^\s?(?:\\prime|\{{\s?(?:\\prime\s?){{1,3}}\}}))"
    r"(?:_\s?(?:\{(?P<after>[^{}]{1,40})\}|(?P<last>\w)))?"
)
_INVERSE = re.compile(
    r"(?<![A-Za-z\\])([fghFGH])(?:_\{?(\w{1,3})\}?)?\s?\^\s?\{\s?-\s?1\s?\}\s?(?=\()"
)
_TRANSPOSE = re.compile(
    r"\^\s?(?:T(?![A-Za-z])|\{\s?T\s?\}|\\(?:top|intercal)(?![A-Za-z])|\{\s?\\top\s?\})"
)
_IMAGINARY_FONT = re.compile(r"\\(?:mathrm|text|mathit|rm)\s?\{\s?([ei])\s?\}|\\imath(?![A-Za-z])")
_FONT = re.compile(
    r"\\(?:mathbf|mathit|boldsymbol|bm|mathsf|mathrm|mathcal|mathfrak|text|textbf|textit|operatorname)"
    r"\s?\{\s?([A-Za-z])\s?\}"
)
_DIFFERENTIAL = re.compile(r"\\(?:mathrm|text|rm)\s?\{\s?d\s?\}\s?(?=[A-Za-z])")
_BARE_FRACTION = re.compile(r"\\[dtc]?frac\s?(?:(\d)|\{([^{}]*)\})\s?(?:(\d)|\{([^{}]*)\})")
_OVER = re.compile(r"\{\s?([^{}]{1,60})\\over\s?([^{}]{1,60})\}")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
# The grammar takes every \\gamma for the gamma function of what follows.
_GAMMA = re.compile(r"\\gamma(?![A-Za-z])(?:\s?_\s?(?:\{(\w{1,8})\}|(\w)))?(?!\s?\()")
_ARROWED = r"\\(?:vec|overrightarrow)\s?(?:\{\s?(\w{1,3})\s?\}|(\w))"
_CROSS = re.compile(rf"{_ARROWED}\s*\\times\s*{_ARROWED}")  # no product in either order
_SINGLE_ACCENT = re.compile(r"\\(dot|ddot|hat|bar|vec|tilde)\s+([A-Za-z])(?![A-Za-z])")
# An angle by its three points, of which the one in the middle is its vertex.
_ANGLE = re.compile(
    r"(?:\bm\s?)?\\(?:measured)?angle\s?(?:\{\s?([A-Z]{3})\s?\}|([A-Z]{3})(?![A-Za-z]))"
)


# One of the grammar's parsers (antlr 4.9.3) reads no percent sign, and the other not every one.
_FROM = re.compile(r"\\(?:sum|prod)\s?(?:\\limits\s?)?_\s?\{[^{}]*\}")  # the = of \sum_{k=1}
_PERCENTAGE = re.compile(r"(?<![\w.}])(\d{1,30}(?:\.\d{1,30})?)\s?\\?%")


@lru_cache(maxsize=512)
def expression(latex: str) -> Any | None:
    """The sympy object that the whole of a text spells, or None.

    The whole: math-verify's own `parse` falls back on any number inside an answer that it cannot
    read, and hands it to sympy's `parse_expr`, which evaluates; the grammar used here does not.
    """
    body = bases.evaluated(marked(_PERCENTAGE.sub(r"\\frac{\1}{100}", latex)))
    if body is None or "=" in _FROM.sub("", body):
        return None
    degrees = bool(_TRIGONOMETRIC.search(body)) and "\\circ" in body
    try:
        value = grammar.read(normalize_latex(body, _NORMALIZATION), degrees)
        if isinstance(value, sympy.Basic) and value.has(_I):
            value = _with_imaginary(value)
    except MemoryError:
        raise
    except Exception:  # the grammar's refusals are plain Exceptions
        return None
    return None if value is sympy.nan or value is sympy.zoo else value


_I = sympy.Symbol("i", real=True)


def _with_imaginary(value: Any) -> Any:
    """`i` as the imaginary unit, unless it is the index of a sum or product."""
    bound = [v for s in value.atoms(sympy.Sum, sympy.Product) for v in s.variables]
    return value if _I in bound else value.xreplace({_I: sympy.I})


def marked(latex: str) -> str:
    """A text in which marks that the grammar drops are parts of the names that they stand on."""
    text = _IMAGINARY_FONT.sub(lambda m: m[1] or "i", latex)
    text = _ANGLE.sub(_vertex, text)
    text = _CROSS.sub(lambda m: f"C_{{cross{m[1] or m[2]}x{m[3] or m[4]}}}", text)
    text = _DIFFERENTIAL.sub("d", text)
    text = _FONT.sub(r"\1", text)
    text = _GAMMA.sub(lambda m: f"g_{{gam{m[1] or m[2] or ''}}}", text)
    text = _SINGLE_ACCENT.sub(r"\\\1{\2}", text)
    text = _INVERSE.sub(lambda m: f"{m[1]}_{{{m[2] or ''}inv}}", text)
    text = _TRANSPOSE.sub("^{T_{o}}", text)
    return _PRIMES.sub(_primed, text)


def _vertex(match: re.Match[str]) -> str:
    points = match[1] or match[2]
    return f"A_{{ang{min(points, points[::-1])}}}"


def _primed(match: re.Match[str]) -> str:
    count = match["marks"].count("prime") or len(match["marks"])
    below = "".join(match[g] or "" for g in ("sub", "one", "after", "last"))
    return f"{match['name']}_{{{below}p{count}}}"


def equal(wanted: Any, said: Any, decimals: int = DECIMALS) -> bool:
    """Whether two expressions are equal, as far as it can be shown.

    `decimals`: how many places of a decimal must agree; fewer than six only ever join more.
    """
    if _structural(wanted) or _structural(said):
        return bool(wanted == said)
    if decimals < DECIMALS and _rounded_to(decimals, wanted, said):
        return True
    proved = proof.equal(wanted, said)
    if proved is not None:
        return proved
    if getattr(wanted, "is_Symbol", False) or getattr(said, "is_Symbol", False):
        return bool(wanted == said)  # math-verify's rule for symbols folds their case
    if any(isinstance(v, sympy.Basic) and v.has(sympy.Float) for v in (wanted, said)):
        a, b = number(wanted), number(said)
        if a is not None and b is not None and abs(a - b) <= ROUNDING and close(a, b):
            return True  # which rounding both to six places may miss
    # verify() is True or False for anything that was parsed; its own errors are False.
    return bool(verify(wanted, said, timeout_seconds=None)) and _agree(wanted, said)


def _rounded_to(decimals: int, wanted: Any, said: Any) -> bool:
    """Whether two numbers, one of them a decimal, are half of the last place apart or less."""
    if not any(isinstance(v, sympy.Basic) and v.has(sympy.Float) for v in (wanted, said)):
        return False
    a, b = number(wanted), number(said)
    return a is not None and b is not None and abs(a - b) <= 0.500001 * 10.0**-decimals


def _structural(value: Any) -> bool:
    """Whether a value holds a derivative of a bare name, which sympy would evaluate to 0."""
    derivatives = value.atoms(sympy.Derivative) if isinstance(value, sympy.Basic) else ()
    return any(d.expr.is_Symbol for d in derivatives)


def _agree(wanted: Any, said: Any) -> bool:
    """False for numbers that only rounding to six places made equal."""
    try:
        a, b = number(wanted), number(said)
        return a is None or b is None or close(a, b)
    except MemoryError:
        raise
    except Exception:  # sympy on strange objects: math-verify's verdict stands
        return True


def number(value: Any) -> complex | None:
    """The value of a constant, as a float; None for what is none."""
    if isinstance(value, sympy.Basic) and getattr(value, "is_number", False):
        return complex(value.doit().evalf(20))
    return None


def close(a: complex, b: complex) -> bool:
    """Whether two numbers agree to one part in 10,000."""
    return a == b or abs(a - b) <= RELATIVE_AGREEMENT * max(abs(a), abs(b))
