"""Which tokens the policy term learns from: by covariance, or by entropy. Pure.

Entropy falls where likely tokens have large advantages: its change is minus the covariance of
log-probability and advantage. Cui et al. 2025, "The entropy mechanism of reinforcement learning for
reasoning language models", arXiv 2505.22617, section 4, bounds the few tokens that make it. With

    c_t = (log p_t - mean log p) (A_t - mean A)           means over all tokens of the update

    Clip-Cov   of the tokens with low < c < high, max(1, floor(share N)) at random keep no gradient
    KL-Cov     the max(1, floor(share N)) tokens with the largest c pay beta |log p - log p_old|,
               and nothing is clipped

verl's losses `clip_cov` and `kl_cov`, which are the authors' code, are the same (they take the
means over a micro-batch). The paper's penalty is a KL divergence from the old policy;
|log p - log p_old| is how that code, and this, estimates it.

Wang et al. 2025, "Beyond the 80/20 rule", arXiv 2506.01939, section 5: the policy term keeps the
tokens whose entropy reaches the (1 - share) quantile of the update's, divided by all tokens still.
TRL's `top_entropy_quantile` is the same.

Not here: the losses themselves (`objectives.py`), the pass that measures (`train/survey.py`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def covariances(logprobs_N_T: Tensor, advantages_N_T: Tensor, mask_N_T: Tensor) -> Tensor:
    """Each token's share in the covariance of log-probability and advantage (N, T), float64; 0 on
    padding."""
    logprobs_N_T, advantages_N_T = logprobs_N_T.detach().double(), advantages_N_T.double()
    count = mask_N_T.sum().clamp(min=1)

    def centred(values_N_T: Tensor) -> Tensor:
        return (values_N_T - (values_N_T * mask_N_T).sum() / count) * mask_N_T

    return centred(logprobs_N_T) * centred(advantages_N_T)


def clip_cov(
    covariances_N_T: Tensor,
    mask_N_T: Tensor,
    clipped_N_T: Tensor,
    draws_N_T: Tensor,
    share: float,
    low: float,
    high: float,
) -> Tensor:
    """Which tokens (N, T, bool) keep no gradient: of those between the bounds that clipping has not
    stopped already, the ones with the smallest `draws_N_T` (uniform random numbers)."""
    candidates_N_T = (covariances_N_T > low) & (covariances_N_T < high) & mask_N_T & ~clipped_N_T
    return _least(torch.where(candidates_N_T, draws_N_T, torch.inf), candidates_N_T,
                  _at_least_one(share, mask_N_T))  # fmt: skip


def kl_cov(covariances_N_T: Tensor, mask_N_T: Tensor, share: float) -> Tensor:
    """Which tokens (N, T, bool) pay for leaving the old policy: those that covary most."""
    return _least(torch.where(mask_N_T, -covariances_N_T, torch.inf), mask_N_T,
                  _at_least_one(share, mask_N_T))  # fmt: skip


def most_uncertain(entropy_N_T: Tensor, mask_N_T: Tensor, share: float) -> Tensor:
    """Which tokens (N, T, bool) have an entropy in the top `share` of the update's.

    The quantile is interpolated between tokens; all that reach it are kept, ties too.
    """
    if not mask_N_T.any():
        return mask_N_T
    # numpy's: torch.quantile refuses more than 2^24 numbers, which long answers exceed.
    inside_M = entropy_N_T[mask_N_T].detach().double().cpu().numpy()
    return (entropy_N_T.double() >= float(np.quantile(inside_M, 1 - share))) & mask_N_T


def _at_least_one(share: float, mask_N_T: Tensor) -> int:
    return max(1, int(share * int(mask_N_T.sum())))


def _least(values_N_T: Tensor, candidates_N_T: Tensor, count: int) -> Tensor:
    """Where the `count` smallest values stand, at most all candidates; the first of equal ones."""
    order = values_N_T.flatten().argsort(stable=True)[: min(count, int(candidates_N_T.sum()))]
    chosen = torch.zeros(values_N_T.numel(), dtype=torch.bool, device=values_N_T.device)
    chosen[order] = True
    return chosen.view_as(candidates_N_T)
