"""From rewards to a loss: pure tensor functions, and algorithms as named choices of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneshot_rlvr.registry import Registry

if TYPE_CHECKING:
    from oneshot_rlvr.algorithms.algorithm import Algorithm

ALGORITHMS = Registry(
    "algorithm",
    {
        name: f"oneshot_rlvr.algorithms.{name}:{name.upper()}"
        for name in (
            "grpo",
            "dr_grpo",
            "dapo",
            "reinforce",
            "rloo",
            "reinforce_plus_plus",
            "ppo",
            "gspo",
            "cispo",
            "raft",
        )
    },
)


def get_algorithm(name: str) -> Algorithm:
    """The algorithm of that name; UnknownNameError lists the names there are."""
    algorithm: Algorithm = ALGORITHMS.load(name)
    return algorithm


__all__ = ["ALGORITHMS", "get_algorithm"]
