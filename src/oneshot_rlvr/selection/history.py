"""`History`: how often every example was solved at each of its visits. Arrays, no files.

A visit is one training step at which the example was asked; its accuracy is the share of right
rollouts. Examples are visited unequally often (44 to 57 times in the paper's 500 steps), so rows
are packed to the left: column s is an example's s-th own visit, and nan follows its last one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oneshot_rlvr.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class History:
    """`ids` and, for each, its visits.

    accuracy_E_S: shares of right rollouts, nan after an example's last visit.
    answer_entropy_E: entropy (nats) of an example's answers, where the source has answers.
    alignment_E: of an example's policy gradient with a validation set's, where those were taken.
    notes: sentences about what the source lacked; for the user.
    """

    ids: tuple[str, ...]
    accuracy_E_S: FloatArray
    answer_entropy_E: FloatArray | None = None
    notes: tuple[str, ...] = ()
    alignment_E: FloatArray | None = None
    visits_E: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        if self.accuracy_E_S.ndim != 2 or len(self.ids) != len(self.accuracy_E_S):
            raise DataError(
                f"{len(self.ids)} ids and accuracies of shape {self.accuracy_E_S.shape}; wanted "
                "one row of visits an id"
            )
        if len(set(self.ids)) != len(self.ids):
            raise DataError(f"the history names {_double(self.ids)!r} twice; ids must be unique")
        object.__setattr__(self, "visits_E", np.isfinite(self.accuracy_E_S).sum(axis=1))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def visited_E_S(self) -> NDArray[np.bool_]:
        """Where there is a visit."""
        return np.arange(self.accuracy_E_S.shape[1]) < self.visits_E[:, None]

    def mean_E(self) -> FloatArray:
        """Mean accuracy over an example's visits; nan without one."""
        return divided(np.nansum(self.accuracy_E_S, axis=1), self.visits_E)

    def never_solved_E(self) -> NDArray[np.bool_]:
        """Visited, and not one rollout was right."""
        return (self.visits_E > 0) & (np.nanmax(self._or_zero(), axis=1, initial=0.0) == 0.0)

    def always_solved_E(self) -> NDArray[np.bool_]:
        """Visited, and every rollout was right."""
        lowest = np.where(self.visited_E_S, self.accuracy_E_S, 1.0).min(axis=1, initial=1.0)
        return (self.visits_E > 0) & (lowest == 1.0)

    def visits(self, example: int) -> FloatArray:
        """The accuracies of the e-th example, in order."""
        return self.accuracy_E_S[example, : self.visits_E[example]]

    def of_pool(self, pool: Sequence[str]) -> History:
        """The same for the ids of a pool, in its order; an id without history has no visit.

        Counted in `notes`: pool examples without history, histories of no pool example. DataError
        when none fits, which means that the ids are of another kind.
        """
        place = {name: number for number, name in enumerate(self.ids)}
        found = np.array([place.get(name, -1) for name in pool], dtype=np.int64)
        hits = int((found >= 0).sum())
        if hits == 0:
            raise DataError(
                f"no id of the history is in the pool: the history has {self.ids[0]!r}, the pool "
                f"{pool[0]!r}. Histories go by the pool's ids (extra_info.index in verl's columns)"
            )
        accuracy = np.full((len(pool), self.accuracy_E_S.shape[1]), np.nan)
        accuracy[found >= 0] = self.accuracy_E_S[found[found >= 0]]

        def placed(values_E: FloatArray | None) -> FloatArray | None:
            if values_E is None:
                return None
            of_pool = np.full(len(pool), np.nan)
            of_pool[found >= 0] = values_E[found[found >= 0]]
            return of_pool

        notes = list(self.notes)
        if len(self) > hits:
            known = set(pool)
            first = next(name for name in self.ids if name not in known)
            notes.append(
                f"{len(self) - hits:,} histories are of no example of the pool (the first: "
                f"{first!r}) and are left out"
            )
        if len(pool) > hits:
            first = next(name for name, at in zip(pool, found, strict=True) if at < 0)
            notes.append(
                f"{len(pool) - hits:,} of {len(pool):,} examples of the pool have no history (the "
                f"first: {first!r}) and come last, without a score"
            )
        return replace(
            self,
            ids=tuple(pool),
            accuracy_E_S=accuracy,
            answer_entropy_E=placed(self.answer_entropy_E),
            alignment_E=placed(self.alignment_E),
            notes=tuple(notes),
        )

    def _or_zero(self) -> FloatArray:
        return np.where(self.visited_E_S, self.accuracy_E_S, 0.0)


