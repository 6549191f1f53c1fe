"""A pool in the order of a score; equal scores in the order of ids, and told.

Not here: scores, files of examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.selection.history import FloatArray, History
from oneshot_rlvr.selection.score import Score

if TYPE_CHECKING:
    import pyarrow as pa

TIE_DECIMALS = 12
"""Scores are rounded here: what differs further down is the order in which a sum was taken."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """`order_E` holds the examples (places in the history) best first; `score_E` their scores.

    `tied_E`: another example has the same score. All three are in the order of the history.
    """

    name: str
    history: History
    score_E: FloatArray
    order_E: NDArray[np.int64]
    tied_E: NDArray[np.bool_]

    @property
    def ids(self) -> list[str]:
        """The ids, best first."""
        return [self.history.ids[e] for e in self.order_E]

    def notes(self) -> list[str]:
        """What a reader of the ranking must know, in sentences; the history's notes first."""
        told = list(self.history.notes)
        visited = int((self.history.visits_E > 0).sum())
        if visited:
            never, always = self.history.never_solved_E(), self.history.always_solved_E()
            told.append(
                f"{int(never.sum()):,} of {visited:,} examples were never solved and "
                f"{int(always.sum()):,} always"
            )
        short = int(np.isnan(self.score_E).sum())
        if short:
            told.append(f"{short:,} examples have no score and come last")
        told += self._ties()
        return told

    def _ties(self) -> list[str]:
        if not self.tied_E.any():
            return []
        values, counts = np.unique(self.score_E[self.tied_E], return_counts=True)
        largest = int(np.argmax(counts))
        first = int(np.flatnonzero(self.score_E[self.order_E] == values[largest])[0]) + 1
        return [
            f"{int(self.tied_E.sum()):,} examples share their score with another and stand in the "
            f"order of their ids as text; the largest tie is {int(counts[largest]):,} examples at "
            f"{values[largest]:.6g}, from rank {first:,} on"
        ]

    def to_table(self) -> pa.Table:
        """Columns rank (from 1), id, score (null: none), tied, visits, mean_accuracy, never_solved,
        always_solved, and history: the accuracies of the visits."""
        import pyarrow as pa

        order, history = self.order_E, self.history
        visits = history.visits_E[order]
        offsets = np.concatenate([[0], np.cumsum(visits)]).astype(np.int32)
        values = history.accuracy_E_S[order][history.visited_E_S[order]]
        return pa.table(
            {
                "rank": np.arange(1, len(order) + 1),
                "id": self.ids,
                "score": pa.array(self.score_E[order], from_pandas=True),
                "tied": self.tied_E[order],
                "visits": visits,
                "mean_accuracy": pa.array(history.mean_E()[order], from_pandas=True),
                "never_solved": history.never_solved_E()[order],
                "always_solved": history.always_solved_E()[order],
                "history": pa.ListArray.from_arrays(offsets, values),
            }
        ).replace_schema_metadata({"oneshot_rlvr.score": self.name})


def rank(history: History, name: str, *, seed: int = 0) -> Ranking:
    """The history's examples by the score `name`, best first.

    DataError: no examples, or none with visits enough for the score. UnknownNameError.
    """
    from oneshot_rlvr.selection import SCORES

    score: Score = SCORES.load(name)
    if not len(history):
        raise DataError("the history is empty; there is nothing to rank")
    most = int(history.visits_E.max())
    if most < score.visits:
        raise DataError(
            f"score {name} needs an example with at least {score.visits} visits and the most that "
            f"any has is {most}. Give a history of a run over the pool (--history, --make-history)"
            + ("; a probe is one visit: use pass_rate or entropy with it" if most else "")
        )
    score_E = np.round(score.compute(history, seed), TIE_DECIMALS) + 0.0  # no negative zero
    return ordered(name, history, score_E)


def ordered(name: str, history: History, score_E: FloatArray) -> Ranking:
    """The ranking by given scores: nan last, ties in the order of ids as text."""
    by_id = np.argsort(np.array(history.ids), kind="stable")
    order = by_id[np.argsort(-score_E[by_id], kind="stable")]
    in_order = score_E[order]
    same = in_order[1:] == in_order[:-1]  # nan equals nothing
    tied = np.zeros(len(order), dtype=bool)
    tied[order] = np.concatenate([[False], same]) | np.concatenate([same, [False]])
    return Ranking(name, history, score_E, order, tied)
