r"""exact_match: the stated answer is the gold, letter for letter after normalisation.

Normalised: Unicode NFKC, LaTeX's text commands (`\text{}`) and spaces taken off, spaces collapsed,
outer quotes and a final full stop dropped, and case folded unless `case_sensitive`. The last box
decides; `extraction = "lenient"` also takes a stated answer or, where nothing is stated, the whole
text.
"""

from __future__ import annotations

import re
import unicodedata

from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, wrong
from oneshot_rlvr.verifiers.extraction import final_text
from oneshot_rlvr.verifiers.numbers import bare

MAX_CHARS = 10_000
_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:bf|it|rm|sf|tt)|mbox|emph|operatorname)"
    r"\s?\{([^{}]*)\}"
)
_SPACE = re.compile(r"\\[ ,;:!]|\\q?quad(?![a-z])|~")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"


RULES = {
    "no-answer": "No answer was stated where one is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "text": "Compared as texts, letter for letter after normalisation.",
}


class ExactMatch(Verifier):
    """Options: answer_tags, extraction, case_sensitive (default false), golds."""

    name = "exact_match"
    options = frozenset({"answer_tags", "extraction", "case_sensitive", "golds"})
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
        fold = not option(example, "case_sensitive", bool, False)
        said = normalised(answer, fold=fold)
        if not said:
            return wrong(Reason.NO_ANSWER, answer, rule="no-answer")
        golds = [example.answer, *option(example, "golds", (list, tuple), ())]
        if any(said == normalised(str(gold), fold=fold) for gold in golds):
            return correct(answer, rule="text")
        return wrong(Reason.MISMATCH, answer, rule="text")


def normalised(text: str, *, fold: bool = True) -> str:
    """The form in which two texts are compared."""
    text = bare(unicodedata.normalize("NFKC", text))
    if "\\" in text:
        for _ in range(3):  # a font in a font
            text = _FONT.sub(lambda m: m[1], text)
        text = _SPACE.sub(" ", text)
    elif text.startswith("**") and text.endswith("**"):
        text = text[2:-2]
    text = " ".join(text.split())
    text = text.rstrip(".").strip().strip(_QUOTES).strip()
    return text.casefold() if fold else text
