"""What every verifier is: read the answer, decide cheaply if possible, else compare in earnest.

The three stages exist so that a batch can be graded well: `extract` and `quick` are linear in the
text, import nothing heavy and run in the caller's process; equal extracted answers are compared
once; `compare` may be slow, may import sympy, and is what a killable worker runs.
`quick` must never say anything that `compare` would not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.extraction import in_tags

KINDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
}
"""What an option is, in words."""

SHOWN_CHARS = 80  # of a gold or an answer inside an error message


class Verifier(ABC):
    """One kind of answer. Stateless: everything it needs is in the text and the example."""

    name: ClassVar[str]

    options: ClassVar[frozenset[str]] = frozenset()
    """Keys of `example.extra` that this kind reads."""

    rules: ClassVar[Mapping[str, str]] = {}
    """What each `details["rule"]` of this kind's verdicts means, in one sentence."""

    @abstractmethod
    def extract(self, text: str, example: Example) -> str | Verdict:
        """The part of the text that is the answer, or already a verdict (no answer, several).

        Linear in the text; never raises on it. DataError for options that make no sense.
        """

    def quick(self, answer: str, example: Example) -> Verdict | None:
        """The verdict where it is cheap and certain, else None."""
        return None

    @abstractmethod
    def compare(self, answer: str, example: Example) -> Verdict:
        """The verdict on an extracted answer, by any means. Never raises on the answer."""

    def warm(self) -> None:  # noqa: B027 - most kinds need nothing
        """Import what `compare` needs. A worker's deadline starts after it."""

    def gold_text(self, example: Example) -> str:
        """A text that states the gold, as a perfect model would."""
        return f"\\boxed{{{example.answer}}}"

    def stated_gold(self, example: Example) -> str:
        """`gold_text` as this example wants it stated: within `<answer>` tags, if it does."""
        text = self.gold_text(example)
        return in_tags(text, example) if "answer_tags" in self.options else text

    def check(self, text: str, example: Example) -> Verdict:
        """Grade one text. No deadline here: `rewards.Scorer` brings one."""
        answer = self.extract(text, example)
        if isinstance(answer, Verdict):
            return answer
        verdict = self.quick(answer, example) or self.compare(answer, example)
        return self.scored(verdict, answer, example)

    def scored(self, verdict: Verdict, answer: str, example: Example) -> Verdict:
        """The verdict of `quick` or `compare` with the score of a wrong answer, where the example
        asks for one. Every caller of the two passes their verdicts through here."""
        if verdict.reason is not Reason.MISMATCH:
            return verdict
        score = self.partial(answer, example)
        return replace(verdict, score=score) if score else verdict

    def partial(self, answer: str, example: Example) -> float:
        """How good an answer is that is not right, 0..1. DataError for options that make no
        sense; never raises on the answer."""
        return 0.0

    def check_options(self, example: Example) -> None:  # noqa: B027 - most options are met by golds
        """DataError for an option that only a wrong answer would meet, in the midst of a run."""

    def checks_gold_at_length(self, example: Example) -> bool:
        """Whether `check_gold` does more than grade `gold_text`, so that a worker must run it."""
        return type(self).check_gold is not Verifier.check_gold

    def check_gold(self, example: Example) -> None:
        """DataError, naming the example, for a gold that this very verifier rejects."""
        self.check_options(example)
        refuse_gold(self, example, self.check(self.stated_gold(example), example))


ALSO_CALLED: Mapping[str, tuple[str, ...]] = {
    "options": ("choices",),
    "option": ("choices",),
    "alternatives": ("choices",),
    "testlist": ("tests",),
    "testcases": ("tests",),
    "unittests": ("tests",),
    "position": ("fen",),
    "board": ("fen",),
    "tolerance": ("rel_tol", "abs_tol"),
    "tol": ("rel_tol", "abs_tol"),
    "matein": ("mate_in",),
    "mate": ("mate_in",),
    "jsonschema": ("schema",),
    # A column an option, as spreadsheets have them.
    **{f"{word}{end}": ("choices",) for word in ("", "option", "choice") for end in "abcd"},
    **{f"{word}{end}": ("choices",) for word in ("option", "choice") for end in "1234"},
}
"""What people call an option (in small letters alone) -> the options that say it."""


OTHER_IN_NUMBER = frozenset({"score", "golds"})
"""Options of which the other number is a word of its own: a ranking's scores, a column of golds."""


def refuse_misnamed(verifier: Verifier, example: Example) -> None:
    """DataError for a column that was meant as one of the kind's options and is called otherwise:
    it would be read by nobody, and the answers compared without it."""
    absent = {name for name in verifier.options if example.extra.get(name) is None}
    plain = {_letters(name): name for name in sorted(absent)}
    for column, value in example.extra.items():
        if column in verifier.options or value is None:
            continue
        word = _letters(column)
        forms = dict.fromkeys((word, word.removesuffix("s"), f"{word}s"))
        meant = [n for n in ALSO_CALLED.get(word, ()) if n in absent] or [
            plain[form]
            for form in forms
            if form in plain and (form == word or plain[form] not in OTHER_IN_NUMBER)
        ]
        if meant:
            raise DataError(
                f'example {example.id!r}: {verifier.name} reads no column "{column}"; it reads '
                f"{' and '.join(meant)}. Rename the column ({meant[0]}), or it changes nothing."
            )


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def refuse_gold(verifier: Verifier, example: Example, verdict: Verdict) -> None:
    """DataError unless the verdict on `verifier.stated_gold(example)` is correct."""
    if not verdict.correct:
        raise DataError(
            f"example {example.id!r}: the gold {shown(example.answer)} is rejected by its own "
            f"verifier {verifier.name} ({verdict.reason}). Correct the answer, or name the "
            "verifier that fits it."
        )


def shown(text: str) -> str:
    """A text as it appears in an error message: quoted, cut."""
    return repr(text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "...")


def option(example: Example, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """`example.extra[key]`, its type checked; the default where it is absent or None."""
    value = example.extra.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join(KINDS.get(k, k.__name__) for k in kinds if k is not tuple)
        raise DataError(
            f"example {example.id!r}: option {key} is {shown(str(value))}; wanted {wanted}."
        )
    return value


def correct(answer: str, **details: Any) -> Verdict:
    """The verdict on a right answer."""
    return Verdict(True, Reason.CORRECT, answer, details)


def wrong(reason: Reason, answer: str | None = None, **details: Any) -> Verdict:
    """The verdict on a wrong answer, or on none."""
    return Verdict(False, reason, answer, details)
