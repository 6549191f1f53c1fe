"""Which options a final statement of multiple choice names: by label, by full text, in prose.

Here is how a statement is read; where it stands in a text, and what the options are, is told in
multiple_choice.py. Everything is upper-case labels against a table label -> text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import lru_cache

from oneshot_rlvr.verifiers.exact_match import normalised
from oneshot_rlvr.verifiers.fonts import FONT
from oneshot_rlvr.verifiers.statements import NOT_BUT

LEAD_CHARS = 40
_L = r"(?:[A-Za-z]|[0-9]{1,2})"
# A label in a text: in brackets, as "B)", or bare. f(b) and (a lot of people) have none.
_LABEL = re.compile(
    rf"(?<![\w\\{{'’(\[])(?:[(\[](?P<inside>{_L})[)\]]|(?P<bare>{_L})\)?)(?![\w'’(\[])"
)
LABEL_ALONE = re.compile(rf"(?:option|choice|answer)?\s*[(\[]?({_L})[)\].:,;!?]*", re.I)
LABEL_FIRST = re.compile(
    rf"(?:(?:option|choice|answer)\s+)?(?:[(\[]({_L})[)\]][.:]?|({_L})(?:[)\].:]|\s+[-–—]))\s*(\S.*)",
    re.DOTALL | re.I,
)
_LATEX_TEXT = re.compile(rf"(?:{FONT}|\\(?:bm|boldsymbol))\s?\{{([^{{}}]*)\}}")
_DECLARED_FONT = re.compile(r"\{\s*\\(?:bf|rm|it|sf|tt)\s+([^{}]*)\}|\\(?:bf|rm|it|sf|tt)\s")
_LATEX_SPACE = re.compile(r"\\(?:left|right|[ ,;:!()\[\]])|\\q?quad")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
_NOT = re.compile(
    r"\b(?:not|neither|nor|never|except|cannot|wrong|incorrect|false|other|anything|but|than|"
    r"instead|opposite|unlikely|un(?:true|suitable)|excluding|without|doubt|reject|rules?|ruled|"
    r"eliminat\w*|exclud\w*|discard\w*|impossible|no longer|mistaken\w*)\b|n['’]t\b"
    # "The worst answer is B"; but "the least likely outcome is B" may be what was asked.
    r"|\b(?:some|many|others|people|they|one)(?:\s+(?:would|might|may|could))?\s+"
    r"(?:say|think|choose|pick|guess|argue)\b"
    r"|\b(?:worst|weakest|poorest|least\s+\w+)\s+(?:answer|option|choice|alternative|candidate)\b",
    re.IGNORECASE,
)
# What may stand before and behind an option that concludes.
_LEADS = re.compile(
    r"(?:[:=→>]|\b(?:option|choice|answer|letter|alternative|is|be|choose|chose|pick|picked|select|"
    r"selected|with|say|guess|therefore|thus|so|hence|surely|clearly|definitely|certainly|obviously|"
    r"evidently|probably|(?:it|that|answer)['’]s))\s*,?\s*$",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    r"\s*(?:$|[.,;:!–—]|[-]\s|(?:because|since|as|for|rather than|instead of)\b"
    r"|(?:and\s+)?not\s+[(\[]?[A-Z]\b)"
)
_EXPLAINS = re.compile(r"\s*,?\s*(?:because|since|as|for)\b|\s*(?:[.:;–—]|\s-\s)", re.IGNORECASE)
_VERDICT_WORDS = (
    r"\s+(?:is|are|was|were|must be|has to be|seems?)\s+(?:both\s+|all\s+)?"
    r"(?:therefore\s+|clearly\s+|thus\s+|obviously\s+)?(?:the\s+|an?\s+)?(?:only\s+|most\s+|single\s+)?"
)
# "B is ...", "B: ...", "B (...)"
_SAID_OF_IT = rf"(?:{_VERDICT_WORDS}|\s*[:(–—-]\s*(?:this\s+is\s+)?)"
_IS_RIGHT = re.compile(
    _SAID_OF_IT + r"(?:correct|right|best|answer|true|valid|appropriate)\b|\s+it\s+is\b|\s*[✓✔✅]",
    re.IGNORECASE,
)
_IS_WRONG = re.compile(
    _SAID_OF_IT + r"(?:incorrect|wrong|false|invalid|impossible|inappropriate|untrue|ruled out|"
    r"eliminated|excluded|no\b(?!\s\w)|not\b)|\s*[✗✘❌]",
    re.IGNORECASE,
)
# "B, not C", "B rather than C"
_NOT_THIS = re.compile(r"(?:\bnot|\brather than|\binstead of)\s+(?:option\s+|choice\s+)?$", re.I)
_BEGINS = re.compile(
    r"(?:(?:so|therefore|thus|hence|then|surely|clearly|definitely|certainly|obviously)\b[,:]?\s*)?"
    r"(?:(?:it|that|this|the\s+answer)(?:['’]s|\s+(?:is|must\s+be|has\s+to\s+be))\s+"
    r"|i(?:['’]d|\s+would)?\s+(?:choose|pick|select|say|go\s+with)\s+)?",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[,.;:]")
_AND = re.compile(r"\s*(?:,\s*(?:and\s+)?|and\s+|&\s*)")
_ARTICLE = re.compile(r"\s+(?!(?:is|was|because|since|as|for|but|and|or|are)\b)[a-z]")


def named_labels(statement: str, choices: Mapping[str, str]) -> set[str]:
    """Labels of the options that a final statement names, by label or by full text."""
    return set(_named(statement, tuple(choices.items())))


@lru_cache(maxsize=1024)
def _named(statement: str, items: tuple[tuple[str, str], ...]) -> Set[str]:
    choices = dict(items)
    plain = plain_statement(statement)
    if not plain:
        return frozenset()
    plain = NOT_BUT.sub("", plain)
    by_text = _of_text(plain, items)
    if by_text:
        return by_text
    alone = LABEL_ALONE.fullmatch(plain)
    if alone:
        label = alone[1].upper()
        return {label} if label in choices else frozenset()  # or a letter that is no option
    first = LABEL_FIRST.fullmatch(plain)
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
        before = plain[: match.start()]
        if _IS_WRONG.match(plain, last) or _NOT_THIS.search(before[-LEAD_CHARS:]):
            out.add(label)
            continue
        right = _IS_RIGHT.match(plain, end) is not None
        led = _lead(before)
        rest = plain[end:].lstrip(" .:)(–—-") if led else ""
        said = _texts_at_the_start(rest, choices) if rest else set()
        if said and label not in said:
            return {label, *said}  # the label says one option and the text another
        led = led and (
            _CLOSES.match(plain, end) is not None
            or (label in said and not _IS_WRONG.match(rest, len(choices[label].rstrip("."))))
        )
        denied = denial is not None and denial.start() < match.start()
        if denied and (right or led) and out:  # "A is wrong, B is right": a denial of the others
            denied = _NOT.search(_CLAUSE_END.split(before)[-1]) is not None
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
    """The option whose full text a statement leads up to, or begins with to declare it right or
    explain it."""
    begins = _BEGINS.match(plain)
    assert begins is not None  # it takes nothing, too
    found = of_text(plain[begins.end() :], choices) if begins.end() else set()
    for label, text in choices.items():
        if text and plain.casefold().startswith(text.casefold()):
            end = len(text)
            reason = re.compile(r"\s*,?\s*(?:because|since)\b", re.IGNORECASE).match(plain, end)
            if reason or _IS_RIGHT.match(plain, end):
                found.add(label)
    return found


def of_text(plain: str, choices: Mapping[str, str]) -> set[str]:
    """Labels of the options whose full text a text is."""
    return set(_of_text(plain, tuple(choices.items())))


def _of_text(plain: str, items: tuple[tuple[str, str], ...]) -> Set[str]:
    texts = _texts(items)
    if plain.isascii() and len(plain) < texts.shortest:
        return frozenset()  # what is compared is no longer than what is written
    return texts.labels.get(normalised(plain), frozenset())


@dataclass(frozen=True, slots=True)
class _Texts:
    """The options' texts as they are compared, those that are known."""

    pairs: tuple[tuple[str, str], ...]  # label, text
    labels: Mapping[str, frozenset[str]]  # by text
    shortest: int  # characters


