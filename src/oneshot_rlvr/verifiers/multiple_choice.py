r"""multiple_choice: one letter, or the full text of one option, in a final statement.

A final statement is the last complete box; failing that, "the answer is X"; failing that, the last
line, or a first line that is nothing but an option where an explanation follows. It must conclude:
an option alone ("B", "(B) the dog", "the dog"), led up to ("so B", "I choose (B)") or declared
right ("B is the best choice"), and then end or go on to explain itself ("B because ...", "B. It
..."). Brackets conclude nothing by themselves: "(B) is incorrect". A letter in a line of prose
names nothing, and neither does a denial ("not B", "anything but B"). Options that the statement
itself declares wrong are out; one that names several others, contradicts its own label ("B. the
cat") or ends a list of them (an echoed question) is `ambiguous`. Options are never found by
substring. `extra["choices"]` is a list of texts, a mapping letter -> text, or {"label": [...],
"text": [...]}; without it only letters are read.
"""

from __future__ import annotations

import heapq
import json
import re
import string
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, shown, wrong
from oneshot_rlvr.verifiers.boxed import last_box
from oneshot_rlvr.verifiers.concluding import (
    LABEL_ALONE,
    LABEL_FIRST,
    listed_label,
    named_labels,
    of_text,
    plain_statement,
)
from oneshot_rlvr.verifiers.exact_match import normalised
from oneshot_rlvr.verifiers.extraction import has_tags, is_lenient, tagged
from oneshot_rlvr.verifiers.statements import announcements

