"""REINFORCE++: rewards to go, normalised over the step, with PPO's clipping (Hu, arXiv 2501.03262).

The KL penalty is deducted token by token, so tokens of one answer differ. Rows of one rollout work.
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.advantages import rewards_to_go, whitened
from oneshot_rlvr.algorithms.algorithm import Algorithm
from oneshot_rlvr.algorithms.batch import AdvantageInputs, Advantages
from oneshot_rlvr.algorithms.grpo import clipped
from oneshot_rlvr.config import AlgorithmConfig


def globally_normalized(step: AdvantageInputs, config: AlgorithmConfig) -> Advantages:
    """Rewards to go, to mean 0 and std 1 over all tokens of the step."""
    returns_N_T = rewards_to_go(step.rewards_N_T, step.mask_N_T, config.gamma)
    return Advantages(whitened(returns_N_T, step.mask_N_T))


REINFORCE_PLUS_PLUS = Algorithm(
    name="reinforce_plus_plus", advantage=globally_normalized, objective=clipped
)
