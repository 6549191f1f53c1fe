r"""A number and its unit, as a text spells them: "$1,250", "5,000\,\mu\text{g}", "2 h 30 min".

Read exactly, as Fractions: signs, thousands separators, currency, percent, scientific notation,
fractions, mixed numbers, "3.2 million", compound quantities and blood pressures. Not here: what
stands before an equals sign (chains.py) and what units mean (unit_names.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from oneshot_rlvr.verifiers.fonts import FONT
from oneshot_rlvr.verifiers.unit_names import NO_UNIT, Unit, read_unit, says_more

MAX_EXPONENT = 400  # floats end at 308
_SEPARATORS = re.compile(r"[,\u00a0\u202f ]")
_SIGNS = r"US\$|A\$|C\$|[$€£¥₹¢]"
_CODES = "USD|EUR|GBP|JPY|INR|CHF|AUD|CAD|CNY|HKD|NZD|SGD|KRW|BRL|MXN"
_INDIAN = r"[0-9]{1,2}(?:,[0-9]{2}){1,6},[0-9]{3}"
_GROUPED = rf"[0-9]{{1,3}}(?:[,\u00a0\u202f ][0-9]{{3}})+|{_INDIAN}"
_DIGITS = rf"(?:{_GROUPED}|[0-9]{{1,60}})"
_INTEGER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,60})"  # no spaces: 1 1/2 is a mixed number
# A digit in a unit stands behind its name (m2, m^2, s^-1), or below a slash (/1.73 m^2).
_UNIT = (
    r"(?:[^\W\d_]|[%°‰$€£¥₹¢'/(])"
    r"(?:[^\W\d_]|[%°‰$€£¥₹¢/^*·()\s.'-]|(?<=[^\W\d_])[0-9]|(?<=[\^-])[0-9]"
    r"|(?:(?<=/)|(?<=/ )|(?<=per ))[0-9][0-9,]{0,9}(?:\.[0-9]{1,4})?(?=\s?[^\W\d_])){0,59}"
)
_QUANTITY = re.compile(
    rf"(?P<sign1>[-+]?)\s?(?P<currency>{_SIGNS}|(?:{_CODES})\s)?\s?"
    rf"(?P<sign2>[-+]?)\s?"
    rf"(?:(?:(?P<whole>[0-9]{{1,12}})\s)?(?P<top>{_INTEGER})\s?/\s?(?P<bottom>{_INTEGER})(?![.,]?[0-9])"
    rf"|10\s?(?:\^|\*\*)\s?\(?(?P<tens>[-+]?[0-9]{{1,3}})\)?"
    rf"|(?P<number>{_DIGITS}(?:\.[0-9]{{0,60}})?|\.[0-9]{{1,60}})"
    rf"(?:\s?(?:[eE]|[x*×]\s?10\s?(?:\^|\*\*)\s?)\(?(?P<exponent>[-+]?[0-9]{{1,4}})\)?)?)"
    rf"(?P<space>\s?)(?P<unit>{_UNIT})?"
)
_PRESSURE = re.compile(
    r"(?P<upper>[0-9]{2,3})\s?(?:/|over)\s?(?P<lower>[0-9]{2,3})\s?(?P<unit>mm\s?hg)?", re.I
)
_MAGNITUDES: dict[str, int | Fraction] = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "thousands": 1000, "millions": 10**6, "billions": 10**9, "trillions": 10**12, "dozen": 12,
    "dozens": 12, "mn": 10**6, "mln": 10**6, "bn": 10**9, "bln": 10**9, "tn": 10**12, "k": 1000,
    "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7,
    "tenth": Fraction(1, 10), "tenths": Fraction(1, 10),
    "hundredth": Fraction(1, 100), "hundredths": Fraction(1, 100),
    "thousandth": Fraction(1, 1000), "thousandths": Fraction(1, 1000),
    "millionth": Fraction(1, 10**6), "millionths": Fraction(1, 10**6),
}  # fmt: skip
_OF_MONEY: dict[str, int | Fraction] = {
    "K": 10**3,
    "m": 10**6,
    "M": 10**6,
    "MM": 10**6,
    "b": 10**9,
    "B": 10**9,
    "T": 10**12,
}
_ABOUT = re.compile(
    r"^(?:\\(?:approx|sim|simeq)(?![a-z])|[~≈≃]|(?:about|approximately|approx\.?|roughly|around|"
    r"nearly|almost|circa|ca\.)\s)\s*",
    re.I,
)
_MORE_THAN_ONE = re.compile(r"[0-9]\s?[^0-9.,\s][^0-9]*[0-9]")  # two numbers, it may be
_MINUS = re.compile(r"^(?:minus|negative)\s+(?=[0-9.$€£¥₹])", re.I)
_ACCOUNTING = re.compile(
    rf"(?P<left>(?:{_SIGNS}|(?:{_CODES})\s)?)\s?\((?P<inside>[^()]{{1,60}})\)\s?(?P<right>[^()]*)"
)
_MARK_OF_MONEY = re.compile(rf"{_SIGNS}|{_CODES}|[0-9],[0-9]|%")
# A pattern, what stands for it, and texts without one of which it has nothing to do.
_RULES: tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), replacement, tuple(needed.split()))
    for pattern, replacement, needed in (
        (r"\\(?:text)?color\s?\{[A-Za-z]{1,20}\}\s?\{([^{}]*)\}", r"\1", "color"),
        (r"\\(?:underline|fbox|bm|boldsymbol)\s?\{([^{}]*)\}", r"\1", r"line \fbox \bm \bold"),
        (r"\\(?:SI|qty)\s?\{([^{}]*)\}\s?\{([^{}]*)\}|\\num\s?\{([^{}]*)\}", r"\1\3 \2",
         r"\SI \qty \num"),
        (r"\\[dtc]?frac\s?\{([0-9., ]{1,60})\}\s?\{([0-9., ]{1,60})\}", r" \1/\2", "frac"),
        (r"\\[dtc]?frac\s?([0-9])\s?([0-9])(?![0-9])", r" \1/\2", "frac"),
        (r"\\(?:mu|micro|textmu)(?![a-z])", "µ", r"\mu \micro \textmu"),
        (r"\\(?:Omega|ohm)(?![a-z])", "Ω", r"\Omega \ohm"),
        (r"\\(?:AA|angstrom)(?![a-z])|\\mathring\s?\{A\}", "Å", r"\AA \angstrom \mathring"),
        (r"\\(?:euro|texteuro)(?![a-z])(?:\{\})?", "€", "euro"),
        (r"\\(?:pounds|textsterling)(?![a-z])(?:\{\})?", "£", "pounds sterling"),
        (r"\\ell(?![a-z])", "L", r"\ell"),
        (r"\^\s?\{?\s?\\circ(?![a-z])\s?\}?", "°", r"\circ"),
        (r"\\(?:degrees?|textdegree|celsius)(?![a-z])", "°", "degree celsius"),
        (r"\^\s?\{\s?([-+]?[0-9]{1,4})\s?\}", r"^\1", "^"),
        (rf"(?:{FONT}|\\rm)\s?\{{([^{{}}]*)\}}", r" \1",
         r"\text \math \mbox \hbox \emph \rm \operatorname"),
        (r"\{\s?\\(?:rm|bf|it)\s+([^{}\\]*)\}", r" \1", r"\rm \bf \it"),
        (r"\\[dtc]?frac\s?\{\s*([^{}\\]{1,40})\}\s?\{\s*([^{}\\]{1,40})\}", r" \1/(\2)", "frac"),
        (r"\\(?:times|cdot)(?![a-z])|[·⋅∙×](?=\s?[0-9])", "*", r"\times \cdot · ⋅ ∙ ×"),
        (r"\{,\}|(?<=[0-9])\\[,!:; ](?=[0-9]{3})", ",", r"\ ,"),
        (r"\\([%$])", r"\1", r"\% \$"),
        (r"\\[,!:; ]|(?<!^)~|\\(?:left|right|q?quad|displaystyle)(?![a-z])", " ", r"\ ~"),
        ("[\u2212\u2013](?=\\s?[0-9$€£¥₹.])", "-", "\u2212 \u2013"),
        (r"°\s+(?=[CFK]\b)", "°", "°"),
        (r"µ\s+(?=[A-Za-z])", "µ", "µ"),
    )
)  # fmt: skip
_SAME_SIGNS = str.maketrans(
    "\u03bc\u2126\u212b\u2032\u2033０１２３４５６７８９．，％", "µΩÅ'\"0123456789.,%"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_POWERS = re.compile(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5",
    "⅘": "4/5", "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8",
}  # fmt: skip
# Compound quantities: families of units, each with its size in the family's smallest.
_FAMILIES: tuple[dict[str, int], ...] = (
    {"week": 604800, "day": 86400, "h": 3600, "min": 60, "s": 1},
    {"h": 60, "m": 1},  # 1h30m
    {"year": 12, "month": 1},
    {"mile": 63360, "mi": 63360, "yard": 36, "yd": 36, "foot": 12, "inch": 1},
    {"m": 100, "cm": 1},
    {"km": 1000, "m": 1},
    {"stone": 224, "pound": 16, "ounce": 1, "oz": 1},
    {"kg": 1000, "g": 1},
    {"L": 1000, "mL": 1},
    {"dollar": 100, "USD": 100, "EUR": 100, "cent": 1},
)
_MARKS: tuple[dict[str, int], ...] = (
    {"'": 12, '"': 1},
    {"°": 3600, "deg": 3600, "'": 60, '"': 1},
)
_PIECE = re.compile(
    r"\s*(?:,|and\b|&)?\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{1,8}(?![A-Za-z])\.?|[°'\"])"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and the unit that was written with it.

    `decimals`, of the number before its `size` (an exponent, a million) is applied, is None for a
    fraction. `lower` is the second number of a blood pressure, whose first is `value`. `words` is
    the unit as written.
    """

    value: Fraction
    unit: Unit
    words: str = ""
    attached: bool = False
    decimals: int | None = None
    size: int | Fraction = 1
    lower: Fraction | None = None
    bracketed: bool = False

    @property
    def step(self) -> Fraction:
        """One unit in the last digit written; 0 for a fraction."""
        return Fraction(0) if self.decimals is None else Fraction(self.size) / 10**self.decimals


