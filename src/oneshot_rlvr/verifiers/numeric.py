"""numeric: a number with a tolerance and a unit, as finance and health write them.

Reads signs, thousands separators, currency, percent, scientific notation, fractions, mixed numbers,
"3.2 million" (and $5k, €3.2bn), and a unit after the number. Tolerance:
|said - gold| <= max(abs_tol, rel_tol * |gold|); the defaults (rel_tol 1e-6, abs_tol 0) forgive
float noise only. The gold's unit is `extra["unit"]` or what follows the number in the gold. An
answer without a unit is read in the gold's; with another unit it is converted by pint, imported
only then. Where the gold has no unit, the answer's is not looked at (but `5x` has a variable, not
a unit). Percent is both a unit and a number: for a gold of 5 % or 0.05, both 5 % and 0.05 are
right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, shown, wrong
from oneshot_rlvr.verifiers.extraction import final_answer
from oneshot_rlvr.verifiers.scoring import bands_of

MAX_ANSWER_CHARS = 300
_CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
_CODES = {"US$": "USD", **{code: code for code in ("USD", "EUR", "GBP", "JPY", "INR", "CHF")}}
_STERLING = ("GBP", "pound", "pounds")
_GROUPED = r"[0-9]{1,3}(?:[,\u00a0\u202f ][0-9]{3})+"
_DIGITS = rf"(?:{_GROUPED}|[0-9]{{1,60}})"
_INTEGER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,60})"  # no spaces: 1 1/2 is a mixed number
_QUANTITY = re.compile(
    rf"(?P<sign1>[-+]?)\s?(?P<currency>US\$|[$€£¥₹]|(?:USD|EUR|GBP|JPY|INR|CHF)\s)?\s?"
    rf"(?P<sign2>[-+]?)\s?"
    rf"(?:(?:(?P<whole>[0-9]{{1,12}})\s)?(?P<top>{_INTEGER})\s?/\s?(?P<bottom>{_INTEGER})"
    rf"|(?P<number>{_DIGITS}(?:\.[0-9]{{0,60}})?|\.[0-9]{{1,60}})"
    rf"(?:\s?(?:[eE]|[x*×]\s?10\s?(?:\^|\*\*)\s?)\(?(?P<exponent>[-+]?[0-9]{{1,4}})\)?)?)"
    # Digits in a unit only as in m2, m^2, s^-1: "12 or 13" is no quantity.
    rf"\s?(?P<unit>(?:[^\W\d_]|[%°$€£¥₹/(])"
    rf"(?:[^\W\d_]|[%°$€£¥₹/^*·()\s.'-]|(?<=[^\W\d_])[0-9]|(?<=[\^-])[0-9]){{0,59}})?"
)
_MAGNITUDES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_MAGNITUDES |= {"dozen": 12.0, "mn": 1e6, "bn": 1e9, "tn": 1e12, "k": 1e3}
_OF_MONEY = {"K": 1e3, "m": 1e6, "M": 1e6, "b": 1e9, "B": 1e9, "T": 1e12}  # $5K, €3.2B
_ABOUT = re.compile(
    r"^(?:\\(?:approx|sim)(?![a-z])|[~≈]|(?:about|approximately|approx\.?|roughly|around)\b)\s*",
    re.I,
)
_UNIT_LETTERS = frozenset("msghlLNJWVAKCFΩ°%")
_NO_UNITS = re.compile(
    r"\b(?:or|and|to|plus|minus|times|not|than|if|more|less|least|most|over|by|but|except|squared|"
    r"cubed|half|halves|quarters?|thirds?|pi|sqrt)\b",
    re.IGNORECASE,
)
_BEFORE_EQUALS = re.compile(r"^.*(?:=|≈|\\approx|\\sim)", re.DOTALL)
_LATEX = (
    (re.compile(r"\\[dt]?frac\s?\{([0-9., ]{1,60})\}\s?\{([0-9., ]{1,60})\}"), r" \1/\2"),
    (re.compile(r"\\(?:text|mathrm|textbf|mbox|rm|operatorname)\s?\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\\(?:times|cdot)"), "*"),
    (re.compile(r"\^\s?\{\s?(-?[0-9]{1,4})\s?\}"), r"^\1"),
    (re.compile(r"\{,\}|(?<=[0-9])\\[,!:; ](?=[0-9]{3})"), ","),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\[,!:; ]|~|\\left|\\right"), " "),
    (re.compile("\u2212"), "-"),
    (re.compile(r"\^\s?\{?\s?\\circ(?![a-z])\s?\}?|\\degrees?(?![a-z])"), "°"),
    (re.compile(r"°\s+(?=[CFK]\b)"), "°"),
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A finite number and the unit that was written with it ("" for none)."""

    value: float
    unit: str


