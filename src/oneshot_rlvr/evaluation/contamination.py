"""Contamination probe: can the model finish a question that it should never have seen?

Each question is cut at 60 % of its words; the model continues the first part, greedily and without
a chat template; the question counts when the rest is reproduced word by word. Source: arXiv
2507.10532, section 3 (partial-prompt completion, exact match), which found 54.6 % of MATH-500
completed by Qwen2.5-Math-7B and 0 % of LiveMathBench, published later. A high share says that the
text was in the training data; a low one does not say that it was not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oneshot_rlvr.estimators import wilson
from oneshot_rlvr.evaluation.benchmark import Benchmark
from oneshot_rlvr.types import Example

SHOWN_SHARE = 0.6
FEWEST_WORDS = 5  # of a question: shorter ones are finished by chance and are left out
TOKENS_A_CHARACTER = 1.0  # room for the continuation: no tokenizer needs more than bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """A question in two parts."""

    example: Example
    shown: str
    hidden: str


def cut(question: str) -> tuple[str, str] | None:
    """The first 60 % of the words and the rest, verbatim; None for fewer than five words."""
    words = question.split()
    if len(words) < FEWEST_WORDS:
        return None
    kept = math.ceil(SHOWN_SHARE * len(words))
    rest = question
    for _ in range(kept):
        rest = rest.lstrip()
        rest = rest[len(rest.split(maxsplit=1)[0]) :]
    return question[: len(question) - len(rest)], rest


def cuts_of(benchmark: Benchmark) -> list[Cut]:
    """The benchmark's questions in two parts, those that are long enough.

    The question itself is cut: of a prompt the end would be options or instructions, which a model
    that knows the question by heart need not know, and one that does not may guess.
    """
    parts = [(example, cut(benchmark.bare_question(example))) for example in benchmark.examples]
    return [Cut(example, *both) for example, both in parts if both is not None]


def probe_benchmark(benchmark: Benchmark, cuts: Sequence[Cut]) -> Benchmark:
    """What is asked: the first parts, bare (chat template "none"), golds the rest."""
    examples = [
        replace(c.example, question=c.shown, answer=c.hidden, messages=(), verifier="exact_match")
        for c in cuts
    ]
    return replace(benchmark, name=f"{benchmark.name}.contamination", examples=examples)


def new_tokens(cuts: Sequence[Cut]) -> int:
    """Enough for the longest rest."""
    return max(8, math.ceil(TOKENS_A_CHARACTER * max(len(c.hidden) for c in cuts)))


def completes(text: str, hidden: str) -> bool:
    """Whether the continuation begins with the hidden words; white space is not compared."""
    wanted = hidden.split()
    return text.split()[: len(wanted)] == wanted


def matched_share(text: str, hidden: str) -> float:
    """The share of hidden words that the continuation reproduces before it departs."""
    wanted, said = hidden.split(), text.split()
    same = 0
    while same < min(len(wanted), len(said)) and wanted[same] == said[same]:
        same += 1
    return same / len(wanted)


def probed(
    benchmark: Benchmark, cuts: Sequence[Cut], texts: Mapping[str, str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row per question, and the summary: the share completed with Wilson's interval."""
    rows: list[dict[str, Any]] = [
        {
            "example_id": c.example.id,
            "shown": c.shown,
            "hidden": c.hidden,
            "continuation": texts[c.example.id],
            "completed": completes(texts[c.example.id], c.hidden),
            "matched_share": matched_share(texts[c.example.id], c.hidden),
        }
        for c in cuts
    ]
    done = sum(bool(row["completed"]) for row in rows)
    summary = {
        "benchmark": benchmark.name,
        "completed": wilson(done, len(rows)).as_dict(),
        "questions": len(rows),
        "left_out": len(benchmark.examples) - len(rows),
        "matched_share_mean": sum(float(row["matched_share"]) for row in rows) / len(rows),
        "ids": [row["example_id"] for row in rows if row["completed"]],
    }
    return rows, summary
