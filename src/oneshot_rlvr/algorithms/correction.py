"""When the sampler is not quite the trainer: importance weights for the difference. Pure.

An engine that rounds otherwise, or in another type, samples from q where the trainer computes p, so
that the mean of A d log p over its samples is not the policy gradient. With r = p / q of what was
sampled, p being the trainer's before the step's updates, the policy loss of a token is multiplied
by a weight without gradient:

    token_truncate   w_t = min(r_t, C)                        (truncated importance sampling: Yao
                     et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
                     training", fengyao.notion.site; Ionides 2008)
    token_mask       w_t = r_t where c <= r_t <= C, else 0    (IcePop: Ling team 2025, arXiv
                     2510.18855, section 4.2)
    sequence_mask    R = product of a rollout's r_t; every token has w = R where c <= R <= C, else 0
                     (Liu, Li et al. 2025, "When speed kills stability",
                     richardli.xyz/rl-collapse; TRL's default, with C = 3)

C is `algorithm.sampler_cap`, c `algorithm.sampler_floor`. verl's `rollout_correction` and TRL's
`vllm_importance_sampling_mode` compute the same.
Not here: ratios of a policy that has moved since (`objectives.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LARGEST_LOG_RATIO = 20.0  # exp(20) = 5e8; as verl bounds it


class Correction(NamedTuple):
    """Weights of the policy loss (N, T), and the ratios of tokens (N, T), both without gradient."""

    weights_N_T: Tensor
    ratios_N_T: Tensor


def corrected(
    trainer_logprobs_N_T: Tensor,
    sampler_logprobs_N_T: Tensor,
    mask_N_T: Tensor,
    mode: str,
    cap: float,
    floor: float,
) -> Correction:
    """The weights of a mode; "none" weighs every token 1. Padding has weight 0 and ratio 1."""
    logs_N_T = (trainer_logprobs_N_T - sampler_logprobs_N_T).detach() * mask_N_T
    ratios_N_T = _ratio(logs_N_T)
    if mode == "none":
        weights_N_T = torch.ones_like(ratios_N_T)
    elif mode == "token_truncate":
        weights_N_T = ratios_N_T.clamp(max=cap)
    elif mode == "token_mask":
        weights_N_T = _within(ratios_N_T, cap, floor)
    else:
        whole_N_1 = _ratio(logs_N_T.sum(1, keepdim=True))
        weights_N_T = _within(whole_N_1, cap, floor).expand_as(ratios_N_T)
    return Correction(weights_N_T * mask_N_T, ratios_N_T)


def gap_terms(correction: Correction, told_weights_N_T: Tensor) -> dict[str, Tensor]:
    """What is logged of sampler and trainer, as means over tokens that add up over parts.

    `sampler_gap` nats, mean |log r|; `sampler_kl` nats, KL(sampler || trainer) by r - 1 - log r on
    the sampler's own draws (k3, never negative); `sampler_ratio` and `sampler_ratio_square`, from
    which the effective sample size follows; `sampler_masked_share`, of tokens with weight 0.
    """
    ratios_N_T = correction.ratios_N_T
    logs_N_T = ratios_N_T.log()

    def mean(values_N_T: Tensor) -> Tensor:
        return (told_weights_N_T * values_N_T).sum()

    return {
        "sampler_gap": mean(logs_N_T.abs()),
        "sampler_kl": mean(ratios_N_T - 1 - logs_N_T),
        "sampler_ratio": mean(ratios_N_T),
        "sampler_ratio_square": mean(ratios_N_T.square()),
        "sampler_masked_share": mean((correction.weights_N_T == 0).to(ratios_N_T)),
    }


def effective_share(ratio: float, ratio_square: float) -> float:
    """The effective sample size as a share of the tokens: (mean r)^2 / mean r^2 (Kish 1965)."""
    return ratio**2 / ratio_square if ratio_square > 0 else 0.0


def _ratio(logs: Tensor) -> Tensor:
    return logs.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO).exp()


def _within(ratios: Tensor, cap: float, floor: float) -> Tensor:
    return torch.where((ratios >= floor) & (ratios <= cap), ratios, torch.zeros_like(ratios))
