"""GRPO with one probability ratio per answer (arXiv 2507.18071).

Zheng et al. 2025. Its clip widths are those of a mean over tokens, hence a thousandth of GRPO's;
sequence-mean.
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.algorithm import Algorithm
from oneshot_rlvr.algorithms.batch import LossInputs, Surrogate
from oneshot_rlvr.algorithms.grpo import normalized
from oneshot_rlvr.algorithms.objectives import clipped_sequence_surrogate
from oneshot_rlvr.config import AlgorithmConfig


def clipped_by_rollout(batch: LossInputs, config: AlgorithmConfig) -> Surrogate:
    """One ratio for all tokens of a rollout."""
    return clipped_sequence_surrogate(
        batch.logprobs_N_T,
        batch.old_logprobs_N_T,
        batch.advantages_N_T,
        batch.weights_N_T > 0,
        config.clip_low,
        config.clip_high,
    )


GSPO = Algorithm(name="gspo", advantage=normalized, objective=clipped_by_rollout)
