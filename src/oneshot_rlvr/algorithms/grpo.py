"""GRPO as the 1-shot RLVR paper runs it: clipped ratios, KL and entropy terms (arXiv 2504.20571).

Shao et al. 2024, arXiv 2402.03300. Group-normalised outcome rewards, clipped surrogate, k3 KL in
the loss, entropy bonus, token-mean. Departs from the GRPO paper in the token-mean (its own is
`averaging = "sequence"`).
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.advantages import group_normalized
from oneshot_rlvr.algorithms.algorithm import Algorithm, per_rollout
from oneshot_rlvr.algorithms.batch import LossInputs, Surrogate
from oneshot_rlvr.algorithms.objectives import clipped_surrogate, unclipped_surrogate
from oneshot_rlvr.config import AlgorithmConfig

normalized = per_rollout(
    lambda rewards_P_G, config: group_normalized(
        rewards_P_G, config.advantage_epsilon, config.std_floor or 0.0
    )
)


def clipped(batch: LossInputs, config: AlgorithmConfig) -> Surrogate:
    """PPO's surrogate with the recipe's clip widths; none with KL-Cov, which takes their place."""
    given = batch.logprobs_N_T, batch.old_logprobs_N_T, batch.advantages_N_T
    if config.covariance == "kl":
        return unclipped_surrogate(*given)
    return clipped_surrogate(*given, config.clip_low, config.clip_high, config.dual_clip)


GRPO = Algorithm(name="grpo", advantage=normalized, objective=clipped)