class Numeric(Verifier):
    """Options: extraction, rel_tol, abs_tol, unit, golds (further right answers)."""

    name = "numeric"
    options = frozenset({"extraction", "rel_tol", "abs_tol", "unit", "golds", "bands"})

    def extract(self, text: str, example: Example) -> str | Verdict:
        answer = final_answer(text, example)
        if not answer:
            return wrong(Reason.NO_ANSWER, answer)
        if len(answer) > MAX_ANSWER_CHARS:
            return wrong(Reason.UNPARSEABLE, answer[:MAX_ANSWER_CHARS])
        return answer

    def quick(self, answer: str, example: Example) -> Verdict | None:
        golds = _golds(example)
        said = quantity(answer)
        if said is None:
            return wrong(Reason.UNPARSEABLE, answer)
        readings = [_readings(said, gold) for gold in golds]
        if any(map(_near(example), golds, readings)):
            return correct(answer)
        return wrong(Reason.MISMATCH, answer) if all(readings) else None

    def warm(self) -> None:
        from oneshot_rlvr.verifiers import units

        units.known("kg")  # reads pint's definitions, which takes longer than any conversion

    def compare(self, answer: str, example: Example) -> Verdict:
        quick = self.quick(answer, example)
        if quick is not None:
            return quick
        from oneshot_rlvr.verifiers import units

        said = quantity(answer)
        assert said is not None  # or quick would have told
        for gold in _golds(example):
            value = units.convert(said.value, said.unit, gold.unit)
            if value is not None and _near(example)(gold, [value]):
                return correct(answer)
        return wrong(Reason.MISMATCH, answer)

    def partial(self, answer: str, example: Example) -> float:
        """By the option `bands`: the score of the narrowest relative error that holds."""
        bands = bands_of(example)
        for rel_tol, score in bands:
            wider = {**example.extra, "rel_tol": max(rel_tol, example.extra.get("rel_tol") or 0.0)}
            variant = replace(example, extra=wider)
            if (self.quick(answer, variant) or self.compare(answer, variant)).correct:
                return score
        return 0.0

    def checks_gold_at_length(self, example: Example) -> bool:
        """Only where a unit is given: knowing the units takes pint half a second."""
        return bool(example.extra.get("unit"))

    def check_gold(self, example: Example) -> None:
        """DataError also for an option `unit` that is neither a currency nor known to pint."""
        unit = option(example, "unit", str, "").strip()
        if unit and _unit_key(unit) != "%" and _currency(unit) is None:
            from oneshot_rlvr.verifiers import units

            if not units.known(unit):
                raise DataError(
                    f"example {example.id!r}: option unit is {shown(unit)}, which is no unit that "
                    "can be converted. Write it as pint does (mg, m/s^2, degC), or leave it out."
                )
        super().check_gold(example)


