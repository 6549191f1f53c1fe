"""Dynamic sampling: rows whose rewards are all equal are asked again, with another prompt.

Such rows teach nothing, and their share of a step grows as the policy learns (DAPO, Yu et al. 2025,
arXiv 2503.14476, section 3.2). DAPO draws whole batches until one is full; here every empty row is
replaced by itself. What was replaced is recorded, counted and paid for like the rest. Not here: how
a prompt is sampled and graded (the loop says that).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.estimators import equal_rewards
from oneshot_rlvr.types import Example, Graded

Ask = Callable[[Mapping[int, int], int], list[Graded]]
"""Asks rows' examples, `{row: example's number}`, in a round of its own (from 1)."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """A step's rollouts, row after row, those that were replaced in between, and what to log.

    `sampling` says of both in which sampling of the step each was drawn, from 1.
    """

    kept: list[Graded]
    replaced: list[Graded]
    sampling: list[int]
    metrics: dict[str, float]

    @property
    def all(self) -> list[Graded]:
        """Everything that was generated and graded: what the step learns from, then the rest."""
        return [*self.kept, *self.replaced]

    @property
    def columns(self) -> dict[str, list[int] | list[bool]]:
        """What is recorded beside each of `all`: the sampling, and whether it was learned from."""
        learned = [True] * len(self.kept) + [False] * len(self.replaced)
        return {"sampling": self.sampling, "learned": learned}


def replace_equal_rows(
    graded: Sequence[Graded], examples_P: Sequence[int], pool: int, rounds: int, ask: Ask
) -> Resampled:
    """The step's rollouts with equal rows replaced; nothing that was generated is dropped.

    `examples_P` are the numbers of the rows' examples in a pool of so many. In round k a row that
    is still without variance asks the k-th example after its own; after `rounds` samplings, the
    first one counted, it stays as it is.
    """
    rows: dict[int, list[Graded]] = {}
    drawn: dict[int, int] = {}  # row -> the sampling of what it holds
    for item in graded:
        rows.setdefault(item.rollout.row, []).append(item)
        drawn[item.rollout.row] = 1
    replaced: list[Graded] = []
    when: list[int] = []
    for turn in range(1, rounds):
        wanted = {row: _another(examples_P[row], turn, pool) for row in rows if _equal(rows[row])}
        if not wanted:
            break
        for row in wanted:
            replaced += rows[row]
            when += [drawn[row]] * len(rows[row])
            rows[row], drawn[row] = [], turn + 1
        for item in ask(wanted, turn):
            rows[item.rollout.row].append(item)
    kept = [item for row in rows.values() for item in row]
    metrics = {
        "train/resampled_rows": float(len({item.rollout.row for item in replaced})),
        "train/discarded_tokens": float(sum(len(item.rollout.tokens) for item in replaced)),
    }
    return Resampled(kept, replaced, [*(drawn[g.rollout.row] for g in kept), *when], metrics)


def refuse_single_prompt(examples: Sequence[Example]) -> None:
    """ConfigError where no row could be given another prompt."""
    if len({example.question for example in examples}) < 2:
        raise ConfigError(
            "algorithm.dynamic_sampling replaces a row's prompt by another, and the training set "
            "has only one. Set algorithm.dynamic_sampling=false, or give more examples."
        )


def _equal(group: Sequence[Graded]) -> bool:
    return equal_rewards([item.reward for item in group])


def _another(example: int, turn: int, pool: int) -> int:
    """The turn-th after it, never itself."""
    return (example + 1 + (turn - 1) % (pool - 1)) % pool
