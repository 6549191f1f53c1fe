"""What an algorithm is: a named choice of advantage, objective and regularisers, and their sum.

The loss is  policy_coefficient * policy + kl_coefficient * KL - entropy_coefficient * entropy
(+ value_coefficient * value),  each term averaged with the same weights. The averaging is the
recipe's, whose default is the algorithm's own (`config/presets.py`). A coefficient of 0 leaves its
term out of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from oneshot_rlvr.algorithms.advantages import weighed_by_sign
from oneshot_rlvr.algorithms.averaging import AVERAGING, token_mean
from oneshot_rlvr.algorithms.batch import (
    AdvantageInputs,
    Advantages,
    LossInputs,
    LossOutputs,
    Surrogate,
    Term,
)
from oneshot_rlvr.algorithms.correction import corrected, gap_terms
from oneshot_rlvr.algorithms.regularizers import Regularizer, entropy, kl
from oneshot_rlvr.algorithms.zero_variance import entropy_guided
from oneshot_rlvr.config import AlgorithmConfig

PER_TOKEN = ("kl", "entropy_nats")
"""Terms that are told in nats a token; the others are told as parts of the loss."""

Advantage = Callable[[AdvantageInputs, AlgorithmConfig], Advantages]
Objective = Callable[[LossInputs, AlgorithmConfig], Surrogate]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """The pieces of a policy-gradient algorithm."""

    name: str
    advantage: Advantage
    objective: Objective
    regularizers: tuple[Regularizer, ...] = (kl, entropy)

    def advantages(self, step: AdvantageInputs, config: AlgorithmConfig) -> Advantages:
        """Advantages of a whole step, without gradient: the algorithm's, and what the recipe adds
        for groups of equal rewards and weighs by sign.

        ValueError where it asks for entropies and there are none.
        """
        found = self.advantage(step, config)
        advantages_N_T = found.advantages_N_T
        if config.zero_variance_coefficient:
            if step.entropy_N_T is None:
                raise ValueError("algorithm.zero_variance_coefficient needs entropies")
            advantages_N_T = advantages_N_T + entropy_guided(
                step.rewards_P_G, step.entropy_N_T, step.mask_N_T, config.zero_variance_coefficient
            )
        if (config.positive_weight, config.negative_weight) != (1.0, 1.0):
            advantages_N_T = weighed_by_sign(
                advantages_N_T, config.positive_weight, config.negative_weight
            )
        return found._replace(advantages_N_T=advantages_N_T)

    def weights(
        self, generated_mask_N_T: Tensor, config: AlgorithmConfig, max_tokens: int
    ) -> Tensor:
        """The weight (N, T) of every token of an update in every average."""
        return AVERAGING[config.averaging](generated_mask_N_T, max_tokens)

    def told_weights(self, generated_mask_N_T: Tensor) -> Tensor:
        """The weight (N, T) of every token in what is logged: a mean over tokens, whatever the
        loss averages, so that nats are nats and a share is a share."""
        return token_mean(generated_mask_N_T, 0)

    def loss(self, batch: LossInputs, config: AlgorithmConfig) -> LossOutputs:
        """The loss of a batch, or the share of it that a part of the batch contributes."""
        weights_N_T = batch.weights_N_T
        told_N_T = weights_N_T if batch.told_weights_N_T is None else batch.told_weights_N_T
        surrogate = self.objective(batch, config)
        policy_N_T, gaps = _of_chosen_tokens(surrogate.loss_N_T, batch, config), {}
        if surrogate.bounded_N_T is not None:
            gaps["dual_clip_share"] = (told_N_T * surrogate.bounded_N_T).sum().detach()
        if batch.sampler_logprobs_N_T is not None:
            correction = corrected(
                batch.old_logprobs_N_T,
                batch.sampler_logprobs_N_T,
                weights_N_T > 0,
                config.sampler_correction or "none",
                config.sampler_cap,
                config.sampler_floor,
            )
            gaps |= gap_terms(correction, told_N_T)
            if config.sampler_correction not in (None, "none"):
                policy_N_T = correction.weights_N_T.to(policy_N_T) * policy_N_T
        terms = [Term("policy_loss", policy_N_T, config.policy_coefficient)]
        terms += [t for make in self.regularizers if (t := make(batch, config)) is not None]
        loss, values, weighted = weights_N_T.new_zeros(()), {}, {}
        for term in terms:
            average = (weights_N_T * term.value_N_T).sum()
            told = (told_N_T * term.value_N_T).sum() if term.name in PER_TOKEN else average
            values[term.name] = told.detach()
            if term.coefficient:
                weighted[term.name] = term.coefficient * average
                loss = loss + weighted[term.name]
        inside_N_T = weights_N_T > 0
        ratios_M = surrogate.ratio_N_T.detach()[inside_N_T]
        return LossOutputs(
            loss,
            {
                "loss": loss.detach(),
                **values,
                "clip_share": (told_N_T * surrogate.clipped_N_T).sum().detach(),
                **gaps,
            },
            {"ratio_max": ratios_M.amax(), "ratio_min": ratios_M.amin()},
            weighted,
        )


def _of_chosen_tokens(loss_N_T: Tensor, batch: LossInputs, config: AlgorithmConfig) -> Tensor:
    """The policy loss with KL-Cov's penalty where it applies, 0 where nothing is to be learned."""
    if batch.penalised_N_T is not None:
        left_N_T = (batch.logprobs_N_T - batch.old_logprobs_N_T).abs()
        loss_N_T = loss_N_T + config.covariance_coefficient * left_N_T * batch.penalised_N_T
    return loss_N_T if batch.learned_N_T is None else loss_N_T * batch.learned_N_T


def per_rollout(rule: Callable[[Tensor, AlgorithmConfig], Tensor]) -> Advantage:
    """An advantage of whole rollouts, from rewards (P, G) to (P, G), given to all their tokens."""

    def advantages(step: AdvantageInputs, config: AlgorithmConfig) -> Advantages:
        advantages_P_G = rule(step.rewards_P_G, config)
        return Advantages(advantages_P_G.reshape(-1, 1) * step.mask_N_T)

    return advantages
