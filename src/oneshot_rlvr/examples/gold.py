"""A published gold, as the file has it -> the answer itself, as text.

Data sets publish golds as text, as numbers, as worked solutions that end in a box, after `####` or
in `<answer>` tags. A worked solution that is taken for the answer rewards nothing for ever, so
`answer_of` takes the answer out of the known forms and refuses prose. Not here: what an answer
means (verifiers). Model text never passes through these functions: a gold is short, well formed,
and a missing one is `None`, never a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_DOLLAR = re.compile(r"(?<!\\)\$")  # mathematics delimiters; "\$5" is money and stays
_BRACES = re.compile(r"(\\boxed\s{0,8}\{)|\\.|([{}])", re.DOTALL)  # an escaped brace groups nothing
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_THOUSANDS = re.compile(r"[^\d,.]{0,8}\d{1,3}(?:,\d{3})+(?:\.\d+)?(?:[^\d,.][^\d,]*)?")
_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}")  # no LaTeX command, no variable
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-zA-Z*]*\}")
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "  # noqa: SIM905
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
     "ninety": 90, "hundred": 100, "thousand": 1000}  # fmt: skip
_TERMS = r"[\d.,$€£\s()]*\d[\d.,\s()%]*"
_CALCULATION = re.compile(
    rf"-?{_TERMS}(?:[-+*/×·÷−]{_TERMS})+=\s*([$€£]?[-−]?\d[\d.,]*\s?%?)", re.ASCII
)
_SAYS = re.compile(
    r"\b(?:is|are|was|were|has|have|had|we|so|thus|hence|therefore|gives?|equals?|makes?|answer)\b",
    re.IGNORECASE,
)
PROSE_WORDS = 8  # golds of the published sets of mathematics that name a value have at most 3
_JOINT = re.compile(r"(?:[\s,;$~]|\\[()\[\],;:! ]|\band\b|\\text\s?\{\s*and\s*\})*")


def plain(value: Any) -> str | None:
    """Text as it is (outer blanks off); a number as the shortest text that denotes it.

    27.0 gives "27". None, NaN and blank text are no gold: None. TypeError for anything else, so
    that a list or a truth value is never graded by its Python repr.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a scalar of numpy
        value = value.item()
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(f"{type(value).__name__}, wanted text or a number")
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
    return str(value)


def undollared(value: Any) -> str | None:
    """Text without its mathematics delimiters: "$69$,$84$" gives "69,84"."""
    text = plain(value)
    return None if text is None else _DOLLAR.sub("", text).strip() or None


def boxed(value: Any) -> str | None:
    r"""What the last \boxed{...} of a worked solution holds; None when there is none.

    Boxes joined by a comma or "and" are one list answer: "\boxed{1} and \boxed{2}" gives "1, 2".
    """
    text = plain(value)
    if text is None:
        return None
    found: list[tuple[int, int, str]] = []  # (start, end, content) of complete outermost boxes
    opened: list[tuple[int, int] | None] = []
    for token in _BRACES.finditer(text):
        if token[1] is not None:
            opened.append((token.start(), token.end()))
        elif token[2] == "{":
            opened.append(None)
        elif token[2] == "}" and opened:
            box = opened.pop()
            if box is not None:
                content = text[box[1] : token.start()].strip()
                while found and found[-1][0] > box[0]:  # a box inside this one
                    start, end, inner = found.pop()
                    content = inner if text[start:end] == content else content
                found.append((box[0], token.end(), content))
    if not found:
        return None
    start, _, content = found.pop()
    contents = [content]
    while found and _JOINT.fullmatch(text, found[-1][1], start):
        start, _, content = found.pop()
        contents.insert(0, content)
    return undollared(contents[0] if len(set(contents)) == 1 else ", ".join(contents))


def boxed_or_plain(value: Any) -> str | None:
    """The last box where the text has one, else the text without dollars (TRL's `solution`)."""
    return boxed(value) or undollared(value)


def after_hashes(value: Any) -> str | None:
    """What follows the last "####" (GSM8K), a number's thousands separators dropped."""
    text = plain(value)
    if text is None or "####" not in text:
        return None
    answer = text.rpartition("####")[2].strip()
    return (answer.replace(",", "") if _THOUSANDS.fullmatch(answer) else answer) or None


class ProseError(ValueError):
    """A gold that is sentences, where the kind of answer needs the answer alone."""


SHORT_KINDS = frozenset({"math_answer", "numeric", "multiple_choice", "exact_match", "chess_move"})
"""Kinds whose gold is an answer as a model states it: never code, a pattern or a document."""

NO_PROSE = frozenset({"math_answer", "numeric"})
"""Kinds of which no answer is a sentence."""


def answer_of(value: Any, verifier: str) -> str | None:
    """The gold of one example, taken out of a worked solution where it is one.

    Forms, in this order: `<answer>x</answer>`, a last line `#### x`, the last box; else the text
    itself. Kinds whose golds are no short answers (code, patterns, documents) take the text as it
    is. TypeError as `plain`; ProseError where sentences are left, for kinds that have none.
    """
    text = plain(value)
    if text is None or verifier not in SHORT_KINDS:
        return text
    tagged = _TAGGED.findall(text)
    answer = tagged[-1].strip() if tagged else text
    if "####" in answer and "\n" not in answer.rpartition("####")[2].strip():
        answer = after_hashes(answer) or ""
    answer = boxed(answer) or answer
    if verifier in NO_PROSE and is_prose(answer):
        raise ProseError(answer)
    return answer or None


def number_word(text: str) -> int | None:
    """The number that a text is in one English word: "eight" gives 8; else None."""
    return _NUMBER_WORDS.get(text.strip().rstrip(".").lower())


def calculated(text: str) -> str | None:
    """What a calculation of plain numbers comes to, as it says itself: "5 + 3 = 8" gives "8"."""
    match = _CALCULATION.fullmatch(text.strip().strip("$").rstrip("."))
    return match[1].strip() if match else None


def is_prose(text: str) -> bool:
    """Whether a text is sentences: many words, several lines of them, or a few with a verb.

    Names of LaTeX commands and environments are no words, and what explains the letters of a
    formula ("f(x) = ax + b, where a is ...") makes no sentence of it.
    """
    text = _ENVIRONMENT.sub("", text)
    formula, where, _ = text.partition(" where ")
    if where and "=" in formula and not _SAYS.search(formula):
        text = formula
    words = len(_WORD.findall(text))
    lines = sum(1 for line in text.splitlines() if _WORD.search(line))
    return words >= PROSE_WORDS or (words >= 3 and (lines > 1 or bool(_SAYS.search(text))))


def first(value: Any) -> str | None:
    """The first of a list of golds (OlympiadBench), without dollars."""
    if isinstance(value, list | tuple):
        return undollared(value[0]) if value else None
    return undollared(value)


FORMS: dict[str, Callable[[Any], str | None]] = {
    "plain": plain,
    "undollared": undollared,
    "boxed": boxed,
    "boxed_or_plain": boxed_or_plain,
    "after_hashes": after_hashes,
    "first": first,
}
"""How a column holds its gold -> the function that takes it out."""
