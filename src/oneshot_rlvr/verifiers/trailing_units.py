r"""Units behind a value, taken off before the LaTeX grammar reads it: pure text to text.

math-verify's own list also takes off letters that are variables (`2\pi r h` becomes `2\pi r`, the
speed `\frac{1}{\sqrt{2}}c` a number, `\frac12 \text{ OR } \frac13` its first half), so it is not
used. Here a unit is words inside `\text{}` or its like, or plain words behind a number; of plain
letters only the `m` of metres. Words that say something else ("or", "dozen", "not") are no unit.
Units are not compared: that is what `numeric` does.
"""

from __future__ import annotations

import re

from oneshot_rlvr.verifiers.fonts import FONT

_OTHER_WORDS = (
    "or and to plus minus times not than if but except more less least most over mod base dozen "
    "hundred thousand million billion trillion percent pct half quarter third squared cubed choose "
    "root by into divided multiplied between through until when where for is are no none either "
    "neither both only factorial tenth tenths hundredth hundredths thousandth thousandths halves "
    "thirds fourths quarters fifths sixths sevenths eighths ninths twelfths dozens hundreds "
    "thousands millions billions maybe perhaps wrong incorrect false below above under greater "
    "fewer away negative th st nd rd sin cos tan csc cot log ln exp sqrt max gcd lcm"
)
_NOT_UNITS = frozenset(_OTHER_WORDS.split())
_UNIT_LETTERS = frozenset("msghlLNJWVAKCF")  # inside \text{}; no e, i, d or T, which are not units
_WRAPPER = rf"(?:{FONT}|\\rm)"
_POWER = r"(?:\s?\^\s?(?:\d|\{\s?-?\d\s?\}))?"
_ONE = rf"{_WRAPPER}\s?\{{[^{{}}\\\d]{{1,60}}(?:\^\{{?-?\d\}}?)?\}}{_POWER}"
# \text{ cm}^2, \mathrm{~m} / \mathrm{s}, \text{ m} \cdot \text{s}^{-1}, \frac{\text{m}}{\text{s}}
_WRAPPED = re.compile(
    rf"(?:(?:{_ONE}|\\[dt]?frac\{{{_ONE}\}}\{{{_ONE}\}})(?:\s|~|\\[,;:! ]|/|\\cdot(?![a-z]))*)+"
    rf"(?=$|[,;=)\]]|\\\}}|\\right|{FONT}\s?\{{\s*(?:and|or)\s*\}})"
)
_INSIDE = re.compile(rf"{_WRAPPER}\s?\{{([^{{}}]*)\}}")
# Behind one of these the words are no unit of a value but the value itself, or a part of its name.
_NO_VALUE_YET = re.compile(
    r"(?:^|(?<!\\)[,;:]|[=(\[{+\-*/<>_^|]|\\(?:left|in|notin|to|cup|cap|cdot|times|div|pm|mp|leq?|"
    r"geq?|neq?|approx|subset|mid|sin|cos|tan|log|ln|operatorname))\s*$"
)
_SHORT_WORDS = (
    "m cm mm km nm dm in ft yd mi kg mg lb lbs oz mL ml L mph kmph kph hr hrs min mins sec secs "
    "rpm Hz kHz MHz GHz eV keV MeV GeV kW kWh kN kJ kPa Pa mol rad deg pm am m/s km/h ft/s g/mL "
    "day men way cup ton gal USD EUR GBP JPY INR CNY CHF"
)
_SHORT = frozenset(_SHORT_WORDS.split())
_NUMBER = (
    r"(?:\\?\$\s?)?[-+]?\s?(?:\d[\d.,]*|\.\d+|\d*\s?\\[dt]?frac\s?(?:\{\d+\}|\d)\s?(?:\{\d+\}|\d)"
    r"|(?:\d+\s)?\d+\s?/\s?\d+|[\d.]+\s?(?:\\times|\\cdot)\s?10\s?\^\s?(?:\d|\{-?\d{1,4}\}))"
)
_PLAIN = re.compile(
    rf"(?P<value>{_NUMBER})(?:\s?(?:m|cm|mm|km|kg|mph)|(?:\s|~|\\[,;:! ])+"
    r"(?P<words>[A-Za-z][A-Za-z/]*(?:[\s-]+[A-Za-z/]{2,20}){0,4}))"
    rf"{_POWER}\s?\.?"
)


def without_units(latex: str) -> str:
    """The value without the units behind it; a text without any as it is."""
    shorter = _WRAPPED.sub(_nothing_if_unit, latex).strip()
    plain = _PLAIN.fullmatch(shorter)
    if plain is None:
        return shorter
    words = plain["words"]
    if words is None or words in _SHORT or (len(words) > 3 and not _say_more(words)):
        return plain["value"]
    return shorter


def _nothing_if_unit(found: re.Match[str]) -> str:
    if _NO_VALUE_YET.search(found.string, max(0, found.start() - 20), found.start()):
        return found[0]
    return found[0] if any(map(_say_more, _INSIDE.findall(found[0]))) else ""


def _say_more(words: str) -> bool:
    letters = re.findall(r"[A-Za-z]+", words)
    return any(w.lower() in _NOT_UNITS or (len(w) == 1 and w not in _UNIT_LETTERS) for w in letters)