def quantity(text: str) -> Quantity | None:
    """The number and unit that a whole text spells, or None."""
    plain = _BEFORE_EQUALS.sub("", text).strip()
    for pattern, replacement in _LATEX:
        plain = pattern.sub(replacement, plain)
    plain = _ABOUT.sub("", " ".join(plain.split()))
    if plain.startswith("$") and plain.endswith("$") and len(plain) > 2:
        plain = plain[1:-1].strip()
    match = _QUANTITY.fullmatch(plain.rstrip("."))
    if match is None or _NO_UNITS.search(match["unit"] or ""):
        return None
    if match["top"]:
        bottom = _float(match["bottom"])
        if bottom == 0:
            return None
        value = _float(match["whole"] or "0") + _float(match["top"]) / bottom
    else:
        value = _float(match["number"] + (f"e{match['exponent']}" if match["exponent"] else ""))
    if not math.isfinite(value):
        return None
    if "-" in (match["sign1"], match["sign2"]):
        value = -value
    unit = (match["unit"] or "").strip()
    symbol = (match["currency"] or "").strip()
    currency = _CURRENCIES.get(symbol) or _CODES.get(symbol)
    scale, unit = _scaled(unit, money=currency is not None)
    if currency:
        unit = currency if not unit or _currency(unit) == currency else f"{currency} {unit}"
    return Quantity(value * scale, unit)


def _scaled(unit: str, money: bool) -> tuple[float, str]:
    """The factor that the first word of a unit names (million), and the rest of the unit."""
    first, _, rest = unit.partition(" ")
    scale = (_OF_MONEY.get(first) if money else None) or _MAGNITUDES.get(
        first.lower() if len(first) > 1 else first
    )
    return (scale, rest.strip()) if scale else (1.0, unit)


def _float(digits: str) -> float:
    return float(re.sub(r"[,\u00a0\u202f ]", "", digits))


def _golds(example: Example) -> list[Quantity]:
    """The gold and the further right answers, each in the unit of the option or its own."""
    unit = option(example, "unit", str, "").strip()
    further = option(example, "golds", (list, tuple), ())
    golds = []
    for text in (example.answer, *map(str, further)):
        gold = quantity(text)
        if gold is None:
            raise DataError(
                f"example {example.id!r}: the gold {shown(text)} is not a number with an optional "
                "unit, which numeric needs."
            )
        golds.append(Quantity(gold.value, unit or gold.unit))
    return golds


def _readings(said: Quantity, wanted: Quantity) -> list[float]:
    """Values that the answer may have in the gold's unit; [] where a conversion must tell."""
    left, right = _unit_key(said.unit), _unit_key(wanted.unit)
    if left == right or (left in _STERLING and right in _STERLING):
        return [said.value]
    if left == "%" and not right:
        return [said.value, said.value / 100]
    if right == "%" and not left:
        return [said.value, said.value * 100]
    if not right and len(left) == 1 and left not in _UNIT_LETTERS:
        return [math.nan]  # 5x is not 5
    return [said.value] if not left or not right else []


def _unit_key(unit: str) -> str:
    unit = unit.strip().rstrip(".")
    return _currency(unit) or ("%" if unit.lower() in ("%", "percent", "pct") else unit)


def _currency(unit: str) -> str | None:
    names = {"dollars": "USD", "dollar": "USD", "euros": "EUR", "euro": "EUR"}
    names |= {"yen": "JPY", "rupees": "INR"}  # pounds are a weight, unless the other has £
    unit = unit.strip()
    return _CURRENCIES.get(unit) or names.get(unit.lower()) or _CODES.get(unit.upper())


def _near(example: Example) -> Callable[[Quantity, list[float]], bool]:
    """Whether one of some values is the gold's, within the example's tolerance."""
    rel_tol = float(option(example, "rel_tol", (int, float), 1e-6))
    abs_tol = float(option(example, "abs_tol", (int, float), 0.0))
    if not (0 <= rel_tol < math.inf and 0 <= abs_tol < math.inf):
        raise DataError(
            f"example {example.id!r}: rel_tol is {rel_tol} and abs_tol {abs_tol}; "
            "both must be 0 or more."
        )

    def near(gold: Quantity, values: list[float]) -> bool:
        tolerance = max(abs_tol, rel_tol * abs(gold.value))
        return any(abs(value - gold.value) <= tolerance for value in values)

    return near
