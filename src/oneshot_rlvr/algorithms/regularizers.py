"""Terms beside the policy's: near the reference, random, and values near returns. Pure.

Each is one value per token, differentiable, and a coefficient that may be 0. The entropy term needs
no formula here: the exact entropy of each next-token distribution comes with the log-probabilities.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from oneshot_rlvr.algorithms.batch import LossInputs, Term
from oneshot_rlvr.config import AlgorithmConfig

_LARGEST_LOG_RATIO = 20.0  # exp(20) = 5e8; beyond it float32 gradients are noise

Regularizer = Callable[[LossInputs, AlgorithmConfig], Term | None]


def k1_kl(logprobs_N_T: Tensor, reference_logprobs_N_T: Tensor) -> Tensor:
    """log(policy) - log(reference), in nats: unbiased, of either sign.

    Its gradient is the score, which is 0 on average: of use in the reward, not in the loss.
    """
    return logprobs_N_T - reference_logprobs_N_T


def k2_kl(logprobs_N_T: Tensor, reference_logprobs_N_T: Tensor) -> Tensor:
    """Half the squared log-ratio, in nats: biased, but its gradient on the policy's own samples is
    that of the divergence."""
    return 0.5 * (logprobs_N_T - reference_logprobs_N_T).square()


def k3_kl(logprobs_N_T: Tensor, reference_logprobs_N_T: Tensor) -> Tensor:
    """exp(d) - d - 1 with d = log(reference) - log(policy), in nats: never negative.

    An unbiased estimate of KL(policy || reference) on the policy's own samples (Schulman,
    "Approximating KL divergence", 2020: k3; GRPO, arXiv 2402.03300, equation 4). d is held within
    +-20.
    """
    d_N_T = (reference_logprobs_N_T - logprobs_N_T).clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
    return d_N_T.exp() - d_N_T - 1


KL_ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "k1": k1_kl,
    "k2": k2_kl,
    "k3": k3_kl,
}


def value_loss(
    values_N_T: Tensor, old_values_N_T: Tensor, returns_N_T: Tensor, value_clip: float
) -> Tensor:
    """Half the squared error, or that of the value held within +-value_clip of the old, if larger.

    PPO's value clipping as in OpenAI's baselines; `value_clip` 0 turns it off.
    """
    plain_N_T = (values_N_T - returns_N_T).square()
    if value_clip:
        held_N_T = values_N_T.clamp(old_values_N_T - value_clip, old_values_N_T + value_clip)
        plain_N_T = torch.maximum(plain_N_T, (held_N_T - returns_N_T).square())
    return 0.5 * plain_N_T


def kl(batch: LossInputs, config: AlgorithmConfig) -> Term | None:
    """The divergence from the reference; weighted where `kl_place` is the loss."""
    if batch.reference_logprobs_N_T is None:
        return None
    estimate = KL_ESTIMATORS[config.kl_estimator]
    value_N_T = estimate(batch.logprobs_N_T, batch.reference_logprobs_N_T)
    return Term("kl", value_N_T, config.kl_coefficient if config.kl_place == "loss" else 0.0)


def entropy(batch: LossInputs, config: AlgorithmConfig) -> Term:
    """A bonus: a positive coefficient keeps the policy random."""
    return Term("entropy_nats", batch.entropy_N_T, -config.entropy_coefficient)


def value(batch: LossInputs, config: AlgorithmConfig) -> Term | None:
    """What the critic learns."""
    if batch.values_N_T is None or batch.old_values_N_T is None or batch.returns_N_T is None:
        return None
    loss_N_T = value_loss(
        batch.values_N_T, batch.old_values_N_T, batch.returns_N_T, config.value_clip
    )
    return Term("value_loss", loss_N_T, config.value_coefficient)
