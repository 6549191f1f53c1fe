"""Stored answers graded again, without the model: after a grader changed, or to check one.

Every sample holds its gold, its verifier and that verifier's options, so neither the benchmark nor
the model is needed. Torch-free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.evaluation.grading import Answer, Grader, graded
from oneshot_rlvr.types import Example

_NEEDED = ("question", "answer", "verifier", "options", "finished")
_FACTS = ("benchmark", "split", "model", "prompt", "temperature", "max_new_tokens", "seed")


def regrade(
    samples: Sequence[Mapping[str, Any]], grader: Grader, rows_at_a_time: int = 1024
) -> list[dict[str, Any]]:
    """The samples with new verdicts; what they were stands in `previous_correct` and
    `previous_version`. RecordsError for samples that do not say how they were graded."""
    missing = [name for name in _NEEDED if samples[0].get(name) is None]
    if missing:
        raise RecordsError(
            f"these samples lack {', '.join(missing)}: they were graded before samples kept it, "
            "and cannot be graded again without the benchmark."
        )
    examples: dict[tuple[Any, ...], Example] = {}
    answers = [_answer(sample, examples) for sample in samples]
    new: list[dict[str, Any]] = []
    for start in range(0, len(answers), rows_at_a_time):
        new += graded(answers[start : start + rows_at_a_time], grader, {})
    for row, was in zip(new, samples, strict=True):
        row |= {name: was.get(name) for name in _FACTS}
        row["group"] = was.get("group", "")
        row |= {"previous_correct": was["correct"], "previous_version": was["verifier_version"]}
    return new


def changes(samples: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """(became right, became wrong) of regraded samples."""
    right = sum(s["correct"] and not s["previous_correct"] for s in samples)
    wrong = sum(not s["correct"] and s["previous_correct"] for s in samples)
    return right, wrong


def _answer(sample: Mapping[str, Any], examples: dict[tuple[Any, ...], Example]) -> Answer:
    key = tuple(sample[name] for name in ("example_id", "answer", "verifier", "options"))
    if key not in examples:
        try:
            options = json.loads(sample["options"])
        except ValueError as error:
            raise RecordsError(
                f"the options of example {sample['example_id']!r} are no JSON ({error})."
            ) from None
        examples[key] = Example(
            id=sample["example_id"],
            question=sample["question"],
            answer=sample["answer"],
            verifier=sample["verifier"],
            domain=sample.get("domain") or "",
            family=sample.get("family") or "",
            extra=options,
        )
    tokens = sample.get("tokens")
    return Answer(examples[key], sample["sample"], sample["text"], tokens, sample["finished"])