def quantity(text: str) -> Quantity | None:
    """The number and unit that a whole text spells, or None."""
    plain = plain_text(text).rstrip(",;\\ ")
    if plain.startswith("{") and plain.endswith("}"):
        plain = plain[1:-1].strip()
    if plain.startswith("$") and plain.endswith("$") and len(plain) > 2:
        plain = plain[1:-1].strip()
    if plain.isdigit() and plain.isascii():
        return Quantity(Fraction(int(plain)), NO_UNIT, decimals=0) if len(plain) < 61 else None
    plain = _MINUS.sub("-", _ABOUT.sub("", plain))
    if "'" in plain or '"' in plain:
        plain = plain.replace("''", '"').replace('\\"', '"')
    elif plain.startswith("pH "):
        plain = f"{plain[3:]} pH"
    if not plain.endswith(".."):
        plain = plain.removesuffix(".").strip()
    if _MORE_THAN_ONE.search(plain):
        pressure = _PRESSURE.fullmatch(plain)
        if pressure is not None and _is_pressure(pressure):
            unit = read_unit(pressure["unit"] or "")
            assert unit is not None
            upper, lower = Fraction(pressure["upper"]), Fraction(pressure["lower"])
            return Quantity(upper, unit, pressure["unit"] or "", lower=lower)
        compound = _compound(plain)
        if compound is not None:
            return compound
    bracketed = _ACCOUNTING.fullmatch(plain) if "(" in plain else None
    return _simple(plain) if bracketed is None else _bracketed(bracketed)


