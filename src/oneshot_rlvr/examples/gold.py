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
# An escaped brace groups nothing. MATH's own code reads `\fbox{5}` and `\boxed 5` too.
_BRACES = re.compile(r"(\\(?:boxed|fbox)\s{0,8}\{)|\\.|([{}])", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed\s{0,8}(\d[\d,]*(?:\.\d+)?)(?=[\s$.]*(?:\$|$))")
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_WORKED_OUT = re.compile(r"<<[^<>\n]{1,200}>>")  # GSM8K's marks for a calculator
_LABEL = re.compile(r"^(?:the\s+)?(?:final\s+|correct\s+)?answer\s*:\s*(?=\S)", re.IGNORECASE)
# A list or table that was printed: its items are in quotes.
_PRINTED = re.compile(r"^\s*(?:\[\s*['\"]|\{\s*['\"][^'\"]*['\"]\s*:)")
_MISSING = frozenset({"nan", "null", "<na>", "nat"})  # what pandas prints for nothing
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
# "There are 12", "Natalia sold 72 clips": words that lead up to a number make a sentence.
_OPENS = re.compile(
    r"(?i:so|thus|hence|therefore|then|there|it|he|she|they|we|you|this|that|these|those|his|her|"
    r"their|our|your|in\s+(?:total|all)|altogether)\b,?\s[^=]*\d"
    r"|[A-Z][a-z]+(?:\s[a-z]{2,})+\s\W{0,2}\d"
)
# In a solution "or" says the same answer once more (MATH-500: a mixed number, or its fraction),
# unless a name stands before the box: x = 2 or x = 3.
_BETWEEN = (
    r"(?:[\s,;$~]|\\[()\[\],;:! ]|\band\b%s|\\q?quad\b|\\(?:vee|lor)\b"
    r"|\\text\s?\{\s*(?:and%s)\s*\})*"
)
_JOINT, _JOINT_OF_NAMED = (
    re.compile(_BETWEEN % ("", "")),
    re.compile(_BETWEEN % (r"|\bor\b", "|or")),
)
# `x = \boxed{1}, y = \boxed{2}`
_NAME = re.compile(r"(?<![\w}^+\-*/])([A-Za-z](?:_\s?(?:\{\w{1,4}\}|\w))?)\s{0,4}=\s{0,4}$")


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

    Boxes joined by a comma or "and" are one list answer: "\boxed{1} and \boxed{2}" gives "1, 2",
    and "$x=\boxed{1}$, $y=\boxed{2}$" keeps the names. As `verifiers.boxed` reads an answer.
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
    run = [found.pop()]
    while found:
        named = _NAME.search(text, found[-1][1], run[0][0])
        joint = _JOINT_OF_NAMED if named else _JOINT
        if not joint.fullmatch(text, found[-1][1], named.start() if named else run[0][0]):
            break
        run.insert(0, found.pop())
    contents = [content for *_, content in run]
    names = [m[1] for start, *_ in run if (m := _NAME.search(text, max(0, start - 40), start))]
    if len(set(names)) == len(contents) > 1:
        contents = [f"{n} = {content}" for n, content in zip(names, contents, strict=True)]
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
    """A gold that is sentences or a printed list, where the kind of answer needs the answer."""


SHORT_KINDS = frozenset({"math_answer", "numeric", "multiple_choice", "exact_match", "chess_move"})
"""Kinds whose gold is an answer as a model states it: never code, a pattern or a document."""

NO_PROSE = frozenset({"math_answer", "numeric"})
"""Kinds of which no answer is a sentence."""


def answer_of(value: Any, verifier: str) -> str | None:
    """The gold of one example, taken out of a worked solution where it is one.

    Forms, in this order: what follows `</think>`; `<answer>x</answer>`, a last line `#### x`, the
    last box, `Answer: x`; else the text itself. Kinds whose golds are no short answers (code,
    patterns, documents) take the text as it is. TypeError as `plain`; ProseError where sentences
    are left, a box that holds nothing, or a printed list, for kinds that have none.
    """
    text = plain(value)
    if text in ("inf", "-inf") and not isinstance(value, str):
        raise TypeError("an infinite number, wanted text or a number")
    if text is None or verifier not in SHORT_KINDS:
        return text
    answer = _THOUGHT.sub("", text)
    tagged = _TAGGED.findall(answer)
    answer = tagged[-1].strip() if tagged else answer.strip()
    if "####" in answer and "\n" not in answer.rpartition("####")[2].strip():
        answer = after_hashes(answer) or ""
    bare = _BARE_BOX.findall(answer)
    answer = boxed(answer) or (bare[-1] if bare else answer)
    if "\n" not in answer:
        answer = _LABEL.sub("", answer)
    if verifier not in NO_PROSE:
        return answer or None
    answer = _WORKED_OUT.sub("", answer)
    if is_prose(answer) or _PRINTED.match(answer) or "\\boxed" in answer:
        raise ProseError(answer)
    return None if answer.casefold() in _MISSING else answer or None


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
    if words >= PROSE_WORDS or _OPENS.match(text):
        return True
    return (words >= 2 and lines > 1) or (words >= 3 and bool(_SAYS.search(text)))


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
