"""regex_match: the whole final answer matches the gold pattern.

The engine is RE2 (google-re2): linear in the text, so no pattern and no text can hang it; it has
neither back-references nor look-around. The gold is the pattern; it must not match the empty text.
The last box decides; `extraction = "lenient"` also takes a stated answer or the whole text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, shown, wrong
from oneshot_rlvr.verifiers.extraction import final_text

MAX_ANSWER_CHARS = 100_000
MAX_PATTERN_BYTES = 8 << 20  # memory of a compiled pattern


RULES = {
    "no-answer": "No answer was stated where one is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "pattern": "The whole answer is held against the pattern.",
}


class RegexMatch(Verifier):
    """Options: answer_tags, extraction, ignore_case (default false), sample."""

    name = "regex_match"
    options = frozenset({"answer_tags", "extraction", "ignore_case"})
    rules = RULES

    def extract(self, text: str, example: Example) -> str | Verdict:
        answer = final_text(text, example)
        if not answer:
            return wrong(Reason.NO_ANSWER, answer, rule="no-answer")
        if len(answer) > MAX_ANSWER_CHARS:
            return wrong(Reason.UNPARSEABLE, answer[:200], rule="too-long", too_long=len(answer))
        return answer

    def quick(self, answer: str, example: Example) -> Verdict | None:
        return self.compare(answer, example)

    def compare(self, answer: str, example: Example) -> Verdict:
        pattern = _pattern(example)
        # RE2 reads UTF-8; a lone surrogate, which a broken tokenizer can produce, has none.
        readable = answer.encode("utf-8", "replace").decode("utf-8")
        if pattern.fullmatch(readable):
            return correct(answer, rule="pattern")
        return wrong(Reason.MISMATCH, answer, rule="pattern")

    def gold_text(self, example: Example) -> str:
        """A boxed sample that matches; "" where the example gives none."""
        sample = option(example, "sample", str, "")
        return f"\\boxed{{{sample}}}" if sample else ""

    def check_gold(self, example: Example) -> None:
        """DataError for a pattern that RE2 cannot read, takes the empty text or not its sample."""
        _pattern(example)
        if self.gold_text(example):
            super().check_gold(example)


def _pattern(example: Example) -> Any:
    try:
        return _compiled(example.answer, option(example, "ignore_case", bool, False))
    except ValueError as error:
        raise DataError(f"example {example.id!r}: {error}") from None


@lru_cache(maxsize=256)
def _compiled(pattern: str, ignore_case: bool) -> Any:
    import re2

    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.max_mem = MAX_PATTERN_BYTES
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ValueError(
            f"the gold pattern {shown(pattern)} cannot be read: {reason}. The syntax is RE2's."
        ) from None
    if not pattern.strip() or compiled.fullmatch(""):
        raise ValueError(
            f"the gold pattern {shown(pattern)} matches the empty text; every model would pass."
        )
    return compiled
