"""Rewards: verdicts under a deadline, and the arms that make rewards of them.

`Scorer` grades batches: cheap answers in this process, the rest in worker processes that are
killed at the deadline. `ARMS` names what a verdict is worth. Source: arXiv 2504.20571, section 2
(outcome) and table 5 (format, wrong label); arXiv 2506.10947 (random).
Not here: how an answer is read (`verifiers/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneshot_rlvr.registry import Registry

if TYPE_CHECKING:
    from oneshot_rlvr.rewards.scorer import Scorer

ARMS = Registry(
    "reward arm",
    {
        "outcome": "oneshot_rlvr.rewards.arms:OUTCOME",
        "score": "oneshot_rlvr.rewards.arms:SCORE",
        "format_only": "oneshot_rlvr.rewards.arms:FORMAT_ONLY",
        "random": "oneshot_rlvr.rewards.arms:RANDOM",
        "wrong_label": "oneshot_rlvr.rewards.arms:WRONG_LABEL",
        "majority": "oneshot_rlvr.rewards.arms:MAJORITY",
        "self_certainty": "oneshot_rlvr.rewards.arms:SELF_CERTAINTY",
    },
)


def __getattr__(name: str) -> Any:
    # The registry stays importable without numpy.
    if name == "Scorer":
        from oneshot_rlvr.rewards.scorer import Scorer

        return Scorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["ARMS", "Scorer"]
