"""What each token of an update weighs, and which of them its policy term learns from.

Both are fixed over the whole update, before it is split. Clip-Cov, KL-Cov and the top of the
entropies compare all its tokens, of which a micro-batch sees only its own; so where a recipe asks
for them, one more forward pass without gradient goes before an update (before a step's first it is
that of the old log-probabilities). Not here: what is chosen (`algorithms/token_choice.py`),
averages (`algorithms/averaging.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from oneshot_rlvr.algorithms.algorithm import Algorithm
from oneshot_rlvr.algorithms.batch import Advantages
from oneshot_rlvr.algorithms.objectives import clipped_surrogate
from oneshot_rlvr.algorithms.token_choice import clip_cov, covariances, kl_cov, most_uncertain
from oneshot_rlvr.config import AlgorithmConfig, Recipe
from oneshot_rlvr.rollouts.randomness import StreamKey, uniforms
from oneshot_rlvr.train.forward import Forward, Known, wide_on_cpu
from oneshot_rlvr.train.rows import learned_mask
from oneshot_rlvr.train.subsample import Drawn, drawn_rows
from oneshot_rlvr.types import Rollout

Place = tuple[int, int]
"""The steps done before, and the number of the update in its step."""


def weighed(rollouts: Sequence[Rollout], algorithm: Algorithm, recipe: Recipe) -> Drawn:
    """All rollouts of an update, every token's weight in the loss and in what is logged (N, T)."""
    mask_N_T = learned_mask(rollouts, recipe)
    weights_N_T = algorithm.weights(mask_N_T, recipe.algorithm, recipe.rollouts.max_new_tokens)
    return Drawn(list(range(len(rollouts))), weights_N_T, algorithm.told_weights(mask_N_T))


def drawn_rollouts(
    rollouts: Sequence[Rollout],
    advantages: Advantages,
    algorithm: Algorithm,
    recipe: Recipe,
    place: Place,
) -> Drawn:
    """The rollouts that an update computes, and their tokens' weights."""
    steps_done, number = place
    on = bool(recipe.algorithm.policy_coefficient)
    moved_N = (advantages.advantages_N_T != 0).any(1) & on
    every = weighed(rollouts, algorithm, recipe)
    key = StreamKey(recipe.train.seed, f"zero_variance {number}", steps_done)
    share = recipe.train.zero_variance_share
    return drawn_rows(moved_N, every.weights_N_T, share, key, every.told_N_T)


def needs_entropies(config: AlgorithmConfig) -> bool:
    """Whether a step begins with a pass over its rollouts for this, whatever else it needs."""
    return _chooses(config) or config.zero_variance_coefficient > 0


def chosen_tokens(
    drawn: Drawn,
    rollouts: Sequence[Rollout],
    advantages: Advantages,
    before: Known,
    forward: Forward,
    place: Place,
) -> tuple[Drawn, dict[str, float]]:
    """`drawn` with the tokens that learn and those that pay, and what to log of them.

    `before` is what the policy said of these rollouts when they were sampled.
    """
    recipe, (steps_done, number) = forward.recipe, place
    if not rollouts or not _chooses(recipe.algorithm):
        return drawn, {}
    now = before
    if number:
        now = forward.known(rollouts, old=True, reference=False, values=False)
    key = StreamKey(recipe.train.seed, f"token choice {number}", steps_done)
    return _chosen(drawn, rollouts, advantages.advantages_N_T, now, before, recipe.algorithm, key)


def _chooses(config: AlgorithmConfig) -> bool:
    return config.covariance is not None or config.top_entropy_share < 1


def _chosen(
    drawn: Drawn,
    rollouts: Sequence[Rollout],
    advantages_N_T: Tensor,
    now: Known,
    before: Known,
    config: AlgorithmConfig,
    key: StreamKey,
) -> tuple[Drawn, dict[str, float]]:
    mask_N_T = drawn.weights_N_T > 0
    T, told = mask_N_T.shape[1], {}

    def laid_out(ragged: list[Tensor] | None) -> Tensor:
        values_N_T = wide_on_cpu(ragged)
        assert values_N_T is not None
        return values_N_T[:, :T]

    def share(tokens_N_T: Tensor) -> float:
        return (drawn.told_N_T * tokens_N_T).sum().item()

    learned_N_T, penalised_N_T = mask_N_T, None
    if config.top_entropy_share < 1:
        entropy_N_T = laid_out(now.entropy)
        learned_N_T = most_uncertain(entropy_N_T, mask_N_T, config.top_entropy_share)
        told["top_entropy_share"] = share(learned_N_T)
    if config.covariance is not None:
        logprobs_N_T, old_N_T = laid_out(now.old), laid_out(before.old)
        advantages_N_T = advantages_N_T[:, :T].double()
        covariances_N_T = covariances(logprobs_N_T, advantages_N_T, mask_N_T)
        if config.covariance == "clip":
            clipped_N_T = clipped_surrogate(
                logprobs_N_T, old_N_T, advantages_N_T, config.clip_low, config.clip_high
            ).clipped_N_T
            bound_N_T = clip_cov(
                covariances_N_T,
                mask_N_T,
                clipped_N_T,
                _draws(rollouts, T, key),
                config.covariance_share,
                config.covariance_low,
                config.covariance_high,
            )
            learned_N_T = learned_N_T & ~bound_N_T
        else:
            bound_N_T = kl_cov(covariances_N_T, mask_N_T, config.covariance_share)
            penalised_N_T = bound_N_T.to(drawn.weights_N_T)
        told["covariance_share"] = share(bound_N_T)
    learns_N_T = learned_N_T.to(drawn.weights_N_T)
    return replace(drawn, learned_N_T=learns_N_T, penalised_N_T=penalised_N_T), told


def _draws(rollouts: Sequence[Rollout], T: int, key: StreamKey) -> Tensor:
    """A uniform number for every token (N, T), by the rollout's place in the step."""
    rows_N_1 = [[rollout.row] for rollout in rollouts]
    indices_N_1 = [[rollout.index] for rollout in rollouts]
    return torch.from_numpy(uniforms(key, rows_N_1, indices_N_1, [list(range(T))]))
