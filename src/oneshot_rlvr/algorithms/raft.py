"""RAFT: maximum likelihood on the model's own right rollouts, step by step.

The loss is the mean of -log p over the tokens of rewarded rollouts alone (reward-ranked
fine-tuning, Dong et al. 2023, arXiv 2304.06767, section 3; rejection sampling fine-tuning of Yuan
et al. 2023, arXiv 2308.01825). No baseline, no clipping, and wrong rollouts push nothing away: what
a study compares 1-shot RLVR with as "supervised fine-tuning on its own answers". A reward between 0
and 1 weighs its rollout; a step without a reward moves nothing.
"""

from __future__ import annotations

import torch

from oneshot_rlvr.algorithms.algorithm import Algorithm
from oneshot_rlvr.algorithms.averaging import AVERAGING
from oneshot_rlvr.algorithms.batch import AdvantageInputs, Advantages
from oneshot_rlvr.algorithms.reinforce import unclipped
from oneshot_rlvr.config import AlgorithmConfig


def rewarded_mean(step: AdvantageInputs, config: AlgorithmConfig) -> Advantages:
    """max(r, 0) times all tokens' weight over that of the rewarded ones, (N, T).

    Weighted with every token's share of the step, this makes the mean over all tokens one over the
    rewarded tokens: sum r_i w_i,t (-log p_i,t) / sum r_i w_i,t. All 0 where nothing was rewarded.
    """
    rewards_N_1 = step.rewards_P_G.reshape(-1, 1).clamp(min=0)
    mask_N_T = step.mask_N_T.to(rewards_N_1)
    weights_N_T = AVERAGING[config.averaging](mask_N_T, mask_N_T.shape[1])
    rewarded = (rewards_N_1 * weights_N_T).sum()
    if rewarded <= 0:
        return Advantages(torch.zeros_like(weights_N_T))
    return Advantages(rewards_N_1 * step.mask_N_T * (weights_N_T.sum() / rewarded))


RAFT = Algorithm(name="raft", advantage=rewarded_mean, objective=unclipped)
