r"""What a chain of equalities states: "x = 5", "F = ma = 50 N", "2/3 \approx 0.67".

A chain states its last part, if what stands before it names the value (a name, a function's value)
or is arithmetic that comes to it. An equation that has still to be solved (`2x = 5`), a relation
that is no equality (`x \ge 5`) and a false chain (`12 \approx 13`) state nothing. Arithmetic is
read by the few rules below and never evaluated as code.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from oneshot_rlvr.verifiers.fonts import FONT
from oneshot_rlvr.verifiers.unit_names import is_unit, read_unit

MAX_PARTS = 8
MAX_POWER = 64
MAX_TOKENS = 120
_EQUALITY = re.compile(
    r":=|==|\\(?:approx|sim|simeq|doteq)(?![a-z])|(?:\\(?:dot|hat)?=)|[=≈≃]"
)  # fmt: skip
_OTHER_RELATION = re.compile(
    r"[<>≤≥≠≢≡∈≪≫∼∝]|!=|=>|=<|/=|\\(?:n?eq?|neq|leq?|geq?|leqslant|geqslant|lt|gt|ll|gg|equiv|in|"
    r"notin|ne|not|cong|propto|to|mapsto|rightarrow|Rightarrow|implies|iff|pm|mp|mid)(?![a-zA-Z])|±"
)
# A character with which every relation and every label begins.
_RELATING = re.compile(r"[\\<>=!/:≤≥≠≢≡∈≪≫∼∝±≈≃]")
_WRAPPED = re.compile(
    rf"(?:{FONT}|\\(?:mathcal|mathbb|bar|hat|"
    r"vec|overline|tilde|widehat|dot|ddot|boldsymbol|bm))\s?\{([^{}]*)\}"
)
_GREEK = re.compile(
    r"\\(?:var)?(?:alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|"
    r"sigma|tau|phi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega|ell|hbar|angle|"
    r"triangle|Pr|partial|nabla)(?![a-z])\s?"
)
_SUBSCRIPT = re.compile(r"_\s?(?:\{[^{}]{0,40}\}|\\?[A-Za-z0-9]+)|['′*]+(?=$|\s|\()")
_NAME = re.compile(r"[^\W\d_](?:[^\W_]|[-'’&](?=[^\W\d_]{2})|[ ](?=[^\W\d_(]))*(?:\s?\([^()]*\))?")
_FUNCTION_VALUE = re.compile(r"(?P<name>[^\W\d_]{1,12})\s?[(\[](?P<of>[^\[\]]{1,60})[)\]]")
_RATIO = re.compile(r"d?[A-Z]/[A-Z]|d[a-z]/d[a-z]|[A-Za-z]{2,20}(?: to |/| / )[A-Za-z]{2,20}")
_DERIVATIVE = re.compile(r"\\[dt]?frac\s?\{d[A-Za-z]?\}\s?\{d[A-Za-z]\}[A-Za-z]?")
_SQUARED_NAME = re.compile(r"R\^\{?2\}?|(?:\\chi|\\sigma|\\eta|χ|σ|η)\^\{?2\}?")
_OF_X = frozenset("xyzn")
# Single letters in a row are a product; of short words these are no names of values.
_PRODUCT = re.compile(
    r"[a-z]{2}|[xyz]{2,3}|abc?d?|pqr?|[b-df-hj-np-tv-z]{3}|[A-Za-z](?: [A-Za-z])+"
)
_ABBREVIATIONS = frozenset({"ev", "hr", "bp", "ci", "sd", "se", "ph", "npv", "pv", "fv", "rms"})
_NO_NAME = re.compile(
    r"\b(?:not|isn|isn't|never|wrong|incorrect|false|except|or|and|if|than|least|most|neither|nor|"
    r"log|ln|lg|sin|cos|tan|sec|csc|cot|exp|sqrt|arcsin|arccos|arctan|times|plus|minus|mod)\b"
    r"|\\(?:log|ln|sin|cos|tan|sec|csc|cot|exp|sqrt|arcsin|arccos|arctan)(?![a-z])"
)
_LISTED = re.compile(r"(?<![0-9]),|,(?![0-9]{3}(?![0-9]))|;|\b(?:or|and)\b|\\(?:or|vee|lor|land)\b")


@dataclass(frozen=True, slots=True)
class Chain:
    """The last part of a chain, and the earlier parts that are arithmetic, with their values."""

    last: str
    earlier: tuple[tuple[str, Fraction], ...] = ()


def read_chain(text: str) -> Chain | None:
    """What the text states. None where it states no value: see the module."""
    if not _RELATING.search(text):
        return Chain(text.strip())
    if _OTHER_RELATION.search(text) and _other_relation(text):
        return None
    parts = _parts(text)
    if len(parts) == 1 and ":" not in text:
        return Chain(parts[0])
    if len(parts) > MAX_PARTS:
        return None
    *before, last = parts
    if not before:
        label, colon, rest = last.partition(":")
        return Chain(rest.strip() if colon and is_name(label) else last)
    if len(before) == 1 and is_name(last) and not is_name(before[0]):
        return Chain(before[0])  # 5 = x
    first, *middle = before
    if any(_LISTED.search(_without_brackets(part)) for part in middle):
        return None
    named = not first or is_name(first)
    values = []
    for part in middle if named else before:
        value = arithmetic(part)
        if value is not None:
            values.append((part, value))
        elif not named:
            return None
    return Chain(last, tuple(values))


def _parts(text: str) -> list[str]:
    """The text cut at its equalities outside brackets."""
    parts, start, depth = [], 0, 0
    marks = {m.start(): m.end() for m in _EQUALITY.finditer(text)}
    if not marks:
        return [text.strip()]
    at = 0
    while at < len(text):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if at in marks and depth <= 0:
            parts.append(text[start:at].strip())
            start = at = marks[at]
            continue
        at += 1
    parts.append(text[start:].strip())
    return parts


def _without_brackets(text: str) -> str:
    kept, depth = [], 0
    for char in text:
        depth += char in "([{"
        if depth <= 0:
            kept.append(char)
        depth -= char in ")]}" and depth > 0
    return "".join(kept)


def _other_relation(text: str) -> bool:
    """Whether a relation that is no equality stands outside brackets."""
    return _OTHER_RELATION.search(_without_brackets(text)) is not None


def is_name(part: str) -> bool:
    """Whether the part names a value: x, v_0, \\text{Total cost}, f(2), P(A), dy/dx, P/E."""
    part = part.strip().strip("$").strip()
    if _DERIVATIVE.fullmatch(part) or _SQUARED_NAME.fullmatch(part):
        return True
    if _NO_NAME.search(part.lower() if "\\" not in part else part):
        return False
    for _ in range(3):
        part = _WRAPPED.sub(lambda m: f" {m[1]} ", part)
    greek = _GREEK.search(part) is not None
    part = _GREEK.sub(" Δ ", part).replace("\\left", "").replace("\\right", "")
    part = re.sub(r"\\[,;:! ]|~", " ", part)
    part = re.sub(r"\s+(?=_)", "", _SUBSCRIPT.sub("", part))
    part = " ".join(part.split())
    if part.startswith("|") and part.endswith("|") and len(part) > 2:
        return is_name(part[1:-1]) and part[1:-1].strip() not in _OF_X and not part[1:-1].islower()
    if _RATIO.fullmatch(part):
        return True
    called = _FUNCTION_VALUE.fullmatch(part)
    if called is not None:
        name, of = called["name"], called["of"].strip()
        if name not in "abcmnkxyzt" or len(name) > 1:
            return True
        return re.fullmatch(r"-?[0-9.]+|t|∞|\\infty", of) is not None
    if not _NAME.fullmatch(part) or len(part) > 120:
        return False
    if greek:
        return len(part.split()) <= 2 or not any(len(word) == 1 for word in part.split()[2:])
    product = _PRODUCT.fullmatch(part) is not None
    return not product or part in _ABBREVIATIONS


_ARITHMETIC = re.compile(
    r"\s*(?:(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})"
    r"|(?P<mark>\*\*|[-+*/^()×÷%])|(?P<word>[A-Za-zµ°$€£²³]{1,20}))"
)
_SPELLED = (
    (re.compile(r"\\[dtc]?frac\s?\{([^{}]*)\}\s?\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\\sqrt\s?\{([^{}]*)\}"), r"((\1)^.5)"),
    (re.compile(rf"{FONT}\s?\{{([^{{}}]*)\}}"), r" \1 "),
    (re.compile(r"\\(?:times|cdot)(?![a-z])|[·⋅×]"), "*"),
    (re.compile(r"\\div(?![a-z])|÷"), "/"),
    (re.compile(r"\^\s?\{([^{}]*)\}"), r"^(\1)"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\[,!:; ]|~|\\left|\\right|\\q?quad"), " "),
    (re.compile("[\u2212\u2013]"), "-"),
)
_WORDS = {"thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}


def arithmetic(text: str) -> Fraction | None:
    """The value of arithmetic on numbers, units behind numbers left aside; None for the rest."""
    text = text.strip().strip("$")
    for pattern, replacement in _SPELLED:
        for _ in range(3):
            text = pattern.sub(replacement, text)
    tokens: list[Fraction | str] = []
    at = 0
    text = text.strip()
    while at < len(text):
        token = _ARITHMETIC.match(text, at)
        if token is None or len(tokens) > MAX_TOKENS:
            return None
        at = token.end()
        if token["number"]:
            tokens.append(Fraction(token["number"].replace(",", "").rstrip(".")))
        elif token["mark"] == "%" or token["word"]:
            word = token["mark"] or token["word"].lower()
            if word in "$€£" and (not tokens or isinstance(tokens[-1], str)):
                continue
            if not tokens or not (isinstance(tokens[-1], Fraction) or tokens[-1] == ")"):
                return None
            if word in ("x", "x ") and at < len(text):
                tokens.append("*")
            elif word in _WORDS or word == "%":
                tokens += ["*", Fraction(_WORDS.get(word, Fraction(1, 100)))]
            elif not _may_be_unit(word):
                return None
            elif re.match(r"\s?(?:\^\s?\(?-?[0-9]\)?|[0-9](?![0-9]))", text[at:]):
                return None  # a power of a unit: not followed here
        else:
            tokens.append("^" if token["mark"] == "**" else token["mark"])
    try:
        value, end = _sum(tokens, 0)
    except (ArithmeticError, ValueError, IndexError, RecursionError):
        return None
    return value if end == len(tokens) else None


def _may_be_unit(word: str) -> bool:
    unit = read_unit(word)
    return unit is not None and is_unit(unit, word, False) is True


def _sum(tokens: list[Fraction | str], at: int) -> tuple[Fraction, int]:
    value, at = _term(tokens, at)
    while at < len(tokens) and tokens[at] in ("+", "-"):
        other, end = _term(tokens, at + 1)
        value = value + other if tokens[at] == "+" else value - other
        at = end
    return value, at


def _term(tokens: list[Fraction | str], at: int) -> tuple[Fraction, int]:
    value, at = _power(tokens, at)
    while at < len(tokens):
        if tokens[at] in ("*", "/"):
            other, end = _power(tokens, at + 1)
            value = value * other if tokens[at] == "*" else value / other
        elif tokens[at] == "(":
            other, end = _power(tokens, at)
            value = value * other
        else:
            break
        at = end
    return value, at


def _power(tokens: list[Fraction | str], at: int) -> tuple[Fraction, int]:
    token = tokens[at]
    if token in ("-", "+"):
        value, at = _power(tokens, at + 1)
        return (-value if token == "-" else value), at
    if token == "(":
        value, at = _sum(tokens, at + 1)
        if tokens[at] != ")":
            raise ValueError("a bracket that does not close")
        at += 1
    elif isinstance(token, Fraction):
        value, at = token, at + 1
    else:
        raise ValueError("no number")
    if at < len(tokens) and tokens[at] == "^":
        exponent, at = _power(tokens, at + 1)
        value = _raised(value, exponent)
    return value, at


def _raised(value: Fraction, exponent: Fraction) -> Fraction:
    if (
        abs(exponent) > MAX_POWER
        or max(value.numerator.bit_length(), value.denominator.bit_length()) > 256
    ):
        raise ValueError("too large")
    if exponent.denominator == 1:
        return value ** int(exponent)
    number = float(value) ** float(exponent)
    if isinstance(number, complex) or not math.isfinite(number):
        raise ValueError("no real number")
    return Fraction(number).limit_denominator(10**12)