def without_visits(pool: Sequence[str]) -> History:
    """The history of a pool that nobody has tried: for the scores that need none."""
    return History(tuple(pool), np.empty((len(pool), 0)))


def from_matrix(ids: Sequence[str], accuracy_E_S: ArrayLike, source: str = "history") -> History:
    """A history from a matrix in which nan is a visit that was not measured; it is left out.

    Examples with fewer visits are counted in `notes`. DataError: shares outside 0..1, no example.
    """
    accuracy = np.asarray(accuracy_E_S, dtype=np.float64)
    if accuracy.ndim != 2 or not accuracy.size:
        raise DataError(f"{source} holds no visit; wanted at least one accuracy of one example")
    _refuse_beyond_a_share(source, [str(name) for name in ids], accuracy)
    missing = np.isnan(accuracy)
    if missing.any():
        # A stable sort of the mask moves what is there to the left, in its order.
        order = np.argsort(missing, axis=1, kind="stable")
        accuracy = np.take_along_axis(accuracy, order, axis=1)
    return History(tuple(str(name) for name in ids), accuracy)


def from_visits(
    ids: Sequence[str],
    example_V: NDArray[np.int64],
    accuracy_V: FloatArray,
    *,
    source: str,
    notes: Sequence[str] = (),
) -> History:
    """A history from V visits in order: `example_V` places each in `ids`, `accuracy_V` is a share.

    A visit that is nan is left out and counted in `notes`, as is an example that keeps none.
    """
    told = list(notes)
    missing = np.isnan(accuracy_V)
    if missing.any():
        hit = len(np.unique(example_V[missing]))
        told.append(
            f"{source}: {int(missing.sum()):,} visits of {hit:,} examples have no accuracy and are "
            "left out"
        )
        example_V, accuracy_V = example_V[~missing], accuracy_V[~missing]
    if not len(accuracy_V):
        raise DataError(f"{source} holds no visit; wanted at least one accuracy of one example")
    visits_E = np.bincount(example_V, minlength=len(ids))
    matrix = np.full((len(ids), int(visits_E.max())), np.nan)
    if (example_V[1:] < example_V[:-1]).any():
        accuracy_V = accuracy_V[np.argsort(example_V, kind="stable")]
    # Example after example lies whole now, which is how a mask is filled.
    matrix[np.arange(matrix.shape[1]) < visits_E[:, None]] = accuracy_V
    _refuse_beyond_a_share(source, ids, matrix)
    if (visits_E == 0).any():
        count = int((visits_E == 0).sum())
        told.append(f"{source}: {count:,} examples have no visit at all")
    return History(tuple(ids), matrix, notes=tuple(told))


def divided(sums_E: FloatArray, counts_E: NDArray) -> FloatArray:
    """sums / counts; nan where the count is 0."""
    return np.divide(sums_E, counts_E, out=np.full(len(sums_E), np.nan), where=counts_E > 0)


def _refuse_beyond_a_share(source: str, ids: Sequence[str], accuracy_E_S: FloatArray) -> None:
    with np.errstate(invalid="ignore"):
        wrong = (accuracy_E_S < 0) | (accuracy_E_S > 1)
    if wrong.any():
        example, visit = np.argwhere(wrong)[0]
        raise DataError(
            f"{source}: example {ids[example]!r} has accuracy {accuracy_E_S[example, visit]:g} at "
            f"its visit {visit}; wanted a share of 0..1 (not per cent, not a count)"
        )


def _double(ids: Sequence[str]) -> str:
    return Counter(ids).most_common(1)[0][0]
