r"""Wrong answers and equivalent rewritings made from published golds, each by a rule with a name.

`wrong(gold)` yields texts that are not the gold: a changed digit, sign, letter case, base, order,
bracket, left side or approximation. `equivalent(gold)` yields texts that are. Both are careful: a
rule that cannot be sure about a gold (an anagram of a product is the product) leaves it alone.
Not used by the verifier; pure text, so that no library that is under test decides what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WHOLE = re.compile(r"-?\d{1,12}")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d{1,6})\}\{(\d{1,6})\}")
_TUPLE = re.compile(r"\(([^()\[\]]+)\)")
_WORDY = re.compile(r"\\(?:text|mathrm|mbox|textbf|operatorname)")
_BRACKETS = {"(": "[", "[": "("}
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_SYMMETRIC = re.compile(
    r"\\pm|\\infty|\\{|\||=|\\in|\\cup|[<>]|\\le|\\ge|\\equiv|\\text|[A-Za-z]{2}"
)


def wrong(gold: str) -> Iterator[tuple[str, str]]:
    """(rule, text) of answers that differ from the gold."""
    gold = gold.strip()
    digits = list(re.finditer(r"\d", gold))
    if digits and not _WORDY.search(gold):
        for place in {0, len(digits) // 2, len(digits) - 1}:
            match = digits[place]
            other = str((int(match[0]) + 3) % 9 + 1)
            if other != match[0] and not _is_silent(gold, match.start()):
                yield "digit", gold[: match.start()] + other + gold[match.end() :]
    if _plain_value(gold) and not re.fullmatch(r"0(?:\.0+)?|0\^.*", gold):
        yield "sign", gold[1:].lstrip() if gold.startswith("-") else f"-({gold})"
    scientific = re.fullmatch(r"[\d.]+[eE]-?\d+|\d+:\d+.*", gold)
    letters = [m for m in _LETTER.finditer(_blanked(gold)) if m[0] not in "iIdO"]
    if letters and not (_WORDY.search(gold) or scientific or "=" in gold or "\\in" in gold):
        match = letters[-1]
        yield "case", gold[: match.start()] + match[0].swapcase() + gold[match.end() :]
    if "\\in" not in gold and not _WORDY.search(gold):
        for here, there in (
            ("\\cup", "\\cap"), ("\\sin", "\\cos"), ("\\pi", "e"), ("<", "\\le "),
            ("\\le ", "\\ge "),
            ("\\ln", "\\log_{3}"), ("\\sqrt{", "{"), ("+", "-"),
        ):  # fmt: skip
            if here in gold and not (here == "\\sqrt{" and re.search(r"sqrt\{[01]\}", gold)):
                yield "symbol", gold.replace(here, there, 1)
        swapped = re.fullmatch(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}", gold)
        if swapped and swapped[1] != swapped[2]:
            yield "inverted", rf"\frac{{{swapped[2]}}}{{{swapped[1]}}}"
        ends = re.fullmatch(r"([(\[])([^()\[\]]*\\infty[^()\[\]]*)([)\]])", gold)
        if ends:
            left, right = ends[1], ends[3]
            finite_left = "\\infty" not in ends[2].split(",")[0]
            if finite_left:
                yield "ends", _BRACKETS[left] + ends[2] + right
            else:
                yield "ends", left + ends[2] + {")": "]", "]": ")"}[right]
    word = re.fullmatch(r"\\text\s?\{\s*([A-Za-z]{2,20})\s*\}|([A-Z][a-z]{1,20})", gold)
    if word:
        letters_of = word[1] or word[2]
        yield "anagram", letters_of[::-1] if letters_of.lower() != letters_of.lower()[::-1] else "x"
        yield "anagram", rf"\text{{{letters_of[1:] + letters_of[0]}}}"
        yield "negated", rf"\text{{not {letters_of}}}"
    based = re.fullmatch(r"(-?\d+)_\{?(\d{1,2})\}?", gold)
    if based:
        yield "base", f"{based[1]}_{{{int(based[2]) + 1}}}"
        yield "base", based[1]
    pair = _TUPLE.fullmatch(gold)
    if pair:
        items = [item.strip() for item in pair[1].split(",")]
        if len(items) > 1 and len(set(items)) == len(items):
            yield "order", "(" + ",".join(items[::-1]) + ")"
            yield "brackets", "[" + ",".join(items) + "]"
            yield "brackets", "\\{" + ",".join(items) + "\\}"
    if _plain_value(gold):
        for left in ("x+y", "2x", "-x", "x^2", "x+5", "\\frac{x}{3}", "f(x)+1"):
            if not (gold in ("0", "1") and left in ("x^2", "2x", "-x", "\\frac{x}{3}")):
                yield "left-side", f"{left}={gold}"
        yield "left-side", rf"x \equiv {gold}"
        yield "relation", rf"x \ne {gold}"
        yield "relation", rf"x \ge {gold}"
    if _WHOLE.fullmatch(gold):
        yield "approximation", rf"{gold} \approx {int(gold) + 1}"
        yield "chain", rf"{gold} = {int(gold) + 1}"
        yield "hedge", rf"{gold} \text{{ or }} {int(gold) + 1}"
        yield "hedge", f"{gold}, {int(gold) + 2}"
        yield "percent", rf"{gold}\%" if gold != "0" else "1"


def equivalent(gold: str) -> Iterator[tuple[str, str]]:
    """(rule, text) of other spellings of the gold."""
    gold = gold.strip()
    yield "spaces", rf"\, {gold} \;"
    yield "display", rf"\( {gold} \)"
    yield "displaystyle", rf"\displaystyle {gold}"
    if "\\frac" in gold:
        yield "dfrac", gold.replace("\\frac", "\\dfrac")
        yield "tfrac", gold.replace("\\frac", "\\tfrac")
    if "(" in gold and "\\left" not in gold and gold.count("(") == gold.count(")"):
        yield "left-right", gold.replace("(", "\\left( ").replace(")", " \\right)")
    if _plain_value(gold):
        yield "named", f"x = {gold}"
        yield "named", f"f(2) = {gold}"
        yield (
            "unit",
            rf"{gold}\ \text{{cm}}" if not re.search(r"[A-Za-z]$|\\%|circ|\\\$", gold) else gold,
        )
        yield "braces", f"{{{gold}}}"
    if _WHOLE.fullmatch(gold):
        yield "decimal", f"{gold}.0"
        yield "bold", rf"\mathbf{{{gold}}}"
        yield "grouped", _grouped(gold, ",")
        yield "grouped", _grouped(gold, "{,}")
        yield "grouped", _grouped(gold, r"\,")
        yield "minus", gold.replace("-", "\u2212")
        yield "sum", f"{int(gold) - 1}+1"
        yield "fraction", rf"\frac{{{2 * int(gold)}}}{{2}}"
        yield "repeated", rf"{gold} = {gold}"
    fraction = _FRACTION.fullmatch(gold)
    if fraction:
        top, bottom = int(fraction[2]), int(fraction[3])
        yield "slash", f"{fraction[1]}{top}/{bottom}"
        yield "expanded", rf"{fraction[1]}\frac{{{3 * top}}}{{{3 * bottom}}}"
        rest = bottom
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        decimal = Fraction(top, bottom) if bottom else None
        if rest == 1 and decimal is not None and bottom < 1000:
            yield "terminating", f"{fraction[1]}{float(decimal)}"
        if top > bottom > 1 and top % bottom:
            yield "mixed", rf"{fraction[1]}{top // bottom}\frac{{{top % bottom}}}{{{bottom}}}"
    pair = _TUPLE.fullmatch(gold)
    if pair and "," in pair[1]:
        yield "spaced", "( " + " , ".join(pair[1].split(",")) + " )"
    bare = gold.split(",")
    if (
        1 < len(bare) <= 6
        and all(NUMBER.fullmatch(b.strip()) for b in bare)
        and not _is_grouped(gold)
    ):
        yield "reordered", ", ".join(b.strip() for b in bare[::-1])
        yield "and", ", ".join(bare[:-1]) + r" \text{ and } " + bare[-1]
        yield "set", r"\{" + ", ".join(bare) + r"\}"


def _plain_value(gold: str) -> bool:
    """A single value without anything that makes a sign or a left side ambiguous."""
    return (
        "," not in gold
        and not _SYMMETRIC.search(_COMMAND.sub("", gold).replace("{", ""))
        and not (
            re.search(
                r"\\(?:pm|infty|in|cup|text|mathrm|le|ge|ne|begin|circ|mathbf|equiv|mid|angle|emptyset)|_|:",
                gold,
            )
        )
        and bool(re.search(r"\d", gold))
    )


def _blanked(gold: str) -> str:
    return _COMMAND.sub(lambda m: " " * len(m[0]), gold)


def _is_silent(gold: str, place: int) -> bool:
    """Whether a digit may not matter: in a repeated list, after 0^, in a multiplied zero."""
    return (
        "..." in gold
        or "\\ldots" in gold
        or bool(re.search(r"(?<!\d)0(?![.\d])|\^0|1\^", gold))
        or (gold.count(",") > 0 and place < 0)
    )


def _grouped(gold: str, mark: str) -> str:
    return re.sub(r"(?<=\d)(?=(?:\d{3})+$)", lambda _: mark, gold)


def _is_grouped(gold: str) -> bool:
    return bool(re.fullmatch(r"-?\d{1,3}(?:,\d{3})+", gold))
