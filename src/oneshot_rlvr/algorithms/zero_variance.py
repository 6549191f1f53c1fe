"""RL-ZVP: advantages for groups of equal rewards, of which a comparison says nothing. Pure.

After saturation nearly every group is all right, and GRPO learns nothing from it. Le et al. 2025,
"No Prompt Left Behind", arXiv 2509.21880, equation 5: such a group gets a direction by its reward,
and each of its tokens a size by its entropy H, without gradient,

    all right    A_t =  alpha H_t                  uncertain tokens of what worked are reinforced
    all wrong    A_t = -alpha (max_k H_k - H_t)    certain tokens of what failed are punished

with the maximum over the rollout's own tokens. Other groups keep their advantages. Known are the
abstract and others' implementations of equation 5, which agree on it; which groups are right or
wrong where rewards are not 0 and 1 is this package's own.
Not here: comparing rollouts (`advantages.py`), where entropies come from (`train/forward.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from oneshot_rlvr.algorithms.advantages import zero_variance

MIDDLE = 0.5
"""Between the rewards of a wrong and a right answer: a group above is right, below it wrong."""


def directions(rewards_P_G: Tensor) -> Tensor:
    """1 for a group that is all right, -1 for one all wrong, 0 for every other (P).

    Rewards that are equal and lie in the middle between right and wrong say nothing either.
    """
    told_P = (rewards_P_G.mean(1) - MIDDLE).sign()
    return told_P.masked_fill(~zero_variance(rewards_P_G), 0.0)


def entropy_guided(
    rewards_P_G: Tensor, entropy_N_T: Tensor, mask_N_T: Tensor, alpha: float
) -> Tensor:
    """What rollouts of groups with a direction get as advantages (N, T), 0 elsewhere.

    `entropy_N_T` in nats, of the policy that sampled.
    """
    G = rewards_P_G.shape[1]
    direction_N_1 = directions(rewards_P_G).repeat_interleave(G)[:, None]
    inside_N_T = entropy_N_T.to(rewards_P_G).detach() * mask_N_T
    lacking_N_T = inside_N_T.amax(1, keepdim=True) - inside_N_T
    size_N_T = torch.where(direction_N_1 > 0, inside_N_T, lacking_N_T)
    return alpha * direction_N_1 * size_N_T * mask_N_T