@lru_cache(maxsize=4096)
def _texts(items: tuple[tuple[str, str], ...]) -> _Texts:
    pairs = tuple((label, normalised(text)) for label, text in items if text)
    labels = {text: frozenset(k for k, other in pairs if other == text) for _, text in pairs}
    return _Texts(pairs, labels, min(map(len, labels), default=10**9))


def _texts_at_the_start(rest: str, choices: Mapping[str, str]) -> set[str]:
    """Options whose text a text is or begins with; only the longest of those that overlap."""
    said = normalised(rest)
    begun = {
        label: text
        for label, text in _texts(tuple(choices.items())).pairs
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


def plain_statement(statement: str) -> str:
    """A statement without LaTeX's and Markdown's dress, outer quotes and a full stop."""
    plain = statement.replace("$", "").replace("**", "").replace("~", " ")
    if "\\" in plain:
        plain = _LATEX_TEXT.sub(lambda m: m[1], plain)
        plain = _DECLARED_FONT.sub(lambda m: m[1] or "", plain)
        plain = _LATEX_SPACE.sub(" ", plain.replace("\\{", "").replace("\\}", ""))
    return " ".join(plain.split()).strip(_QUOTES + " .")


def listed_label(line: str, choices: Mapping[str, str]) -> str | None:
    """The label of a line that is one, "B" or "(B)", or begins with one, "B. the dog"."""
    match = LABEL_ALONE.fullmatch(line) or LABEL_FIRST.fullmatch(line)
    label = next((g for g in match.groups() if g), "").upper() if match else ""
    return label if label in choices else None
