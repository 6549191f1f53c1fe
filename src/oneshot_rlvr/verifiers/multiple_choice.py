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
from collections.abc import Mapping, Set
from functools import lru_cache

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, wrong
from oneshot_rlvr.verifiers.boxed import last_box
from oneshot_rlvr.verifiers.exact_match import normalised
from oneshot_rlvr.verifiers.extraction import has_tags, is_lenient, tagged

MAX_STATEMENT_CHARS = 2000
ECHO_CHARS = 20  # a text of so many that begins the question is an echo of it, cut short
LEAD_CHARS = 40
_TAIL_CHARS = 8000
_DEFAULT_LABELS = tuple("ABCDE")
_L = r"(?:[A-Za-z]|[0-9]{1,2})"
# A label in a text: in brackets, as "B)", or bare. f(b) and (a lot of people) have none.
_LABEL = re.compile(
    rf"(?<![\w\\{{'’(\[])(?:[(\[](?P<inside>{_L})[)\]]|(?P<bare>{_L})\)?)(?![\w'’(\[])"
)
_LABEL_ALONE = re.compile(rf"(?:option|choice|answer)?\s*[(\[]?({_L})[)\].:,;!]*", re.I)
_LABEL_FIRST = re.compile(
    rf"(?:(?:option|choice|answer)\s+)?(?:[(\[]({_L})[)\]][.:]?|({_L})(?:[)\].:]|\s+[-–—]))\s*(\S.*)",
    re.DOTALL | re.I,
)
_BULLET = re.compile(r"^\s*(?:[-*•]\s+)?")
_LATEX_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|it|rm|sf)|mbox|bm|boldsymbol|emph)\s?\{([^{}]*)\}"
)
_LATEX_SPACE = re.compile(r"\\(?:left|right|[ ,;:!()\[\]])|\\q?quad")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
_NOT = re.compile(
    r"\b(?:not|neither|nor|never|except|cannot|wrong|incorrect|false|other|anything|but|than|"
    r"instead|opposite|unlikely|un(?:true|suitable)|excluding|without|doubt|reject|rules?|ruled|"
    r"eliminat\w*|exclud\w*|discard\w*|impossible|no longer|mistaken\w*)\b|n['’]t\b",
    re.IGNORECASE,
)
# What may stand before and behind an option that concludes.
_LEADS = re.compile(
    r"(?:[:=→>]|\b(?:option|choice|answer|letter|alternative|is|be|choose|chose|pick|picked|select|"
    r"selected|with|say|guess|therefore|thus|so|hence))\s*,?\s*$",
    re.IGNORECASE,
)
_CLOSES = re.compile(r"\s*(?:$|[.,;:!–—]|[-]\s|(?:because|since|as|for)\b)")
_EXPLAINS = re.compile(r"\s*,?\s*(?:because|since|as|for)\b|\s*(?:[.:;–—]|\s-\s)", re.IGNORECASE)
_VERDICT_WORDS = (
    r"\s+(?:is|are|was|were|must be|has to be|seems?)\s+(?:both\s+|all\s+)?"
    r"(?:therefore\s+|clearly\s+|thus\s+|obviously\s+)?(?:the\s+|an?\s+)?(?:only\s+|most\s+|single\s+)?"
)
_IS_RIGHT = re.compile(
    _VERDICT_WORDS + r"(?:correct|right|best|answer|true|valid|appropriate)\b", re.IGNORECASE
)
_IS_WRONG = re.compile(
    _VERDICT_WORDS + r"(?:incorrect|wrong|false|invalid|impossible|inappropriate|untrue|ruled out|"
    r"eliminated|excluded)\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[,.;]")
_AND = re.compile(r"\s*(?:,\s*(?:and\s+)?|and\s+|&\s*)")
_ARTICLE = re.compile(r"\s+(?!(?:is|was|because|since|as|for|but|and|or|are)\b)[a-z]")
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


def named_labels(statement: str, choices: Mapping[str, str]) -> set[str]:
    """Labels of the options that a final statement names, by label or by full text."""
    return set(_named(statement, tuple(choices.items())))


@lru_cache(maxsize=1024)
def _named(statement: str, items: tuple[tuple[str, str], ...]) -> Set[str]:
    choices = dict(items)
    plain = _plain(statement)
    if not plain:
        return set()
    by_text = _of_text(plain, choices)
    if by_text:
        return by_text
    if _LABEL_ALONE.fullmatch(plain):
        listed = _listed_label(plain, choices)
        return {listed} if listed else set()  # or a letter that is no option
    first = _LABEL_FIRST.fullmatch(plain)
    if first and (first[1] or first[2]).upper() in choices:
        label, rest = (first[1] or first[2]).upper(), first[3]
        if any(choices.values()):
            begun = _texts_at_the_start(rest, choices)
            if label in begun:
                return {label} | _listed_too(rest, choices)
            if begun:
                return {label, *begun}  # the label says one option and the text another
        elif (first[1] or not rest[0].islower()) and not _denies(rest) and not _LABEL.search(rest):
            return {label}  # its text, which only the model knows
    return _concluded(plain, choices)


