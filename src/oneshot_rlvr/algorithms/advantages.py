"""From rewards to advantages: how much better a rollout did than it was to be expected.

Pure tensor functions, no gradient. Not here: how an advantage enters the loss (`objectives.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from oneshot_rlvr.estimators import EQUAL_REWARDS_WITHIN

_WHITEN_EPSILON = 1e-8  # added to a variance; that of verl's and TRL's PPO


def group_normalized(rewards_P_G: Tensor, epsilon: float, floor: float = 0.0) -> Tensor:
    """(r - group mean) / (max(group std, floor) + epsilon), (P, G); the std is the unbiased one.

    GRPO (Shao et al. 2024, arXiv 2402.03300, section 4.1.2) with the std and epsilon = 1e-6 of the
    1-shot RLVR code. A group of equal rewards gets exactly 0, whatever rounding does to its mean.
    With a floor, rewards that hardly differ (a length penalty, say) are not blown up to size 1.
    """
    scale_P_1 = rewards_P_G.std(1, keepdim=True).clamp(min=floor) + epsilon
    return group_centred(rewards_P_G) / scale_P_1


def group_centred(rewards_P_G: Tensor) -> Tensor:
    """r - group mean, (P, G); equal rewards give exactly 0.

    Dr. GRPO (Liu et al. 2025, arXiv 2503.20783, section 3.2): the std would favour questions that
    are nearly always or nearly never answered.
    """
    centred_P_G = rewards_P_G - rewards_P_G.mean(1, keepdim=True)
    return centred_P_G.masked_fill(zero_variance(rewards_P_G)[:, None], 0.0)


def leave_one_out(rewards_P_G: Tensor) -> Tensor:
    """r - mean of the group's other rewards, (P, G); equal rewards give exactly 0.

    RLOO (Kool et al. 2019; Ahmadian et al. 2024, arXiv 2402.14740, equation 8).
    """
    G = rewards_P_G.shape[1]
    return group_centred(rewards_P_G) * (G / (G - 1))


def batch_centred(rewards_P_G: Tensor) -> Tensor:
    """r - mean over all rollouts of the step, (P, G); equal rewards give exactly 0.

    REINFORCE with a baseline (Williams 1992); serves rows of one rollout too.
    """
    return group_centred(rewards_P_G.reshape(1, -1)).view_as(rewards_P_G)


def weighed_by_sign(advantages: Tensor, positive: float, negative: float) -> Tensor:
    """Advantages above 0 times `positive`, those below times `negative`; any shape.

    Zhu et al. 2025, "The surprising effectiveness of negative reinforcement", arXiv 2506.01347,
    section 5: the objective is split into reinforcing what was right and punishing what was wrong,
    lambda PSR + NSR. Their Weighted-REINFORCE is positive = 0.1, their NSR positive = 0.
    """
    return torch.where(advantages > 0, positive * advantages, negative * advantages)


def zero_variance(rewards_P_G: Tensor) -> Tensor:
    """Which groups (P, bool) have equal rewards, hence nothing to compare.

    Equal up to `EQUAL_REWARDS_WITHIN`: scores that are sums and shares differ by rounding, which a
    division by the group's std would make into a signal.
    """
    return rewards_P_G.amax(1) - rewards_P_G.amin(1) <= EQUAL_REWARDS_WITHIN


def rewards_to_go(rewards_N_T: Tensor, mask_N_T: Tensor, gamma: float) -> Tensor:
    """Discounted sum of each token's and all later rewards, (N, T), 0 on padding."""
    zeros_N_T = torch.zeros_like(rewards_N_T)
    return gae(rewards_N_T, zeros_N_T, mask_N_T, gamma, 1.0)


def gae(
    rewards_N_T: Tensor, values_N_T: Tensor, mask_N_T: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Generalised advantage estimates, (N, T), 0 on padding.

    A_t = d_t + gamma * lambda * A_{t+1} with d_t = r_t + gamma * V_{t+1} - V_t, and V = A = 0 after
    the last token (Schulman et al. 2016, arXiv 1506.02438, equation 16). Padding is on the right.
    """
    inside_N_T = mask_N_T.to(rewards_N_T.dtype)
    rewards_N_T, values_N_T = rewards_N_T * inside_N_T, values_N_T * inside_N_T
    later_N = torch.zeros_like(rewards_N_T[:, 0])
    next_value_N = later_N
    advantages_N_T = torch.empty_like(rewards_N_T)
    for t in range(rewards_N_T.shape[1] - 1, -1, -1):
        error_N = rewards_N_T[:, t] + gamma * next_value_N - values_N_T[:, t]
        later_N = error_N + gamma * gae_lambda * later_N
        next_value_N = values_N_T[:, t]
        advantages_N_T[:, t] = later_N
    return advantages_N_T


def whitened(values_N_T: Tensor, mask_N_T: Tensor) -> Tensor:
    """(x - mean) / std over all generated tokens (unbiased), (N, T), 0 on padding.

    Equal values give exactly 0.
    """
    values_M = values_N_T[mask_N_T]
    if not len(values_M) or bool(values_M.amax() == values_M.amin()):
        return torch.zeros_like(values_N_T)
    scale = torch.rsqrt(values_M.var() + _WHITEN_EPSILON)
    return (values_N_T - values_M.mean()) * scale * mask_N_T


def explained_variance(values_N_T: Tensor, returns_N_T: Tensor, mask_N_T: Tensor) -> float:
    """1 - var(returns - values) / var(returns) over the tokens; nan where returns do not vary.

    1: the critic knows the returns; 0: no better than their mean.
    """
    returns_M = returns_N_T[mask_N_T]
    errors_M = returns_M - values_N_T[mask_N_T]
    spread = returns_M.var().item() if len(returns_M) > 1 else 0.0
    return 1 - errors_M.var().item() / spread if spread > 0 else math.nan
