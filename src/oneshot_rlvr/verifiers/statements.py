r"""Stated final answers outside a box, for lenient reading: "the answer is 5", "#### 5".

Lenient is not generous: a number somewhere in the prose is no final answer. In order: the last
`#### X`; the last "answer is X" or "Answer: X"; a last line that is nothing but one expression or
that ends in `= X`.
"""

from __future__ import annotations

import re

MAX_STATEMENT_CHARS = 400
_TAIL_CHARS = 4000  # a final answer stands near the end; this bounds the work on endless texts
_HASHES = re.compile(r"####[ \t]{0,4}")
_ANSWER_IS = re.compile(
    r"\banswers?\b\s{0,2}\**\s{0,2}(?:is|are|was|equals|:|=)[ \t]{0,2}:?[ \t]{0,2}\**[ \t]{0,4}",
    re.IGNORECASE,
)
_LINE_EQUALS = re.compile(r"=\s*([^=]{1,200})$")
_SENTENCE_END = re.compile(r"(?<=[^\s.])[.!?](?=\s+[A-Z(]|\s*$)")
_EXPRESSION = re.compile(r"[-+\u2212$\\({\[]?[\s\d.,+\-*/^(){}\[\]\\$%=:a-zA-Z\u2212]{0,200}")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{4,}")


def announced_answer(text: str) -> str | None:
    """What follows the last `####`, or else the last "answer is", on its line or a last one."""
    tail = text[-_TAIL_CHARS:]
    for pattern in (_HASHES, _ANSWER_IS):
        ends = [match.end() for match in pattern.finditer(tail)]
        if ends:
            line, _, below = tail[ends[-1] :].lstrip("*").partition("\n")
            if not line.strip() and len(below.strip().splitlines()) == 1:
                line = below.strip()  # nothing else follows: it is no list of options
            return _trimmed(line[:MAX_STATEMENT_CHARS])
    return None


def stated_answer(text: str) -> str | None:
    """The final answer that the text states without a box, or None."""
    announced = announced_answer(text)
    if announced is not None:
        return announced
    tail = text[-_TAIL_CHARS:]
    lines = [line for line in tail.splitlines() if line.strip()]
    if not lines:
        return None
    last = lines[-1].strip().strip("*").strip()
    if len(last) > MAX_STATEMENT_CHARS:
        return None
    equals = _LINE_EQUALS.search(last)
    if equals:
        return _trimmed(equals[1])
    if _EXPRESSION.fullmatch(last) and re.search(r"\d", last) and not _WORD.search(last):
        return _trimmed(last)
    return None


def _trimmed(statement: str) -> str | None:
    """Up to the end of its sentence, without emphasis and unpaired dollar signs."""
    statement = statement.strip()
    end = _SENTENCE_END.search(statement)
    if end:
        statement = statement[: end.start()]
    statement = statement.strip().strip("*").strip().rstrip(".").strip()
    if statement.count("$") % 2 == 1:
        statement = statement.strip("$").strip()
    return statement or None
