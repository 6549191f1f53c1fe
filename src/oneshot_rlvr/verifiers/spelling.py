r"""Spellings that the LaTeX grammar misreads, respelled: pure text to text, no sympy.

Each rule is there because the grammar of latex2sympy2_extended 1.11 reads the left form as
something else, or not at all: `4.5e33` as 4.5 * e * 33, `1\,234` as 1 + 234, `10^33` as 10^3 * 3.
Not here: what an expression means.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from oneshot_rlvr.verifiers.fonts import FONT
from oneshot_rlvr.verifiers.trailing_units import without_units

_SYMBOLS = str.maketrans(
    {
        "\u2212": "-", "\u2013": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ",
        "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
        "∪": r"\cup ", "∩": r"\cap ", "°": r"^\circ ", "\n": " ", "\t": " ", "\u00a0": " ",
        "≈": r"\approx ", "∅": r"\emptyset ", "±": r"\pm ", "²": "^2", "³": "^3",
        # A Chinese keyboard's punctuation, full-width digits included.
        "，": ",", "；": ";", "：": ":", "（": "(", "）": ")", "。": ".", "＝": "=", "％": "%",
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
    }
)  # fmt: skip
_SPACES = r"(?:\s|~|\\[,;:!> ]|\\q?quad(?![A-Za-z])|\\(?:displaystyle|textstyle)(?![A-Za-z]))"
_LABEL = rf"(?:{FONT}\s?\{{\s?\([A-E]\)\s?\}}|\([A-E]\))"
_OPERATOR = r"\\(?:[cd]ot|times|div|cup|cap|[bp]?mod|to|in|[lg]eq?|neq?)(?![A-Za-z])"
_NAMES = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|pi|infty"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # What stands around an answer: spacing, colour, emphasis, "the answer is", the label (B).
        (rf"^{_SPACES}+|{_SPACES}+$", ""),
        (r"\\(?:text)?color\s?\{[A-Za-z]{1,20}\}\s?\{([^{}]{0,200})\}", r"\1"),
        (r"\\(?:underline|fbox|bm|boldsymbol)\s?\{([^{}]{0,200})\}", r"\1"),
        (
            rf"{FONT}\s?\{{((?:[^{{}}A-Za-z]|\b(?:and|or)\b)*\d(?:[^{{}}A-Za-z]|\b(?:and|or)\b)*)\}}",
            r"\1",
        ),
        (rf"^{FONT}\s?\{{\s?\(?[A-E]\)\s*([^{{}}A-Za-z]*\d[^{{}}A-Za-z]*)\}}", r"\1"),
        (r"^(?:\\text\s?\{)?\s?(?:[Tt]he )?(?:[Ff]inal )?[Aa]nswer(?: is|\s?[:=])\s?\}?\s?", ""),
        (
            rf"^{_LABEL}{_SPACES}*(?=[-\d\\])(?!-|\\(?:[cd]ot|times|div|cup|cap|[bp]?mod|to|in|[lg]eq?|neq?)\b)",
            "",
        ),
        (
            r"^(?:\\(?:approx|simeq|sim|therefore|implies|[Rr]ightarrow|Longrightarrow)(?![a-z])|=)\s*"
            r"(?=[-\d\\.(\[])",
            "",
        ),
        (r"_\s?\{\s*\}|\s*\\checkmark\s*$", ""),
        (r"\\degrees?(?![A-Za-z])", r"^\\circ "),
        (r"\\log\s?_\s?(?:e(?![A-Za-z])|\{\s?e\s?\})", r"\\ln "),
        (r"\\[dt]?binom\s?([A-Za-z0-9])\s?([A-Za-z0-9])", r"\\binom{\1}{\2}"),
        (r"\\varnothing", r"\\emptyset"),
        # 3.14... is a number cut short; other dots leave something unsaid (see `respelled`).
        (r"(?<=\d)(\.\d{1,40})\s?(?:\.\.\.|…|\\[lc]?dots(?![a-z]))\s?$", r"\1"),
        # 12 4/5 is a mixed number, as 12\frac{4}{5} is.
        (r"(?<![\w.}/^,])(\d{1,12})\s+(\d{1,6})/(\d{1,6})(?![\w./^])", r"\1\\frac{\2}{\3}"),
        (r"\*\*", "^"),
        (r"√\s*\(([^()]{1,80})\)|√\s*(\w{1,20})", r"\\sqrt{\1\2}"),
        (r"(?<![A-Za-z\\])(?:np|math|sympy)\.(?=[a-z])", ""),
        (r"(?<![A-Za-z\\])sqrt\s*\(([^()]{1,80})\)", r"\\sqrt{\1}"),
        (rf"(?<![A-Za-z\\{{])({_NAMES})(?![A-Za-z}}])", r"\\\1 "),
        # 1\,234 and 1{,}234 and 1 234 are 1234.
        (
            r"(?<![\d.,])(\d{1,3})(?:(?:\\[,!;: ]|\{,\}|\ )(\d{3}))"
            r"(?:(?:\\[,!;: ]|\{,\}|\ )(\d{3}))?(?:(?:\\[,!;: ]|\{,\}|\ )(\d{3}))?(?!\d)",
            r"\1\2\3\4",
        ),
        (r"(?<=\d)\s*(?:[xX*]|\\cdot)\s*10\s*\^", r" \\times 10^"),
        (
            r"(?<![A-Za-z\d.\\])(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})[eE]([-+]?\d{1,4})(?![\dA-Za-z.])",
            r"\1 \\times 10^{\2}",
        ),
        (r"\^\s*\(\s*([-+]?\d{1,6})\s*\)", r"^{\1}"),
        (r"\^\s*([-+]\d{1,6}|\d{2,6})", r"^{\1}"),
        (r"(?<=\d)\.(?![\d.])", ""),
    )
)
_BEFORE_UNITS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            r"\\\\(?=(?:left|right|frac|sqrt|pi|le|ge|text|cup|infty|times|cdot|circ|pm)(?![a-z]))",
            r"\\",
        ),
        (r"(?<=\d)\s?,\s?\\!\s*(?=\d{3}(?!\d))", ""),
        # Display mathematics inside a box, sizes, tags, end-of-proof squares, spaces of all kinds.
        (r"\\(?:[()]|[\[\]](?!\d*(?:pt|ex|em)))", ""),
        (
            r"\\(?:tiny|small|normalsize|[lL]arge|LARGE|[hH]uge|scriptstyle|displaystyle|textstyle"
            r"|limits)(?![A-Za-z])",
            "",
        ),
        (r"\\(?:tag|label)\s?\{[^{}]{0,20}\}|\\(?:square|blacksquare|Box|qed)\s*$", ""),
        (r"\\(?:hspace|hskip|kern)\s?\*?\s?\{[^{}]{0,12}\}|\\(?:enspace|thinspace|medspace|nobreakspace)"
         r"(?![A-Za-z])", " "),
        (r"(?<!\\)\\(?=\s|$)", ""),
        (r"\{?\\(?:rm|sf|tt|it)\s+([A-Za-z][A-Za-z/ ]{0,30})\}?", r"\\text{ \1}"),
        (r"\\(?:nicefrac|sfrac|cfrac|tfrac|dfrac|xfrac|flatfrac)(?![A-Za-z])", r"\\frac"),
        (r"\\frac\s+(\d)\s*(?:(\d)(?!\d)|(?=\{))", r"\\frac{\1}\2"),
        (r"\\frac(\s?\{[^{}]*\})\s?(\d)", r"\\frac\1{\2}"),
        (rf"(?:{FONT}\s?\{{\s?)?\b(?:per\s?cent|percentage|pct)\b\s?\}}?", r"\\%"),
        # A number with its unit inside one \text{}.
        (rf"{FONT}\s?\{{\s?([-+]?\$?\d[\d.,/]*)(\s[A-Za-z][^{{}}]*|\s?%)\}}",
         r"\1\\text{\2}"),
    )
)  # fmt: skip
_VULGAR = re.compile(r"(\d)?\s?([\u00bc-\u00be\u2150-\u215e])")
_SUPERSCRIPTS = re.compile("[\u2070\u00b9\u2074-\u2079\u207b]+")
_DEEPER = re.compile(r"^[^{]*\}")  # closes before it opens
_DOLLAR = re.compile(r"(?<!\\)\$|[€£¥₹](?=\s?\d)|(?<=\d)\s?[€£¥₹]")
_END = re.compile(r"(?<!\\)(?:(?<!\.)\.|[,;])\s?$")
_DOTS = re.compile(r"\.\.\.|…|\\[lc]?dots(?![a-z])")
# 0.1\overline{6}
_REPEATING = re.compile(
    r"(?<![\d.])(\d{0,20})\.(\d{0,20})\\(?:overline|bar|dot)\s?\{?(\d{1,20})\}?(?![\d\\])"
)
# Two numbers side by side are neither a sum (as the grammar has it) nor a product.
_ADJACENT_NUMBERS = re.compile(r"(?<![\d._])\d+(?:\.\d+)?\s+\d+(?!\s*/|\d)")


def respelled(answer: str) -> str | None:
    """The answer as the grammar should read it; None for one that it must not read at all."""
    body = _SUPERSCRIPTS.sub(_power, _VULGAR.sub(_vulgar, answer)).translate(_SYMBOLS)
    body = _END.sub("", _DOLLAR.sub("", body).strip())
    for pattern, replacement in _BEFORE_UNITS:
        body = pattern.sub(replacement, body)
    body = unbraced(body)
    body = _REPEATING.sub(_fraction, without_units(body))
    for pattern, replacement in _RULES:
        body = pattern.sub(replacement, body)
    if _DOTS.search(body):
        return None
    if _ADJACENT_NUMBERS.search(body) and "\\\\" not in body and "&" not in body:
        return None
    return body.strip() or None


def unbraced(text: str) -> str:
    """Without outer spaces and braces that hold the whole."""
    text = text.strip()
    while text.startswith("{") and text.endswith("}") and not text.endswith("\\}"):
        inside = text[1:-1]
        if _DEEPER.search(inside) or inside.count("{") != inside.count("}"):
            break
        text = inside.strip()
    return text


def _vulgar(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match[2]).partition("\u2044")
    return rf"{match[1] or ''}\frac{{{top}}}{{{bottom}}}"


def _power(match: re.Match[str]) -> str:
    return f"^{{{unicodedata.normalize('NFKC', match[0]).replace(chr(0x2212), '-')}}}"


def _fraction(repeating: re.Match[str]) -> str:
    """A decimal with a repeating end, as the fraction that it is."""
    whole, fixed, again = repeating[1] or "0", repeating[2], repeating[3]
    nines = 10 ** len(again) - 1
    value = Fraction(int(whole + fixed) * nines + int(again), nines * 10 ** len(fixed))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
