"""Answers -> graded samples: one row an answer, with all that is needed to grade it again.

The benchmark's own reading gives `correct`; beside it stand the verdicts of strict reading (a box
or nothing) and of lenient reading (a box, else a stated final answer), so that what the format
costs is seen. A text is extracted in both ways and compared again only where they differ.
Not here: where answers come from, and what samples come to (records.summary).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from oneshot_rlvr.rewards.pool import plain
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.boxed import last_box
from oneshot_rlvr.verifiers.numbers import plain_number

READINGS = ("strict", "lenient")

LOOP_TIMES, LOOP_CHARS, LOOP_WINDOW = 4, 100, 2000
"""An answer repeats itself when its end is one piece of text said so often, over so many
characters; so many are looked at."""


class Grader(Protocol):
    """What evaluation needs of `rewards.Scorer`: verdicts. It never asks for a reward."""

    def check_golds(self, examples: Sequence[Example]) -> None:
        """DataError naming an example whose gold its own verifier rejects."""

    def grade_texts(self, texts: Sequence[str], examples: Sequence[Example]) -> list[Verdict]:
        """One verdict per text, against the true gold of the example beside it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one question; `tokens` is None where the server did not count them."""

    example: Example
    sample: int
    text: str
    tokens: int | None
    finished: bool


def graded(
    answers: Sequence[Answer], grader: Grader, facts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row per answer: columns of records.schema.SAMPLE_COLUMNS, then those of EXTRA_COLUMNS.

    `facts` (model, prompt, temperature, seed ...) stand in every row.
    """
    texts, examples = [a.text for a in answers], [a.example for a in answers]
    own = grader.grade_texts(texts, examples)
    readings = {reading: _read(reading, texts, examples, own, grader) for reading in READINGS}
    return [
        {
            "example_id": example.id,
            "group": str(example.extra.get("group", "")),
            "domain": example.domain,
            "family": example.family,
            "question": example.question,
            "answer": example.answer,
            "sample": answer.sample,
            "text": answer.text,
            "tokens": answer.tokens,
            "finished": answer.finished,
            "correct": verdict.correct,
            "reason": str(verdict.reason),
            "extracted": verdict.extracted,
            "score": verdict.score,
            "boxed": last_box(answer.text) is not None,
            "strict": readings["strict"][number],
            "lenient": readings["lenient"][number],
            "repeated": repeats_itself(answer.text),
            "vote": vote(verdict),
            "verifier": example.verifier,
            "options": options_of(example),
            "verifier_version": verifier_version(),
            **facts,
        }
        for number, (answer, example, verdict) in enumerate(
            zip(answers, examples, own, strict=True)
        )
    ]


def still_graded(row: Mapping[str, Any] | None, example: Example) -> bool:
    """Whether a kept verdict is what grading would give now."""
    return row is not None and (
        row["verifier_version"] == verifier_version()
        and row["answer"] == example.answer
        and row["verifier"] == example.verifier
        and row["options"] == options_of(example)
    )


def _read(
    reading: str,
    texts: Sequence[str],
    examples: Sequence[Example],
    own: Sequence[Verdict],
    grader: Grader,
) -> list[bool | None]:
    """Whether each text is right in one reading; the benchmark's own verdict stands wherever it
    extracts the same. None for kinds of answers that are read in one way only (code)."""
    variants: dict[int, Example] = {}
    verdicts: list[bool | None] = [verdict.correct for verdict in own]
    again: list[int] = []
    for number, (text, example) in enumerate(zip(texts, examples, strict=True)):
        verifier = get_verifier(example.verifier)
        if "extraction" not in verifier.options:
            verdicts[number] = None
            continue
        if example.extra.get("extraction") == reading:
            continue
        variant = variants.get(id(example))
        if variant is None:
            variant = replace(example, extra={**example.extra, "extraction": reading})
            variants[id(example)] = variant
        if verifier.extract(text, variant) != verifier.extract(text, example):
            again.append(number)
    answers = [texts[i] for i in again]
    for number, verdict in zip(
        again,
        grader.grade_texts(answers, [variants[id(examples[i])] for i in again]),
        strict=True,
    ):
        verdicts[number] = verdict.correct
    return verdicts


def vote(verdict: Verdict) -> str | None:
    """What an answer votes for in maj@K, in one spelling; None where it says nothing.

    Plain numbers vote by value ("0.50" with "1/2"), other answers by their text without blanks.
    """
    said = verdict.extracted
    if said is None or not said.strip() or verdict.reason is Reason.NO_ANSWER:
        return None
    number = plain_number(said)
    return str(number.value) if number is not None else "".join(said.split()).lower()


def repeats_itself(text: str) -> bool:
    """Whether the text's end is one piece said at least 4 times in a row, over 100 characters."""
    tail = " ".join(text[-LOOP_WINDOW:].split())[::-1]
    border = [0] * len(tail)  # the prefix function (Knuth, Morris, Pratt) gives every period
    for end in range(1, len(tail)):
        length = border[end - 1]
        while length and tail[end] != tail[length]:
            length = border[length - 1]
        border[end] = length + (tail[end] == tail[length])
        whole = end + 1
        if whole >= LOOP_CHARS and LOOP_TIMES * (whole - border[end]) <= whole:
            return True
    return False


def options_of(example: Example) -> str:
    """The options that the example's verifier reads, as JSON: with gold and text, a verdict."""
    wanted = get_verifier(example.verifier).options
    kept = {key: value for key, value in example.extra.items() if key in wanted}
    return json.dumps(kept, sort_keys=True, default=plain, ensure_ascii=False)


@cache
def verifier_version() -> str:
    """What grades: this package's version, a hash of its verifiers' source, and math-verify's."""
    import oneshot_rlvr
    from oneshot_rlvr import verifiers

    digest = hashlib.blake2b(digest_size=4)
    folder = Path(str(verifiers.__file__)).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    try:
        symbolic = version("math-verify")
    except PackageNotFoundError:
        symbolic = "none"
    return f"{oneshot_rlvr.__version__}+{digest.hexdigest()}, math-verify {symbolic}"
