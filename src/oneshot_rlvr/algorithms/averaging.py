"""From values per token to one number: an average, told as weights.

Weights are made once for a whole update. A part of the batch then contributes the weighted sum of
its own tokens, so the loss does not depend on how the batch was split.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Averaging = Callable[[Tensor, int], Tensor]
"""Of the mask (N, T) and the most tokens that a rollout may have."""


def token_mean(generated_mask_N_T: Tensor, max_tokens: int) -> Tensor:
    """Weights (N, T): every generated token counts the same (DAPO, arXiv 2503.14476, 3.3)."""
    return generated_mask_N_T / generated_mask_N_T.sum().clamp(min=1)


def sequence_mean(generated_mask_N_T: Tensor, max_tokens: int) -> Tensor:
    """Weights (N, T): every rollout counts the same, its tokens share (GRPO, arXiv 2402.03300)."""
    lengths_N_1 = generated_mask_N_T.sum(1, keepdim=True)
    rollouts = (lengths_N_1 > 0).sum().clamp(min=1)
    return generated_mask_N_T / (lengths_N_1.clamp(min=1) * rollouts)


def fixed_length(generated_mask_N_T: Tensor, max_tokens: int) -> Tensor:
    """Weights (N, T): every token 1 / (rollouts * max_tokens), whatever the lengths are.

    A sum over each rollout, so that length itself is neither rewarded nor punished (Dr. GRPO, Liu
    et al. 2025, arXiv 2503.20783, section 3.2). The weights add up to less than 1.
    """
    rollouts = (generated_mask_N_T.sum(1) > 0).sum().clamp(min=1)
    return generated_mask_N_T / (rollouts * max_tokens)


AVERAGING: dict[str, Averaging] = {
    "token": token_mean,
    "sequence": sequence_mean,
    "fixed_length": fixed_length,
}
