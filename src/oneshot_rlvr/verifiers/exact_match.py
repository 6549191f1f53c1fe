r"""exact_match: the stated answer is the gold, letter for letter after normalisation.

Normalised: Unicode NFKC, LaTeX's text commands (`\text{}`) and spaces taken off, spaces collapsed,
outer quotes and a final full stop dropped, and case folded unless `case_sensitive`. The last box
decides; `extraction = "lenient"` also takes a stated answer or, where nothing is stated, the whole
text.

Scores of wrong answers: `score = "edit"` is edit similarity to the nearest gold; `score =
"overlap"` takes answer and gold for sets of items and is their intersection over union; equal sets
are then right, in any order.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, wrong
from oneshot_rlvr.verifiers.extraction import final_text
from oneshot_rlvr.verifiers.fonts import FONT
from oneshot_rlvr.verifiers.numbers import bare
from oneshot_rlvr.verifiers.scoring import edit_similarity, items_of, overlap

MAX_CHARS = 10_000
_FONT = re.compile(rf"{FONT}\s?\{{([^{{}}]*)\}}")
_SPACE = re.compile(r"\\[ ,;:!]|\\q?quad(?![a-z])|~")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"


RULES = {
    "no-answer": "No answer was stated where one is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "text": "Compared as texts, letter for letter after normalisation.",
    "items": "Compared as sets of items (score = overlap).",
}


class ExactMatch(Verifier):
    """Options: answer_tags, extraction, case_sensitive (default false), golds, score."""

    name = "exact_match"
    options = frozenset({"answer_tags", "extraction", "case_sensitive", "golds", "score"})
    rules = RULES

    def extract(self, text: str, example: Example) -> str | Verdict:
        answer = final_text(text, example)
        if not answer:
            return wrong(Reason.NO_ANSWER, answer, rule="no-answer")
        return answer

    def quick(self, answer: str, example: Example) -> Verdict | None:
        return self.compare(answer, example)

    def compare(self, answer: str, example: Example) -> Verdict:
        if len(answer) > MAX_CHARS:
            return wrong(Reason.UNPARSEABLE, answer[:MAX_CHARS], rule="too-long")
        said, golds = _normalised(answer, example)
        if not said:
            return wrong(Reason.NO_ANSWER, answer, rule="no-answer")
        if said in golds:
            return correct(answer, rule="text")
        if _way(example) == "overlap":
            if items_of(said) in map(items_of, golds):
                return correct(answer, rule="items")
            return wrong(Reason.MISMATCH, answer, rule="items")
        return wrong(Reason.MISMATCH, answer, rule="text")

    def partial(self, answer: str, example: Example) -> float:
        """By the option `score`; the nearest gold counts."""
        way = _way(example)
        if not way:
            return 0.0
        said, golds = _normalised(answer, example)
        if way == "edit":
            return max(edit_similarity(said, gold) for gold in golds)
        return max(overlap(items_of(said), items_of(gold)) for gold in golds)

    def check_options(self, example: Example) -> None:
        """DataError for a `score` that there is not."""
        _way(example)


def _way(example: Example) -> str:
    if "score" not in example.extra:
        return ""
    way: str = option(example, "score", str, "")
    if way not in ("", "edit", "overlap"):
        raise DataError(
            f'example {example.id!r}: option score is {way!r}; wanted "edit" or "overlap".'
        )
    return way


def _normalised(answer: str, example: Example) -> tuple[str, list[str]]:
    """The answer and the golds in the form in which they are compared."""
    if not example.extra:
        return normalised(answer), [_gold_form(example.answer, True)]
    fold = not option(example, "case_sensitive", bool, False)
    golds = [example.answer, *option(example, "golds", (list, tuple), ())]
    return normalised(answer, fold=fold), [_gold_form(str(gold), fold) for gold in golds]


@lru_cache(maxsize=4096)
def _gold_form(gold: str, fold: bool) -> str:
    return normalised(gold, fold=fold)


def normalised(text: str, *, fold: bool = True) -> str:
    """The form in which two texts are compared."""
    text = bare(text if text.isascii() else unicodedata.normalize("NFKC", text))
    if "\\" in text or "~" in text:
        for _ in range(3):  # a font in a font
            text, found = _FONT.subn(r"\1", text)
            if not found or "\\" not in text:
                break
        if "\\" in text or "~" in text:
            text = _SPACE.sub(" ", text)
    elif text.startswith("**") and text.endswith("**"):
        text = text[2:-2]
    text = " ".join(text.split()).rstrip(". ").strip(_QUOTES).strip()
    return text.casefold() if fold else text