def plain_text(latex: str) -> str:
    """LaTeX's and Unicode's ways of writing numbers and units, in plain characters."""
    plain = latex
    if not plain.isascii():
        plain = _POWERS.sub(lambda m: "^" + m[0].translate(_RAISED), plain)
        plain = plain.translate(_SAME_SIGNS)
        for sign, spelled in _VULGAR.items():
            plain = plain.replace(sign, f" {spelled}")
    if "\\" in plain or "{" in plain or "~" in plain or not plain.isascii():
        for pattern, replacement, needed in _RULES:
            for part in needed:
                if part in plain:
                    plain = pattern.sub(replacement, plain)
                    break
    return " ".join(plain.split())


def _simple(plain: str) -> Quantity | None:
    match = _QUANTITY.fullmatch(plain)
    if match is None:
        return None
    decimals: int | None = None
    size: int | Fraction = 1
    if match["number"]:
        value = _number(match["number"])
        decimals = len(match["number"].partition(".")[2])
    elif match["tens"]:
        value = Fraction(1)
    else:
        bottom = _number(match["bottom"])
        if not bottom:
            return None
        value = _number(match["whole"] or "0") + _number(match["top"]) / bottom
    exponent = int(match["tens"] or match["exponent"] or 0)
    if exponent:
        if abs(exponent) > MAX_EXPONENT:
            return None
        size = Fraction(10) ** exponent
    symbol = (match["currency"] or "").strip()
    words, unit = (match["unit"] or "").strip(), NO_UNIT
    if words:
        scale, words = _scaled(words, money=bool(symbol))
        size = size * scale if scale != 1 else size
        read = None if says_more(words) else read_unit(words)
        if read is None:
            return None
        unit = read
    if symbol:
        money = read_unit(symbol)
        both = money if not words or unit == money or words in ("dollars", "dollar") else None
        both = both or read_unit(f"{symbol} {words}")
        if both is None:
            return None
        unit = both
    attached = bool(words) and not match["space"] and size == 1
    value = value * size if size != 1 else value
    if match["sign1"] and match["sign2"]:
        return None  # +-5 is two numbers
    if "-" in (match["sign1"], match["sign2"]):
        value = -value
    return Quantity(value, unit, words, attached, decimals, size)


