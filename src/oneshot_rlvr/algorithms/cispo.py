"""CISPO: clips the weight of a token, never its gradient (MiniMax 2025, arXiv 2506.13585).

Group-normalised advantages, -w A log p with w the clipped ratio; no KL; token-mean.
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.algorithm import Algorithm
from oneshot_rlvr.algorithms.batch import LossInputs, Surrogate
from oneshot_rlvr.algorithms.grpo import normalized
from oneshot_rlvr.algorithms.objectives import clipped_weights
from oneshot_rlvr.config import AlgorithmConfig


def weighted(batch: LossInputs, config: AlgorithmConfig) -> Surrogate:
    """-w A log p with the recipe's bounds of w."""
    return clipped_weights(
        batch.logprobs_N_T,
        batch.old_logprobs_N_T,
        batch.advantages_N_T,
        config.clip_low,
        config.clip_high,
    )


CISPO = Algorithm(name="cispo", advantage=normalized, objective=weighted)
