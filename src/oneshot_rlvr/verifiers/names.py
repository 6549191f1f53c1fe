r"""Left sides that are mere names: `x`, `f(2)`, `AB`, `\angle ABC`, `V_{max}`, `P(A \cap B)`.

`x = 5` states 5; `2x = 5` states something else. Pure text.
"""

from __future__ import annotations

import re

from oneshot_rlvr.verifiers.fonts import FONT

_LETTER = (
    r"(?:\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|iota|kappa|lambda|mu"
    r"|nu|xi|rho|sigma|tau|upsilon|phi|varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi"
    r"|Psi|Omega|ell)(?![A-Za-z])|[A-Za-z])"
)
_DRESSED = (
    rf"(?:{FONT}|\\(?:mathcal|mathbb|boldsymbol|bm|"
    r"vec|hat|bar|tilde|overline|overrightarrow|dot|ddot|widehat))"
)
_WRAPPED = rf"{_DRESSED}\s?\{{[^{{}}]{{1,60}}\}}"
_SUB = r"(?:\s?_\s?(?:\{[^{}]{1,40}(?:\{[^{}]{0,20}\})?[^{}]{0,20}\}|\\?\w+?))?"
_MARKS = (
    r"(?:'{1,3}|\^\s?\{?\s?(?:\\prime\s?){1,3}\}?|\^\s?\*"
    r"|\^\s?\{\s?(?:-\s?1|\*|\(\w\))\s?\}(?=\s?\())?"
)
_ARGUMENTS = r"(?:\s?(?:\((?:[^()]|\([^()]*\)){1,60}\)|\[[^\[\]=]{1,40}\])){0,2}"
_CAPITALS = r"[A-Z]{2,6}"
_ONE = (
    rf"(?:(?:{_WRAPPED}|m?\s?\\(?:angle|measuredangle|triangle|square|overline|widehat)\s?"
    rf"(?:\{{[A-Z]{{1,6}}\}}|[A-Z]{{1,4}}'?|[a-z])|{_CAPITALS}|{_LETTER}|\\(?:Pr|det|deg|dim|max|min|gcd|lcm)"
    rf"(?=\s?[({{(]|\s?$)){_SUB}{_MARKS}{_SUB}{_ARGUMENTS})"
)
_OPERATOR = rf"(?:\\(?:lim|max|min|sup|inf)(?:sup|inf)?(?![A-Za-z]){_SUB}\s?)"
_SIZE = (
    r"(?:\||\\lvert\s?)\s?(?:[A-Z]{1,3}|\\(?:vec|overline|overrightarrow)\s?\{[A-Za-z]{1,2}\})"
    r"\s?(?:\||\\rvert)"
)
_SEGMENT = rf"(?:{_CAPITALS}(?:_\{{?\w{{1,8}}\}}?)?|[A-Z](?:_\{{?\w{{1,8}}\}}?)?|{_SIZE})"
_NAME = re.compile(
    rf"(?:{FONT}\s?\{{[^{{}}\d]{{0,60}}\}}\s?)?(?:{_OPERATOR}?{_ONE}|{_SIZE}|\[[A-Z]{{3,6}}\]"
    rf"|{_SEGMENT}\s?(?::|/)\s?{_SEGMENT}|\\[dt]?frac\s?\{{\s?{_SEGMENT}\s?\}}\s?\{{\s?{_SEGMENT}\s?\}}"
    r"|(?:Area|area|Volume|volume|Perimeter|perimeter|length|Answer|answer|[Tt]otal|[Ss]um)"
    rf"(?:\s?\([^()]{{1,40}}\))?)\s?(?:\\text\s?\{{[^{{}}]{{0,40}}\}})?"
)
_TUPLE = re.compile(rf"\(\s?{_ONE}(?:\s?,\s?{_ONE}){{1,6}}\s?\)")
_FUNCTION = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|arc)")
# \max(3, 4) is no name but 4, and \text{twice the number} is none of the number.
_OF_NUMBERS = re.compile(r"\\[a-z]{3}\s?\{?[({]?[-\d\s,./(){}]*\d[-\d\s,./(){}]*")
_OPERATION = re.compile(
    r"\b(?:twice|thrice|double|triple|half\s+(?:of\b|the\b|[a-z]\b)|plus|minus|squared|cubed|not|"
    r"wrong|incorrect|false|(?:more|less|fewer|greater)\s+than)\b",
    re.IGNORECASE,
)
_PLAIN = re.compile(rf"{_LETTER}(?:\s?_\s?(?:\{{[^{{}}]{{1,12}}\}}|\w))?")


def is_name(text: str) -> bool:
    """Whether a text only names something, as a left side may."""
    text = text.strip().strip("$").strip()
    if not text or len(text) > 120 or _FUNCTION.match(text):
        return False
    if _OF_NUMBERS.fullmatch(text) or ("{" in text and says_operation(text)):
        return False
    return bool(_NAME.fullmatch(text) or _TUPLE.fullmatch(text))


def says_operation(words: str) -> bool:
    """Whether words say what is done to a value: "twice the number" names no number."""
    return _OPERATION.search(words) is not None


def is_plain(text: str) -> bool:
    """Whether a name is one letter, with or without an index."""
    return bool(_PLAIN.fullmatch(text.strip()))


def stem(text: str) -> str:
    """A name without its index: `x_1` and `x_2` are values of one unknown."""
    return re.sub(r"\s?_\s?(?:\{[^{}]*\}|\w)", "", text).strip()