MAX_STATEMENT_CHARS = 2000
ECHO_CHARS = 20  # a text of so many that begins the question is an echo of it, cut short
_TAIL_CHARS = 8000
_LETTERS_ALONE = MappingProxyType(dict.fromkeys("ABCDE", ""))
_BULLET = re.compile(r"^\s*(?:[-*•]\s+)?")
_ANSWER_IS = re.compile(
    r"\banswers?\b\s{0,2}\**\s{0,2}(?:is|are|was|:|=|[-–—](?=\s))[ \t]{0,2}:?[ \t]{0,2}"
    r"\**[ \t]{0,4}",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####[ \t]{0,4}")
_CALLED_WRONG = re.compile(
    r"(?:\b(?:wrong|incorrect|false|bad|tempting|worst|weakest|(?<!at )least|invalid|rejected|not|"
    r"never|no|first|initial|previous)\b|n['’]t\b)[^.,;:!?\n]{0,30}$",
    re.IGNORECASE,
)


RULES = {
    "no-answer": "No answer was stated where one is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "echo": "The text is the question, or its beginning.",
    "list": "The last line ends a list of the options.",
    "nothing-concluded": "The final statement concludes no option, or denies one.",
    "several": "The final statement names several options, or a label and another option's text.",
    "option": "The one option that the final statement concludes, by label or full text.",
}


class MultipleChoice(Verifier):
    """Options: answer_tags, choices; extraction ("strict": a box only)."""

    name = "multiple_choice"
    options = frozenset({"answer_tags", "choices", "extraction"})
    rules = RULES

    def extract(self, text: str, example: Example) -> str | Verdict:
        tags = has_tags(example)
        inside = tagged(text, example) if tags else text
        if inside is None:
            return wrong(Reason.NO_ANSWER, rule="no-answer")
        statement = last_box(inside)
        if tags:
            statement = statement or inside
        elif statement is None and (is_lenient(example) or "extraction" not in example.extra):
            choices = choices_of(example)
            statement = _announced(text)
            if _is_echo(text, example.question):
                return wrong(Reason.NO_ANSWER, statement, rule="echo", echo=True)
            if statement is None:
                statement = _last_line(text)
                if _ends_a_list(text, choices):
                    return wrong(Reason.AMBIGUOUS, statement, rule="list", list=True)
                if statement is not None and not named_labels(statement, choices):
                    statement = _first_line(text, choices) or statement
        if statement is None or not statement.strip():
            return wrong(Reason.NO_ANSWER, statement, rule="no-answer")
        if len(statement) > MAX_STATEMENT_CHARS:
            return wrong(Reason.UNPARSEABLE, statement[:MAX_STATEMENT_CHARS], rule="too-long")
        return statement.strip()

    def quick(self, answer: str, example: Example) -> Verdict | None:
        return self.compare(answer, example)

    def compare(self, answer: str, example: Example) -> Verdict:
        choices = choices_of(example)
        gold = label_of(example.answer, choices)
        if gold is None:
            raise DataError(
                f"example {example.id!r}: the gold {example.answer!r} is neither a label nor the "
                f"text of an option; the labels are {', '.join(choices)}."
            )
        named = named_labels(answer, choices)
        if not named:
            return wrong(Reason.NO_ANSWER, answer, rule="nothing-concluded")
        if len(named) > 1:
            return wrong(Reason.AMBIGUOUS, answer, rule="several", named=sorted(named))
        (label,) = named
        if label == gold:
            return correct(label, rule="option")
        return wrong(Reason.MISMATCH, label, rule="option")


def choices_of(example: Example) -> Mapping[str, str]:
    """Label -> option text ("" where only labels are known), labels upper case."""
    raw = example.extra.get("choices")
    if raw is None:
        return _LETTERS_ALONE
    choices = None
    if isinstance(raw, (list, tuple)):
        choices = _lettered(tuple(map(str, raw)))
    elif isinstance(raw, Mapping) and "label" in raw and "text" in raw:
        choices = _labelled(tuple(map(str, raw["label"])), tuple(map(str, raw["text"])))
    elif isinstance(raw, Mapping):
        choices = _labelled(tuple(map(str, raw)), tuple(map(str, raw.values())))
    if choices is None:
        text = raw if isinstance(raw, str) else ""
        raise DataError(
            f"example {example.id!r}: option choices is {shown(str(raw))}; wanted at least two "
            'options with distinct labels, as a list of texts or a mapping {"A": text}.'
            + _as_list(text)
        )
    return choices


def _as_list(raw: str) -> str:
    """How options that came as one text are written."""
    parts = [part.strip(" []'\"") for part in re.split(r"[|;,\n]", raw[:1000])]
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return ""
    return f" Write them as JSON, in a CSV's cell too: {json.dumps(parts, ensure_ascii=False)}."


@lru_cache(maxsize=4096)
def _lettered(texts: tuple[str, ...]) -> Mapping[str, str] | None:
    return _labelled(tuple(string.ascii_uppercase[: len(texts)]), texts[:26])


@lru_cache(maxsize=4096)
def _labelled(labels: tuple[str, ...], texts: tuple[str, ...]) -> Mapping[str, str] | None:
    """Label -> text; None where a label is missing or not the only one of its name."""
    choices = {label.strip().upper(): text for label, text in zip(labels, texts, strict=False)}
    whole = len(labels) == len(texts) == len(choices) >= 2
    return MappingProxyType(choices) if whole else None


def _ends_a_list(text: str, choices: Mapping[str, str]) -> bool:
    """Whether the last line is an option and the line before it the option before that one."""
    last = None  # the option that the last line is
    for line in reversed(text[-_TAIL_CHARS:].splitlines()):
        if not line.strip():
            continue
        option = _option_of_line(plain_statement(_BULLET.sub("", line)), choices)
        if option is None or last is not None:
            labels = list(choices)
            return None not in (option, last) and (
                labels.index(str(last)) == labels.index(str(option)) + 1
            )
        last = option
    return False


def _option_of_line(line: str, choices: Mapping[str, str]) -> str | None:
    by_text = of_text(line, choices)
    if by_text:
        return next(label for label in choices if label in by_text)
    return listed_label(line, choices)


def _is_echo(text: str, question: str) -> bool:
    """Whether the whole text is the question, or its beginning."""
    if text.lstrip()[:1] != question.lstrip()[:1]:
        return False
    said = " ".join(text.split())
    return len(said) >= ECHO_CHARS and " ".join(question.split()).startswith(said)


def label_of(gold: str, choices: Mapping[str, str]) -> str | None:
    """The label that a gold names, by label or by the text of one option."""
    label = gold.strip().strip("()").upper()
    if label in choices:
        return label
    by_text = [k for k, text in choices.items() if text and normalised(text) == normalised(gold)]
    return by_text[0] if len(by_text) == 1 else None


def _announced(text: str) -> str | None:
    """What follows the last "the answer is" that is not called wrong, to the end of its line."""
    tail = text[-_TAIL_CHARS:]
    hashes = announcements(tail, _HASHES, "####")
    for match in heapq.merge(
        announcements(tail, _ANSWER_IS, "answer"), hashes, key=re.Match.start, reverse=True
    ):
        start = max(0, match.start() - 60)
        if not _CALLED_WRONG.search(tail, start, match.start()):
            line, _, below = tail[match.end() :].lstrip("*").partition("\n")
            if not line.strip() and len(below.strip().splitlines()) == 1:
                line = below.strip()  # nothing else follows: it is no list of options
            return line[:MAX_STATEMENT_CHARS].strip().strip("*").strip() or None
    return None


def _first_line(text: str, choices: Mapping[str, str]) -> str | None:
    """The first line, where it is nothing but an option and no other line is one."""
    raw = text[:_TAIL_CHARS].splitlines()
    lines = filter(None, (plain_statement(_BULLET.sub("", line)) for line in raw))
    first = next(lines, None)
    if first is None or not _is_option(first, choices):
        return None
    return None if any(_is_option(line, choices) for line in lines) else first


def _is_option(line: str, choices: Mapping[str, str]) -> bool:
    """Whether a line is a label, an option's text, or both."""
    if of_text(line, choices):
        return True
    label = listed_label(line, choices)
    first = LABEL_FIRST.fullmatch(line)
    return label is not None and (
        LABEL_ALONE.fullmatch(line) is not None
        or not choices[label]
        or (first is not None and bool(of_text(first[3], choices)))
    )


def _last_line(text: str) -> str | None:
    lines = text.rstrip()[-MAX_STATEMENT_CHARS:].splitlines()
    return lines[-1].strip() if lines else None