def _concluded(plain: str, choices: Mapping[str, str]) -> set[str]:
    """The options that prose concludes; all that it names where it settles on none or several."""
    named: dict[str, bool] = {}  # label -> whether the statement concludes it
    out: set[str] = set()
    denial = _NOT.search(plain)
    matches = [m for m in _LABEL.finditer(plain) if _is_label(m, plain, choices)]
    for position, match in enumerate(matches):
        label, end = (match["inside"] or match["bare"]).upper(), match.end()
        last = end  # of the labels that share one predicate: "A and C are wrong"
        for following in matches[position + 1 :]:
            if _AND.fullmatch(plain, last, following.start()) is None:
                break
            last = following.end()
        if _IS_WRONG.match(plain, last):
            out.add(label)
            continue
        right = _IS_RIGHT.match(plain, end) is not None
        before = plain[: match.start()]
        denied = denial is not None and denial.start() < match.start()
        if denied and right and out:  # "A is wrong, B is right": a denial of the others
            denied = _NOT.search(_CLAUSE_END.split(before)[-1]) is not None
        led = _lead(before) and _CLOSES.match(plain, end) is not None
        concludes = not denied and (right or led)
        named[label] = named.get(label, False) or concludes
        if concludes and len(named) == 1 and not right and _explains(plain, end, choices):
            return {label} | _texts_at_the_start(before, choices)
    named = {label: right for label, right in named.items() if label not in out or right}
    if not named and not matches:
        return _text_concluded(plain, choices)
    return set(named) if len(named) > 1 or any(named.values()) else set()


def _is_label(match: re.Match[str], plain: str, choices: Mapping[str, str]) -> bool:
    """Whether a letter is a label: "a" and "I" are words, so is the "A" of "A cat"."""
    token = match["inside"] or match["bare"]
    if token.upper() not in choices:
        return False
    if match["inside"] or match[0].endswith(")"):
        return True
    if token == "A" and _ARTICLE.match(plain, match.end()):
        return False
    return token != "I" and not token.islower()


def _explains(plain: str, end: int, choices: Mapping[str, str]) -> bool:
    """Whether what follows a concluded option is its reason, which may speak of the others."""
    found = _EXPLAINS.match(plain, end)
    if found is None:
        return False
    rest = plain[found.end() :].strip()
    if _texts_at_the_start(rest, choices):
        return False
    by_reason = found[0].strip(" ,.:;–—-") != ""
    return by_reason or not any(
        _lead(rest[: m.start()])
        and _CLOSES.match(rest, m.end())
        and not _NOT.search(rest, 0, m.start())
        for m in _LABEL.finditer(rest)
        if _is_label(m, rest, choices)
    )


def _text_concluded(plain: str, choices: Mapping[str, str]) -> set[str]:
    """The option with whose full text a statement begins, to declare it right or explain it."""
    found = set()
    for label, text in choices.items():
        if text and plain.casefold().startswith(text.casefold()):
            end = len(text)
            reason = re.compile(r"\s*,?\s*(?:because|since)\b", re.IGNORECASE).match(plain, end)
            if reason or _IS_RIGHT.match(plain, end):
                found.add(label)
    return found


def _of_text(plain: str, choices: Mapping[str, str]) -> set[str]:
    whole = normalised(plain)
    return {label for label, text in _texts(tuple(choices.items())) if text == whole}


@lru_cache(maxsize=4096)
def _texts(choices: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The options' texts as they are compared, those that are known."""
    return tuple((label, normalised(text)) for label, text in choices if text)


def _texts_at_the_start(rest: str, choices: Mapping[str, str]) -> set[str]:
    """Options whose text a text is or begins with; only the longest of those that overlap."""
    said = normalised(rest)
    begun = {
        label: text
        for label, text in _texts(tuple(choices.items()))
        if text and said.startswith(text) and not said[len(text) : len(text) + 1].isalnum()
    }
    longest = max(map(len, begun.values()), default=0)
    return {label for label, text in begun.items() if len(text) == longest}


def _listed_too(rest: str, choices: Mapping[str, str]) -> set[str]:
    """Options that a line goes on to list, each with its label and text."""
    return {
        (match["inside"] or match["bare"]).upper()
        for match in _LABEL.finditer(rest)
        if _is_label(match, rest, choices)
        and (match["inside"] or match["bare"]).upper()
        in _texts_at_the_start(rest[match.end() :].lstrip(" .:)-"), choices)
    }


def _denies(text: str) -> bool:
    return _NOT.search(text) is not None or re.match(r"(?:is|can|fails|was)\b", text) is not None


def _lead(before: str) -> bool:
    """Whether what stands before a letter leads up to it; only its last words are looked at."""
    return not before.strip() or _LEADS.search(" " + before[-LEAD_CHARS:]) is not None


def _plain(statement: str) -> str:
    plain = statement.replace("$", "").replace("**", "").replace("~", " ")
    if "\\" in plain:
        plain = _LATEX_TEXT.sub(lambda m: m[1], plain)
        plain = _LATEX_SPACE.sub(" ", plain.replace("\\{", "").replace("\\}", ""))
    return " ".join(plain.split()).strip(_QUOTES + " .")


def _listed_label(line: str, choices: Mapping[str, str]) -> str | None:
    """The label of a line that is one, "B" or "(B)", or begins with one, "B. the dog"."""
    match = _LABEL_ALONE.fullmatch(line) or _LABEL_FIRST.fullmatch(line)
    label = next((g for g in match.groups() if g), "").upper() if match else ""
    return label if label in choices else None


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
    lines = [_plain(_BULLET.sub("", line)) for line in text[:_TAIL_CHARS].splitlines()]
    lines = [line for line in lines if line]
    options = [line for line in lines if _is_option(line, choices)]
    return lines[0] if options and options == lines[:1] else None


def _is_option(line: str, choices: Mapping[str, str]) -> bool:
    """Whether a line is a label, an option's text, or both."""
    if _of_text(line, choices):
        return True
    label = _listed_label(line, choices)
    first = _LABEL_FIRST.fullmatch(line)
    return label is not None and (
        _LABEL_ALONE.fullmatch(line) is not None
        or not choices[label]
        or (first is not None and bool(_of_text(first[3], choices)))
    )


def _last_line(text: str) -> str | None:
    lines = text.rstrip()[-MAX_STATEMENT_CHARS:].splitlines()
    return lines[-1].strip() if lines else None
