"""From log-probabilities and advantages to a policy loss per token. Pure and differentiable.

Not here: averaging over tokens (`averaging.py`) and other terms (`regularizers.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from oneshot_rlvr.algorithms.batch import Surrogate

# exp(20) = 5e8: beyond it a ratio says only "far off", and float32 products begin to overflow.
_LARGEST_LOG_RATIO = 20.0


def clipped_surrogate(
    logprobs_N_T: Tensor,
    old_logprobs_N_T: Tensor,
    advantages_N_T: Tensor,
    clip_low: float,
    clip_high: float,
    dual_clip: float = 0.0,
) -> Surrogate:
    """-min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A), to be minimised.

    PPO (Schulman et al. 2017, arXiv 1707.06347, equation 7); two clip widths as in DAPO (Yu et al.
    2025, arXiv 2503.14476). The log-ratio is held within +-20. With one update per rollout the
    ratio is 1 and the gradient is that of -A log p.

    `dual_clip` c > 1 bounds the loss of a bad token by -c A, where one that has become likely would
    else weigh without limit: for A < 0, min(the above, -c A). Ye et al. 2020, "Mastering complex
    control in MOBA games", arXiv 1912.09729 (dual-clip PPO). 0: off.
    """
    ratio_N_T = _ratio(logprobs_N_T - old_logprobs_N_T)
    plain = _clipped(ratio_N_T, advantages_N_T, clip_low, clip_high)
    if not dual_clip:
        return plain
    bound_N_T = -dual_clip * advantages_N_T
    beyond_N_T = (advantages_N_T < 0) & (plain.loss_N_T > bound_N_T)
    return plain._replace(
        loss_N_T=torch.where(beyond_N_T, bound_N_T, plain.loss_N_T), bounded_N_T=beyond_N_T
    )


def unclipped_surrogate(
    logprobs_N_T: Tensor, old_logprobs_N_T: Tensor, advantages_N_T: Tensor
) -> Surrogate:
    """-ratio A (PPO's equation 6, conservative policy iteration): what KL-Cov's penalty goes to."""
    ratio_N_T = _ratio(logprobs_N_T - old_logprobs_N_T)
    nowhere_N_T = torch.zeros_like(ratio_N_T, dtype=torch.bool)
    return Surrogate(-ratio_N_T * advantages_N_T, ratio_N_T, nowhere_N_T)


def clipped_sequence_surrogate(
    logprobs_N_T: Tensor,
    old_logprobs_N_T: Tensor,
    advantages_N_T: Tensor,
    mask_N_T: Tensor,
    clip_low: float,
    clip_high: float,
) -> Surrogate:
    """`clipped_surrogate` with one ratio for a whole rollout: the geometric mean of its tokens'.

    GSPO in its token form (Zheng et al. 2025, arXiv 2507.18071, equations 7 and 13): the value is
    the rollout's, the gradient each token's own.
    """
    logs_N_T = (logprobs_N_T - old_logprobs_N_T) * mask_N_T
    mean_N_1 = logs_N_T.sum(1, keepdim=True) / mask_N_T.sum(1, keepdim=True).clamp(min=1)
    own_N_T = logprobs_N_T - logprobs_N_T.detach()
    ratio_N_T = _ratio(mean_N_1.detach() + own_N_T)
    return _clipped(ratio_N_T, advantages_N_T, clip_low, clip_high)


def clipped_weights(
    logprobs_N_T: Tensor,
    old_logprobs_N_T: Tensor,
    advantages_N_T: Tensor,
    clip_low: float,
    clip_high: float,
) -> Surrogate:
    """-w A log p with w the clipped ratio, without gradient: every token keeps one.

    CISPO (MiniMax 2025, arXiv 2506.13585, equations 4 and 5).
    """
    ratio_N_T = _ratio(logprobs_N_T - old_logprobs_N_T).detach()
    held_N_T = ratio_N_T.clamp(1 - clip_low, 1 + clip_high)
    return Surrogate(-held_N_T * advantages_N_T * logprobs_N_T, ratio_N_T, held_N_T != ratio_N_T)


def score_function(
    logprobs_N_T: Tensor, old_logprobs_N_T: Tensor, advantages_N_T: Tensor
) -> Surrogate:
    """-A log p (Williams 1992), whatever the ratio: unbiased only for a step's first update."""
    ratio_N_T = _ratio(logprobs_N_T.detach() - old_logprobs_N_T)
    nowhere_N_T = torch.zeros_like(ratio_N_T, dtype=torch.bool)
    return Surrogate(-advantages_N_T * logprobs_N_T, ratio_N_T, nowhere_N_T)


def _ratio(log_ratio_N_T: Tensor) -> Tensor:
    return log_ratio_N_T.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO).exp()


def _clipped(
    ratio_N_T: Tensor, advantages_N_T: Tensor, clip_low: float, clip_high: float
) -> Surrogate:
    plain_N_T = -ratio_N_T * advantages_N_T
    held_N_T = -ratio_N_T.clamp(1 - clip_low, 1 + clip_high) * advantages_N_T
    return Surrogate(torch.maximum(plain_N_T, held_N_T), ratio_N_T, held_N_T > plain_N_T)