def _scaled(unit: str, money: bool) -> tuple[int | Fraction, str]:
    """The factor that the first words of a unit name (million), and the rest of the unit."""
    factor: int | Fraction = 1
    while unit:
        first, _, rest = unit.partition(" ")
        scale = (_OF_MONEY.get(first) if money else None) or _MAGNITUDES.get(
            first.lower() if len(first) > 1 else first
        )
        if not scale:
            break
        factor, unit, money = factor * scale, rest.strip(), False
    if factor != 1 and unit.startswith("of "):
        unit = unit[3:]
    return factor, unit


def _number(digits: str) -> Fraction:
    if not digits.isdigit():
        digits = _SEPARATORS.sub("", digits).rstrip(".") or "0"
    return Fraction(int(digits)) if digits.isdigit() else Fraction(digits)


def _bracketed(match: re.Match[str]) -> Quantity | None:
    """(1,250) and $(5) are negative, as accounts write them; (5) is 5, in brackets."""
    inner = _simple(f"{match['left']}{match['inside'].strip()} {match['right']}".strip())
    if inner is None or inner.lower is not None:
        return None
    negative = _MARK_OF_MONEY.search(match[0]) is not None and inner.value > 0
    value = -inner.value if negative else inner.value
    return replace(inner, value=value, bracketed=not negative)


def _is_pressure(match: re.Match[str]) -> bool:
    """A blood pressure: with its unit, or two such numbers that make no reduced fraction."""
    upper, lower = int(match["upper"]), int(match["lower"])
    if match["unit"]:
        return True
    usual = 60 <= upper <= 260 and 30 <= lower <= 160 and lower < upper < 4 * lower
    return usual and (Fraction(upper, lower).denominator != lower or "over" in match[0].lower())


def _compound(plain: str) -> Quantity | None:
    """Hours and minutes, feet and inches: in the first unit. None for anything else."""
    negative, rest = plain.startswith("-"), plain.removeprefix("-").rstrip()
    pieces: list[tuple[Fraction, str]] = []
    at = 0
    while at < len(rest) and len(pieces) < 5:
        piece = _PIECE.match(rest, at)
        if piece is None:
            return None
        pieces.append((Fraction(piece[1]), piece[2].rstrip(".")))
        at = piece.end()
    if len(pieces) < 2 or at < len(rest):
        return None
    for family in _MARKS if any(mark in "°'\"" for _, mark in pieces) else _FAMILIES:
        sizes = [family.get(_family_name(name)) for _, name in pieces]
        known = [size for size in sizes if size is not None]
        if len(known) == len(sizes) and all(a > b for a, b in pairwise(known)):
            total = sum(
                (value * size for (value, _), size in zip(pieces, known, strict=True)), Fraction(0)
            )
            words = {"'": "foot", '"': "inch", "°": "deg"}.get(pieces[0][1], pieces[0][1])
            unit = read_unit(words)
            assert unit is not None
            value = total / known[0]
            return Quantity(-value if negative else value, unit, words)
    return None


def _family_name(name: str) -> str:
    unit = read_unit(name)
    if unit is None or len(unit.factors) != 1 or unit.scale != 1:
        return name
    return unit.factors[0][0]
