"""Two models on the same questions: the paired difference, its interval and its p-value.

Either side may be several training seeds of one recipe. Over questions: each question's share over
a side's seeds and answers, paired by question: does this model (these models) beat that one on
questions like these? Over seeds: each seed's score, Welch's t: would a new seed? Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.estimators import (
    Difference,
    Estimate,
    paired_difference,
    seeds_interval,
    share_interval,
    welch_difference,
)

Samples = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Side:
    """One side: avg@K with its interval over questions, per-seed scores, interval over seeds.

    `answers` to a question, over all seeds (the fewest); `readings`: accuracy read strictly and
    leniently, where samples tell both.
    """

    accuracy: Estimate
    scores_S: tuple[float, ...]
    over_seeds: Estimate | None  # None for one seed
    answers: int
    readings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`before` is the side compared against. `over_seeds` is None unless a side has two seeds."""

    benchmark: str
    before: Side
    after: Side
    over_questions: Difference
    over_seeds: Difference | None
    readings: dict[str, Difference]  # strict and lenient, over questions

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "benchmark": self.benchmark,
            **{name: _side_dict(getattr(self, name)) for name in ("before", "after")},
            "over_questions": self.over_questions.as_dict(),
            "over_seeds": self.over_seeds and self.over_seeds.as_dict(),
            "readings": {name: change.as_dict() for name, change in self.readings.items()},
        }


def compare(benchmark: str, before: Sequence[Samples], after: Sequence[Samples]) -> Comparison:
    """Graded samples of each seed of both sides. DataError unless all answer the same questions,
    asked with the same golds."""
    ids = _ids(benchmark, [*before, *after])
    shares = {
        column: [_shares(side, ids, column) for side in (before, after)]
        for column in ("correct", "strict", "lenient")
        if all(s.get(column) is not None for side in (*before, *after) for s in side)
    }
    counts = [_answers_of_all(side) for side in (before, after)]
    answers, even = min(min(c.values()) for c in counts), counts[0] == counts[1]
    sides = [
        _side(side, ids, {column: both[number] for column, both in shares.items()})
        for number, side in enumerate((before, after))
    ]
    several = max(len(before), len(after)) > 1
    return Comparison(
        benchmark=benchmark,
        before=sides[0],
        after=sides[1],
        over_questions=_difference(shares["correct"], answers, even=even),
        over_seeds=welch_difference(sides[0].scores_S, sides[1].scores_S) if several else None,
        readings={
            column: _difference(both, answers, even=even)
            for column, both in shares.items()
            if column != "correct"
        },
    )


def _difference(shares: Sequence[np.ndarray], answers: int, *, even: bool) -> Difference:
    before_Q, after_Q = shares
    return paired_difference(before_Q, after_Q, answers, even=even)


def _ids(benchmark: str, runs: Sequence[Samples]) -> list[str]:
    """The questions, in one order; all runs must have asked them, with equal golds."""
    asked = [{s["example_id"]: s.get("answer") for s in samples} for samples in runs]
    first = asked[0]
    for other in asked[1:]:
        if other.keys() != first.keys():
            alone = sorted(other.keys() ^ first.keys())
            raise DataError(
                f"{benchmark}: the sides answer different questions ({len(first)} and "
                f"{len(other)}; {alone[0]!r} is on one side only). Evaluate both with the same "
                "--questions and --seed."
            )
        changed = [key for key in first if first[key] != other[key]]
        if changed:
            raise DataError(
                f"{benchmark}: question {changed[0]!r} has the gold {first[changed[0]]!r} on one "
                f"side and {other[changed[0]]!r} on the other."
            )
    return list(first)


def _shares(side: Sequence[Samples], ids: Sequence[str], column: str) -> np.ndarray:
    """Each question's share of right answers, seeds weighing the same."""
    return np.mean([_by_question(samples, ids, column) for samples in side], axis=0)


def _by_question(samples: Samples, ids: Sequence[str], column: str) -> np.ndarray:
    right: dict[str, list[bool]] = {key: [] for key in ids}
    for sample in samples:
        right[sample["example_id"]].append(bool(sample[column]))
    return np.array([sum(r) / len(r) for r in right.values()])


def _answers_a_question(side: Sequence[Samples]) -> int:
    """Answers to a question over all seeds of a side, the fewest."""
    return min(_answers_of_all(side).values())


def _answers_of_all(side: Sequence[Samples]) -> dict[str, int]:
    """Answers to every question over all seeds of a side."""
    counts: dict[str, int] = {}
    for samples in side:
        for sample in samples:
            counts[sample["example_id"]] = counts.get(sample["example_id"], 0) + 1
    return counts


def _side(side: Sequence[Samples], ids: Sequence[str], shares: Mapping[str, np.ndarray]) -> Side:
    scores = tuple(float(_by_question(samples, ids, "correct").mean()) for samples in side)
    fewest = _answers_a_question(side)
    return Side(
        accuracy=share_interval(shares["correct"], np.full(len(ids), fewest)),
        scores_S=scores,
        over_seeds=seeds_interval(scores, len(ids)) if len(side) > 1 else None,
        answers=fewest,
        readings={name: float(s.mean()) for name, s in shares.items() if name != "correct"},
    )


def _side_dict(side: Side) -> dict[str, Any]:
    return {
        "accuracy": side.accuracy.as_dict(),
        "scores": list(side.scores_S),
        "over_seeds": side.over_seeds and side.over_seeds.as_dict(),
        "answers": side.answers,
        "readings": dict(side.readings),
    }
