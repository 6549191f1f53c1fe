r"""multiple_choice: one letter, or the full text of one option, in a final statement.

A final statement is the last complete box; failing that, "the answer is X"; failing that, the last
line. It must conclude ("B", "(B)", "option B", "B because ...", "so B is right"): a letter in a
line of prose names nothing. Discussing options on the way is fine; a final statement that names
several, or a last line that ends a list of them (an echoed question), is `ambiguous`. Options are
never found by substring. `extra["choices"]` is a list of texts, a mapping letter -> text, or
{"label": [...], "text": [...]}; without it only letters are read.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, wrong
from oneshot_rlvr.verifiers.boxed import last_box
from oneshot_rlvr.verifiers.exact_match import normalised
from oneshot_rlvr.verifiers.extraction import is_lenient
from oneshot_rlvr.verifiers.statements import announced_answer

MAX_STATEMENT_CHARS = 2000
ECHO_CHARS = 20  # a text of so many that begins the question is an echo of it, cut short
LEAD_CHARS = 40
_TAIL_CHARS = 8000
_DEFAULT_LABELS = tuple("ABCDE")
_LABEL = re.compile(r"(?<![A-Za-z0-9\\{'’])\(?([A-Za-z]|[0-9]{1,2})\)?(?![A-Za-z0-9'’])")
_LABEL_ALONE = re.compile(
    r"(?:option|choice|answer)?\s*[\(\[]?([A-Za-z]|[0-9]{1,2})[\)\].:]?", re.I
)
_LABEL_FIRST = re.compile(r"[\(\[]?([A-Za-z]|[0-9]{1,2})[\)\].:]\s*(.+)", re.DOTALL)
_BULLET = re.compile(r"^\s*(?:[-*•]\s+)?")
_LATEX_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf)?|math(?:bf|it|rm|sf)|mbox|bm|boldsymbol)\s?\{([^{}]*)\}"
)
_NOT = re.compile(r"\b(?:not|neither|nor|never|except|cannot)\b|n['’]t\b", re.IGNORECASE)
# What may stand before and behind a bare letter that concludes.
_LEADS = re.compile(
    r"(?:[:=→>]|\b(?:option|choice|answer|letter|alternative|is|be|choose|chose|pick|picked|select|"
    r"selected|with|say|guess|therefore|thus|so|hence))\s*,?\s*$",
    re.IGNORECASE,
)
_CLOSES = re.compile(r"\s*(?:$|[.,;:!)\]–—-]|(?:because|since|as|for)\b)")
_IS_RIGHT = re.compile(
    r"\)?\s+(?:is|was|must be|has to be|seems)\s+(?:therefore\s+)?(?:the\s+)?(?:only\s+|most\s+)?"
    r"(?:correct|right|best|answer|true|valid|appropriate)\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"\s+(?!(?:is|was|because|since|as|for|but|and|or|are)\b)[a-z]")


class MultipleChoice(Verifier):
    """Options: choices; extraction ("strict": a box only)."""

    name = "multiple_choice"
    options = frozenset({"choices", "extraction"})

    def extract(self, text: str, example: Example) -> str | Verdict:
        statement = last_box(text)
        if statement is None and (is_lenient(example) or "extraction" not in example.extra):
            statement = announced_answer(text) or _last_line(text)
            if _is_echo(text, example.question):
                return wrong(Reason.NO_ANSWER, statement, echo=True)
            if statement == _last_line(text) and _ends_a_list(text, choices_of(example)):
                return wrong(Reason.AMBIGUOUS, statement, list=True)
        if statement is None or not statement.strip():
            return wrong(Reason.NO_ANSWER, statement)
        if len(statement) > MAX_STATEMENT_CHARS:
            return wrong(Reason.UNPARSEABLE, statement[:MAX_STATEMENT_CHARS])
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
            return wrong(Reason.NO_ANSWER, answer)
        if len(named) > 1:
            return wrong(Reason.AMBIGUOUS, answer, named=sorted(named))
        (label,) = named
        return correct(label) if label == gold else wrong(Reason.MISMATCH, label)


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


def named_labels(statement: str, choices: Mapping[str, str]) -> set[str]:
    """Labels of the options that a final statement names, by label or by full text."""
    plain = _plain(statement)
    whole = normalised(plain)
    by_text = {label for label, text in choices.items() if text and normalised(text) == whole}
    if by_text:
        return by_text
    listed = _listed_label(plain, choices)
    if listed is not None:
        rest = _LABEL_FIRST.fullmatch(plain)
        if rest is None or normalised(rest[2]) == normalised(choices[listed]):
            return {listed}
    elif _LABEL_ALONE.fullmatch(plain):
        return set()  # a letter that is no option
    named: dict[str, bool] = {}  # label -> whether the statement concludes it
    denial = _NOT.search(plain)
    for match in _LABEL.finditer(plain):
        token, label = match[1], match[1].upper()
        in_parentheses = match[0] != token
        # "a" and "I" are words, so is the "A" of "A cat"; a lower-case letter names nothing.
        word = (
            token == "I" or token.islower() or (token == "A" and _ARTICLE.match(plain, match.end()))
        )
        if label in choices and (in_parentheses or not word):
            denied = denial is not None and denial.start() < match.start()
            concludes = not denied and bool(
                in_parentheses
                or _IS_RIGHT.match(plain, match.end())
                or (_lead(plain[: match.start()]) and _CLOSES.match(plain, match.end()))
            )
            named[label] = named.get(label, False) or concludes
    return set(named) if len(named) > 1 or any(named.values()) else set()


def _lead(before: str) -> bool:
    """Whether what stands before a letter leads up to it; only its last words are looked at."""
    return not before.strip() or _LEADS.search(" " + before[-LEAD_CHARS:]) is not None


def _plain(statement: str) -> str:
    plain = _LATEX_TEXT.sub(lambda m: m[1], statement).replace("$", "").replace("**", "")
    return plain.replace("\\{", "").replace("\\}", "").replace("\\ ", " ").strip()


def _listed_label(line: str, choices: Mapping[str, str]) -> str | None:
    """The label of a line that is one, "B" or "(B)", or begins with one, "B. the dog"."""
    match = _LABEL_ALONE.fullmatch(line) or _LABEL_FIRST.fullmatch(line)
    return match[1].upper() if match and match[1].upper() in choices else None


def _ends_a_list(text: str, choices: Mapping[str, str]) -> bool:
    """Whether the last line is an option and the line before it the option before that one."""
    lines = [line for line in text[-_TAIL_CHARS:].splitlines() if line.strip()]
    options = [_option_of_line(_plain(_BULLET.sub("", line)), choices) for line in lines[-2:]]
    labels = list(choices)
    return (
        len(options) == 2
        and None not in options
        and labels.index(str(options[1])) == labels.index(str(options[0])) + 1
    )


def _option_of_line(line: str, choices: Mapping[str, str]) -> str | None:
    by_text = [k for k, text in choices.items() if text and normalised(text) == normalised(line)]
    return by_text[0] if by_text else _listed_label(line, choices)


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


def _last_line(text: str) -> str | None:
    lines = text.rstrip()[-MAX_STATEMENT_CHARS:].splitlines()
    return lines[-1].strip() if lines else None
