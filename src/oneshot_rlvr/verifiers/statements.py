r"""Stated final answers outside a box, for lenient reading: "the answer is 5", "#### 5".

Lenient is not generous: a number somewhere in the prose is no final answer. In order: the last
`#### X`; the last "answer is X" or "Answer: X" that is not called wrong; then the last line, where
it is one expression, ends in a relation (the whole of it: `2x = 5` states no 5), in mathematics
set off as such (`$...$`, `\[...\]`), or in "is X". A last line that denies something states
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_STATEMENT_CHARS = 400
_TAIL_CHARS = 4000  # a final answer stands near the end; this bounds the work on endless texts
_HASHES = re.compile(r"####[ \t]{0,4}")
_ANSWER_IS = re.compile(
    r"\banswers?\b\s{0,2}\**\s{0,2}(?:is|are|was|equals|:|=|[-–—](?=\s))[ \t]{0,2}:?[ \t]{0,2}"
    r"\**[ \t]{0,4}",
    re.IGNORECASE,
)
# Before "answer is": called wrong, one that was given up, supposed, or said by somebody else.
_CALLED_WRONG = re.compile(
    r"\b(?:wrong|incorrect|false|mistaken|bad|invalid|rejected|tempting|worst|weakest|"
    r"(?<!at )least|not|never)\b[^.!?,;:\n]{0,30}$"
    r"|n['’]t\b[^.!?,;:\n]{0,20}$|\b(?:first|initial|previous|old|original|earlier|former)\s+$"
    r"|\b(?:if|unless|whether|suppos\w+|assum\w+)\b(?:(?!\bthen\b)[^.!?,;:\n]){0,30}$"
    r"|\b(?:says|said|claims|claimed|thinks|believes|believed|guesses|guessed|told|"
    r"(?:i|we|you|s?he|they)\s+(?:first\s+|once\s+|initially\s+)?thought)\b"
    r"[^.!?,;:\n]{0,30}$",
    re.IGNORECASE,
)
# Behind the statement: "5? No.", "5. That is wrong."
_TAKEN_BACK = re.compile(
    r"[^.!?\n]{0,80}(?:\?|[.!]\s{0,3}(?:(?:but|wait|no)\b\W{0,3})?(?:that|this|it|which|they|s?he|i)"
    r"(?:['’]s|\s+(?:is|was|are|were|am))\s+(?:wrong|incorrect|false|mistaken|a mistake|"
    r"not\s+(?:right|correct|true))\b)",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\b(?:wrong|incorrect|false|not|cannot|never|neither|nor|unless|reject\w*|discard\w*|"
    r"exclud\w*|eliminat\w*|rul(?:es?|ed|ing) out|contradict\w*|extraneous|invalid|impossible|"
    r"absurd)\b|n['’]t\b",
    re.IGNORECASE,
)
# "it is not 6, it is 5" and "not 6 which is 5" state 5.
_NOT_THAT_BUT = re.compile(
    r"\bnot\s+\$?-?[\d.,]*\d[\d.,]*\$?\s*[,;]?\s*(?:but\s+)?(?:which|it|that)(?:['’]s|\s+is)\s+"
    r"(?P<value>[-+\u2212$€£¥\\({\[]?\d\S*(?:\s\S{1,12}){0,2})$",
    re.IGNORECASE,
)
# "5, not 6" states 5.
_AND_NOT = re.compile(
    r",?\s+(?:and\s+|but\s+)?(?:not|rather than|instead of)\s+[^,;.\s]{1,20}$", re.I
)
# A number and words that may be its unit, as a whole line.
_QUANTITY = re.compile(r"[-+\u2212]?\$?\d[\d,.]*(?:\s[A-Za-z]{2,20}){1,3}\.?")
NOT_BUT = re.compile(
    r"^not\s(?!only|just|merely)[^.]{1,60}?\bbut\s+(?:rather\s+|instead\s+)?", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[^\s.])[.!?](?=\s+[A-Z(]|\s*$)")
_CONNECTED = re.compile(r"^[^.]{0,80}?\b(?:is|are)\s+(?=[-+\u2212$\\(\[{\d])")
_EXPRESSION = re.compile(r"[-+\u2212$\\({\[]?[\s\d.,+\-*/^(){}\[\]\\$%=:a-zA-Z\u2212]{0,200}")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{4,}")
_PERCENT = re.compile(r"\s*(?:percent|per\s?cent|percentage|pct)$")
_RELATION = re.compile(
    r"[=<>\u2248\u2260\u2264\u2265]|\\(?:n?eq|ne|[lg]eq?|[lg]t|approx|equiv|in)(?![A-Za-z])"
)
_TOKEN = re.compile(r"\\[A-Za-z]+(?:\s?\{[^{}]{0,80}\})?|(?<![A-Za-z0-9])[A-Za-z]{2,}")
_MATHS_TEXT = "sin cos tan cot sec csc log ln exp sqrt pi and or mod infinity max min gcd"
_MATHS_WORDS = frozenset(_MATHS_TEXT.split())
# Mathematics set off from the prose at the end of a text, with at most "is the answer" behind it.
_SET_OFF = re.compile(
    r"(?:\$\$(?P<a>[^$]{1,300})\$\$|\$(?P<b>[^$\n]{1,300})\$|\\\((?P<c>[^\n]{1,300}?)\\\)"
    r"|\\\[(?P<d>(?:(?!\\\[).){1,300}?)\\\])\s?(?P<unit>%|percent|pct)?"
    r"(?:\s+(?:is|are)\s+(?:the|our)\s+(?:final\s+)?(?:solution|answer)s?)?\s*[.,!]?\s*$",
    re.DOTALL,
)
_IS = re.compile(r"\b(?:is|are|equals|get|gives|obtain|by)\s+(?P<value>[^\s].{0,80})$")
# "So there are 12 ways to do it.", with no other number in the sentence.
_THERE_ARE = re.compile(
    r"^(?:\w{2,9},?\s+)?there\s+(?:are|is|were|will\s+be)\s+(?:exactly\s+|a\s+total\s+of\s+)?"
    r"\$?(?P<value>\d[\d,]*(?:\.\d+)?)\$?(?!\s+(?:more|less|fewer|or|to|and|times|dozen|\w*ths?|"
    r"hundred|thousand|million|billion|per\s?cent|pairs?)\b)(?=\s+[A-Za-z]|$)[^\d]*$",
    re.IGNORECASE,
)
_TASK = re.compile(
    r"\W{0,4}(?:(?:please|now|then|next)\W\s?)?(?:find|compute|calculate|evaluate|determine|simplify|"
    r"express|solve|prove|show|state|give|write|what|how|which|who|if|let|suppose|given|"
    r"(?:when|where)\s+(?:is|are|was|were|do|does|did|will|can|could|should)|"
    r"assume|consider|is|are|do|does|can|note|enter|round|for what|for which)\b(?!,)",
    re.IGNORECASE,
)
_HOPE = re.compile(
    r"\s*I hope (?:it|this) is correct\.?\s*$|\s*<\|[a-z_]{1,20}\|>\s?(?:user|assistant)?\s*$"
)


def announcements(text: str, pattern: re.Pattern[str], word: str) -> Iterator[re.Match[str]]:
    """Matches of a pattern that begins with a word, in any letter case, the last one first.

    Found by the word, so that a long text is not searched by a regular expression.
    """
    lower = text.lower()
    if len(lower) != len(text):  # a letter whose small form is two
        yield from reversed(list(pattern.finditer(text)))
        return
    place = lower.rfind(word)
    while place >= 0:
        match = pattern.match(text, place)
        if match:
            yield match
        place = lower.rfind(word, 0, place)


def announced_answer(text: str) -> str | None:
    """What follows the last `####`, or else the last "answer is", on its line or a last one."""
    match = next(announcements(text, _HASHES, "####"), None) or next(
        (
            found
            for found in announcements(text, _ANSWER_IS, "answer")
            if not _CALLED_WRONG.search(text, max(0, found.start() - 60), found.start())
            and not _TAKEN_BACK.match(text, found.end())
        ),
        None,
    )
    if match is None:
        return None
    line, _, below = text[match.end() : match.end() + _TAIL_CHARS].lstrip("*").partition("\n")
    if not line.strip() and len(below.strip().splitlines()) == 1:
        line = below.strip()  # nothing else follows: it is no list of options
    return _trimmed(NOT_BUT.sub("", line[:MAX_STATEMENT_CHARS].lstrip()))


def stated_answer(text: str, question: str = "") -> str | None:
    """The final answer that the text states without a box, or None.

    A last line that asks, tells to find, supposes, or repeats the question states nothing.
    """
    tail = text[-_TAIL_CHARS:]
    for _ in range(3):
        tail = _HOPE.sub("", tail)
    announced = announced_answer(text)
    if announced is not None:
        return _after_is(_HOPE.sub("", announced))
    lines = [line for line in tail.splitlines() if line.strip()]
    if not lines or _ANSWER_IS.search(lines[-1]):
        return None  # nothing, or an answer that is called wrong
    last = _AND_NOT.sub("", lines[-1].strip().strip("*").strip().rstrip("."))
    if len(last) > MAX_STATEMENT_CHARS:
        last = _last_sentence(last)
    corrected = _NOT_THAT_BUT.search(last)
    if corrected and not _DENIAL.search(corrected["value"]):
        return _trimmed(corrected["value"])
    if _DENIAL.search(last) or _asks(last) or _is_echo(last, question):
        return None
    set_off = _SET_OFF.search(tail, max(0, len(tail) - MAX_STATEMENT_CHARS))
    if set_off:
        inside = next(part for part in set_off.group("a", "b", "c", "d") if part is not None)
        return _trimmed(f"{inside} \\%" if set_off["unit"] else inside)
    relation = _relation(last)
    if relation is not None:
        return _trimmed(relation)
    bare = _PERCENT.sub(r" \\%", last)
    if _EXPRESSION.fullmatch(bare) and re.search(r"\d", bare) and not _WORD.search(bare):
        return _trimmed(bare)
    if _QUANTITY.fullmatch(last):
        return _trimmed(last)
    sentence = _last_sentence(last).rstrip(" .!")
    counted = _THERE_ARE.search(sentence)
    if counted:
        return counted["value"]
    ends = list(_IS.finditer(sentence))
    value = ends[-1]["value"].rpartition(" is ")[2] if ends else ""
    if re.search(r"\d", value) and not _WORD.search(_PERCENT.sub("", value)):
        return _trimmed(value)
    return None


def _asks(line: str) -> bool:
    """Whether the last sentence of a line is a question, a task or a supposition."""
    sentence = _last_sentence(line)
    return sentence.rstrip("*\"')$ ").endswith("?") or bool(_TASK.match(sentence))


def _is_echo(line: str, question: str) -> bool:
    """Whether a line of prose stands in the question."""
    if not question or not _WORD.search(line):
        return False
    return " ".join(_last_sentence(line).split()) in " ".join(question.split())


def _after_is(statement: str) -> str:
    """X of a statement "the volume of the box is X"; any other as it is."""
    if "$" not in statement[:1] and _WORD.search(statement) and not _DENIAL.search(statement):
        return _CONNECTED.sub("", statement)
    return statement


def _relation(line: str) -> str | None:
    """The relation that ends a line, from the last word of prose before its marks on."""
    marks = list(_RELATION.finditer(line))
    if not marks or len(_WORD.findall(line, marks[-1].end())) > 3:
        return None
    start = 0
    for token in _TOKEN.finditer(line, 0, marks[-1].start()):
        if not token[0].startswith("\\") and token[0].lower() not in _MATHS_WORDS:
            start = token.end()
    return line[start:].strip().lstrip(",:;").strip()


def _last_sentence(line: str) -> str:
    ends = [m.end() for m in _SENTENCE_END.finditer(line.rstrip()[:-1])]
    return line[ends[-1] :].strip() if ends else line[-MAX_STATEMENT_CHARS:]


def _trimmed(statement: str) -> str | None:
    """Up to the end of its sentence, without emphasis and unpaired dollar signs."""
    statement = statement.strip()
    end = _SENTENCE_END.search(statement)
    if end:
        statement = statement[: end.start()]
    statement = statement.strip().strip("*").strip().rstrip(".").strip()
    statement = _AND_NOT.sub("", statement)
    if statement.count("$") % 2 == 1:
        statement = statement.strip("$").strip()
    return statement or None
