r"""Answers that are words: one rule for words of any length.

Words are compared as words, letter for letter: `on` is no product that equals `No`. Letters alone
are ambiguous, since `xy` is a product and `cat` is not. They are a word where they say so
(`\text{}`), where they are capitals (`SAS`, a segment `AB`), a short English word, or three letters
and more with a vowel among them (unless they run `abc`); all else is left to the grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from oneshot_rlvr.verifiers.fonts import FONT

_WRAPPED = re.compile(rf"{FONT}\s?\{{([^{{}}]*)\}}")
_WORDS = re.compile(r"[^\W\d_]+(?:[\s,'’/-]+[^\W\d_]+)*")
_SEGMENT = re.compile(r"\\overline\s?\{\s?([A-Z]{2})\s?\}")
_LETTER_IN_PARENTHESES = re.compile(r"\(([A-Za-z])\)")
_ARTICLE = re.compile(r"^(?:an?|the)\s(?=[^\W\d_]{2})", re.IGNORECASE)
_SHORT_TEXT = "no on so us go do if in is it or of to we he me my by be am an as up "
_SHORT = frozenset(_SHORT_TEXT.split())
_FUNCTIONS_TEXT = (
    "sin cos tan cot sec csc log ln exp sqrt pi max min gcd lcm det arcsin arccos arctan "
    "sinh cosh tanh infty infinity lim theta alpha beta gamma delta omega lambda sigma mu "
    "phi "
)
_FUNCTIONS = frozenset(_FUNCTIONS_TEXT.split())
_SAME = {
    "dne": "does not exist",
    "the limit does not exist": "does not exist",
    "no solutions": "no solution",
    "no real solution": "no solution",
    "no real solutions": "no solution",
    "there is no solution": "no solution",
}


@dataclass(frozen=True, slots=True)
class Words:
    """An answer that is nothing but words, in the form in which it is compared."""

    text: str


def words(text: str) -> Words | None:
    """The words that a text is, or None where it is (or may be) mathematics."""
    if "\\overline" in text:
        text = _SEGMENT.sub(r"\1", text)
    plain = plain_text(text)
    letter = _LETTER_IN_PARENTHESES.fullmatch(plain)
    if letter:
        return Words(letter[1])
    if not _WORDS.fullmatch(plain) or plain.casefold() in _FUNCTIONS:
        return None
    if any(character.isnumeric() for character in plain):
        return None  # a vulgar fraction is a letter to regular expressions
    wrapped = _WRAPPED.search(text) is not None
    if len(plain) == 1:
        return Words(plain)
    if not (wrapped or is_word(plain)):
        return None
    plain = " ".join(_ARTICLE.sub("", plain).replace("’", "'").split())
    folded = plain.casefold()
    return Words(_SAME.get(folded, folded))


def is_word(plain: str) -> bool:
    """Whether bare letters are a word and not a product of symbols."""
    parts = re.split(r"[\s,'/-]+", plain)
    if len(parts) > 1:  # `a b` and `x/y` are expressions, `no solution` is not
        return all(len(p) > 1 or p in "aAI" for p in parts) and any(len(p) > 2 for p in parts)
    if not plain.isascii():
        return len(plain) > 1
    if len(plain) == 2:
        return plain.lower() in _SHORT or plain.isupper()
    run = "abcdefghijklmnopqrstuvwxyz"
    return plain.isupper() or (
        any(letter in "aeiouAEIOU" for letter in plain) and "".join(sorted(plain)) not in run
    )


def plain_text(text: str) -> str:
    r"""A text without dollar signs, `\text{}`, spacing commands and a final full stop."""
    plain = _WRAPPED.sub(lambda m: f" {m[1]} ", text.replace("$", ""))
    for space in ("\\(", "\\)", "\\[", "\\]", "\\displaystyle", "\\ ", "\\,", "\\;", "\\!", "~"):
        plain = plain.replace(space, " ")
    return " ".join(plain.split()).rstrip(".").strip()
