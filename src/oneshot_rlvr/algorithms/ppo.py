"""PPO with a critic: generalised advantages and value clipping (arXiv 1707.06347).

Schulman et al. 2017. Advantages are normalised over the step, as in verl and TRL. Not here: the
critic (`policy/critic.py`).
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.advantages import gae, whitened
from oneshot_rlvr.algorithms.algorithm import Algorithm
from oneshot_rlvr.algorithms.batch import AdvantageInputs, Advantages
from oneshot_rlvr.algorithms.grpo import clipped
from oneshot_rlvr.algorithms.regularizers import entropy, kl, value
from oneshot_rlvr.config import AlgorithmConfig


def estimated(step: AdvantageInputs, config: AlgorithmConfig) -> Advantages:
    """GAE, to mean 0 and std 1 over all tokens of the step; returns are GAE plus values."""
    if step.values_N_T is None:
        raise ValueError("ppo needs a critic's values")
    raw_N_T = gae(step.rewards_N_T, step.values_N_T, step.mask_N_T, config.gamma, config.gae_lambda)
    returns_N_T = (raw_N_T + step.values_N_T) * step.mask_N_T
    return Advantages(whitened(raw_N_T, step.mask_N_T), returns_N_T)


PPO = Algorithm(
    name="ppo", advantage=estimated, objective=clipped, regularizers=(kl, entropy, value)
)
