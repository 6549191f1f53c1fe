"""Graded samples -> the one summary shape that evaluation writes and the report reads.

Counting only: nothing is graded here. The shape:

    {"benchmark": "tiny", "temperature": 0.6, "seed": 7, "samples": 8,      K answers a question
     "overall": PART, "groups": {name: PART}, "domains": {...}, "families": {...}}

    PART = {"accuracy": {"value", "low", "high", "n"},    avg@K, 95 % interval over n questions
            "boxed_share", "truncated_share", "recheck_share",        shares of answers, 0..1
            "tokens_mean",                                            generated tokens an answer
            "questions", "samples",                                   counts; samples = answers
            "reasons": {reason: count},
            "strict", "lenient", "repeated_share",                    where samples tell them
            "score",              mean over questions, 0..1, where scores say more than yes or no
            "majority", "pass_at_k": {k: ...}}                        of K > 1 answers a question

Estimates ("accuracy", "strict", "lenient", "majority", each pass@k) have the shape of accuracy.

A sample whose `group`, `domain` or `family` is empty stands in `overall` alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.estimators import majority_right, pass_at_k_per_question, share_interval

# The three words the paper counts (arXiv 2504.20571, section 3.2.4), in any inflection.
_RECHECK = re.compile(r"\bre-?(?:think|check|calculat)", re.IGNORECASE)

MOST_K = 256  # of pass@k: as far as published comparisons go (arXiv 2504.13837)

_NEEDED = ("example_id", "text", "tokens", "finished", "correct", "reason", "boxed")


def rechecks(text: str) -> bool:
    """Whether an answer says that it rethinks, rechecks or recalculates."""
    return _RECHECK.search(text) is not None


def summarise(
    samples: Sequence[Mapping[str, Any]],
    /,
    *,
    benchmark: str,
    temperature: float,
    seed: int,
    **meta: Any,
) -> dict[str, Any]:
    """The summary of graded samples (columns of records.schema.SAMPLE_COLUMNS).

    `meta` joins the top level. RecordsError when there are no samples or a column is missing.
    """
    if not samples:
        raise RecordsError(f'benchmark "{benchmark}" has no graded samples; nothing to summarise')
    missing = [column for column in _NEEDED if column not in samples[0]]
    if missing:
        raise RecordsError(f"graded samples lack {', '.join(missing)}; they need {_NEEDED}")
    per_question = Counter(sample["example_id"] for sample in samples)
    return {
        "benchmark": benchmark,
        "temperature": temperature,
        "seed": seed,
        "samples": max(per_question.values()),
        **meta,
        "overall": part(samples),
        "groups": _parts(samples, "group"),
        "domains": _parts(samples, "domain"),
        "families": _parts(samples, "family"),
    }


def part(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One PART of the shape, over all the samples given."""
    answers = len(samples)
    counted = [int(s["tokens"]) for s in samples if s["tokens"] is not None]
    by_question = _by_question(samples)
    rights = _rights(by_question, "correct")
    known: dict[str, Any] = {
        "accuracy": _estimate(rights),
        "boxed_share": sum(bool(s["boxed"]) for s in samples) / answers,
        "truncated_share": sum(not s["finished"] for s in samples) / answers,
        "recheck_share": sum(rechecks(s["text"]) for s in samples) / answers,
        "tokens_mean": sum(counted) / len(counted) if counted else None,
        "questions": len(by_question),
        "samples": answers,
        "reasons": dict(sorted(Counter(str(s["reason"]) for s in samples).items())),
    }
    if any(s.get("score") not in (None, float(bool(s["correct"]))) for s in samples):
        known["score"] = _mean_score(by_question)
    if all(s.get("strict") is not None for s in samples):  # code is read in one way only
        known["strict"] = _estimate(_rights(by_question, "strict"))
        known["lenient"] = _estimate(_rights(by_question, "lenient"))
    if samples[0].get("repeated") is not None:
        known["repeated_share"] = sum(bool(s["repeated"]) for s in samples) / answers
    fewest = min(len(right) for right in rights)
    if fewest > 1:
        known["pass_at_k"] = {str(k): _pass_at(rights, k) for k in _ks(fewest)}
        if "vote" in samples[0]:
            majority = [
                majority_right([s["vote"] for s in asked], [bool(s["correct"]) for s in asked])
                for asked in by_question
            ]
            known["majority"] = share_interval(majority, [1] * len(majority)).as_dict()
    return known


def _by_question(samples: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    asked: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        asked.setdefault(sample["example_id"], []).append(sample)
    return list(asked.values())


def _rights(by_question: Sequence[Sequence[Mapping[str, Any]]], column: str) -> list[list[bool]]:
    return [[bool(sample[column]) for sample in asked] for asked in by_question]


def _mean_score(by_question: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """Mean over questions of the mean score of their answers, as avg@K is of right answers."""
    means = [sum(float(s["score"]) for s in asked) / len(asked) for asked in by_question]
    return sum(means) / len(means)


def _estimate(rights: Sequence[Sequence[bool]]) -> dict[str, Any]:
    shares = [sum(right) / len(right) for right in rights]
    return share_interval(shares, [len(right) for right in rights]).as_dict()


def _ks(fewest: int) -> list[int]:
    """k = 2, 4, 8 ... as far as every question has answers, and all of them; at most 256."""
    most = min(fewest, MOST_K)
    return sorted({most, *(2**power for power in range(1, 9) if 2**power <= most)})


def _pass_at(rights: Sequence[Sequence[bool]], k: int) -> dict[str, Any]:
    chances = [float(pass_at_k_per_question([right], k)[0]) for right in rights]
    # Questions alone are counted: Wilson's interval, never too narrow for chances between 0 and 1.
    return share_interval(chances, [1] * len(chances)).as_dict()


def _parts(samples: Sequence[Mapping[str, Any]], column: str) -> dict[str, Any]:
    split: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        name = sample.get(column)
        if name:
            split.setdefault(str(name), []).append(sample)
    return {name: part(split[name]) for name in sorted(split)}
