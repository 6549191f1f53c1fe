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

import re
import string
from collections.abc import Mapping

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, wrong
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

MAX_STATEMENT_CHARS = 2000
ECHO_CHARS = 20  # a text of so many that begins the question is an echo of it, cut short
_TAIL_CHARS = 8000
_DEFAULT_LABELS = tuple("ABCDE")
_BULLET = re.compile(r"^\s*(?:[-*•]\s+)?")
_ANSWER_IS = re.compile(
    r"\banswers?\b\s{0,2}\**\s{0,2}(?:is|are|was|:|=)[ \t]{0,2}:?[ \t]{0,2}\**[ \t]{0,4}"
    r"|####[ \t]{0,4}",
    re.IGNORECASE,
)
_CALLED_WRONG = re.compile(
    r"(?:\b(?:wrong|incorrect|false|bad|tempting|worst|invalid|rejected|not|never|no|first|initial|"
    r"previous)\b|n['’]t\b)[^.,;:!?\n]{0,30}$",
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
        inside = tagged(text, example)
        if inside is None:
            return wrong(Reason.NO_ANSWER, rule="no-answer")
        statement = last_box(inside)
        if has_tags(example):
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


def choices_of(example: Example) -> dict[str, str]:
    """Label -> option text ("" where only labels are known), labels upper case."""
    raw = example.extra.get("choices")
    if raw is None:
        return dict.fromkeys(_DEFAULT_LABELS, "")
    pairs: list[tuple[object, object]] = []
    if isinstance(raw, Mapping) and set(raw) >= {"label", "text"}:
        labels, texts = list(raw["label"]), list(raw["text"])
        if len(labels) == len(texts):
            pairs = list(zip(labels, texts, strict=True))
    elif isinstance(raw, Mapping):
        pairs = list(raw.items())
    elif isinstance(raw, (list, tuple)):
        pairs = list(zip(string.ascii_uppercase, raw, strict=False))
    choices = {str(label).strip().upper(): str(text) for label, text in pairs}
    if len(choices) < 2 or len(choices) != len(pairs):
        raise DataError(
            f"example {example.id!r}: option choices is {raw!r:.80}; wanted at least two options "
            'with distinct labels, as a list of texts or a mapping {"A": text}.'
        )
    return choices


def _ends_a_list(text: str, choices: Mapping[str, str]) -> bool:
    """Whether the last line is an option and the line before it the option before that one."""
    lines = [line for line in text[-_TAIL_CHARS:].splitlines() if line.strip()]
    options = [
        _option_of_line(plain_statement(_BULLET.sub("", line)), choices) for line in lines[-2:]
    ]
    labels = list(choices)
    return (
        len(options) == 2
        and None not in options
        and labels.index(str(options[1])) == labels.index(str(options[0])) + 1
    )


def _option_of_line(line: str, choices: Mapping[str, str]) -> str | None:
    by_text = [k for k, text in choices.items() if text and normalised(text) == normalised(line)]
    return by_text[0] if by_text else listed_label(line, choices)


def _is_echo(text: str, question: str) -> bool:
    """Whether the whole text is the question, or its beginning."""
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
    for match in reversed(list(_ANSWER_IS.finditer(tail))):
        start = max(0, match.start() - 60)
        if not _CALLED_WRONG.search(tail, start, match.start()):
            line, _, below = tail[match.end() :].lstrip("*").partition("\n")
            if not line.strip() and len(below.strip().splitlines()) == 1:
                line = below.strip()  # nothing else follows: it is no list of options
            return line[:MAX_STATEMENT_CHARS].strip().strip("*").strip() or None
    return None


def _first_line(text: str, choices: Mapping[str, str]) -> str | None:
    """The first line, where it is nothing but an option and no other line is one."""
    lines = [plain_statement(_BULLET.sub("", line)) for line in text[:_TAIL_CHARS].splitlines()]
    lines = [line for line in lines if line]
    options = [line for line in lines if _is_option(line, choices)]
    return lines[0] if options and options == lines[:1] else None


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
