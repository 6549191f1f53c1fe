"""Dynamic sampling: rows whose rewards are all equal are asked again, with another prompt.

Such rows teach nothing, and their share of a step grows as the policy learns (DAPO, Yu et al. 2025,
arXiv 2503.14476, section 3.2). DAPO draws whole batches until one is full; here every empty row is
replaced by itself. Not here: how a prompt is sampled and graded (the loop says that).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.estimators import equal_rewards
from oneshot_rlvr.types import Example, Graded

Ask = Callable[[Mapping[int, int], int], list[Graded]]
"""Asks rows' examples, `{row: example's number}`, in a round of its own (from 1)."""


def replace_equal_rows(
    graded: Sequence[Graded], examples_P: Sequence[int], pool: int, rounds: int, ask: Ask
) -> tuple[list[Graded], dict[str, float]]:
    """The step's rollouts with equal rows replaced, row after row, and what to log of it.

    `examples_P` are the numbers of the rows' examples in a pool of so many. In round k a row that
    is still without variance asks the k-th example after its own; after `rounds` samplings, the
    first one counted, it stays as it is.
    """
    rows: dict[int, list[Graded]] = {}
    for item in graded:
        rows.setdefault(item.rollout.row, []).append(item)
    replaced: set[int] = set()
    discarded = 0
    for turn in range(1, rounds):
        wanted = {row: _another(examples_P[row], turn, pool) for row in rows if _equal(rows[row])}
        if not wanted:
            break
        replaced |= wanted.keys()
        discarded += sum(len(item.rollout.tokens) for row in wanted for item in rows[row])
        for row in wanted:
            rows[row] = []
        for item in ask(wanted, turn):
            rows[item.rollout.row].append(item)
    metrics = {
        "train/resampled_rows": float(len(replaced)),
        "train/discarded_tokens": float(discarded),
    }
    return [item for row in rows.values() for item in row], metrics


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
