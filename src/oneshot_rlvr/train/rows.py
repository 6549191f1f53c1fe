"""From a step's graded rollouts to tensors, and back to one number a rollout.

Rollouts come ordered by row, then index; P rows of G.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from oneshot_rlvr.algorithms.advantages import zero_variance
from oneshot_rlvr.algorithms.correction import effective_share
from oneshot_rlvr.algorithms.overlong import overlong_penalty
from oneshot_rlvr.algorithms.regularizers import KL_ESTIMATORS
from oneshot_rlvr.algorithms.zero_variance import directions
from oneshot_rlvr.config import AlgorithmConfig, Recipe
from oneshot_rlvr.policy.logprobs import TokenScores
from oneshot_rlvr.train.forward import Known, padded
from oneshot_rlvr.types import Graded, Rollout


def generated_mask(rollouts: Sequence[Rollout]) -> Tensor:
    """Which of (N, T) are generated tokens (bool, on the CPU)."""
    lengths_N = torch.tensor([len(r.tokens) for r in rollouts])
    return torch.arange(int(lengths_N.max()))[None] < lengths_N[:, None]


def learned_mask(rollouts: Sequence[Rollout], recipe: Recipe) -> Tensor:
    """`generated_mask` without the rollouts that the recipe leaves out of the loss.

    `algorithm.mask_truncated` leaves out those that were cut: an answer that was not allowed to end
    is not wrong (overlong filtering: DAPO, Yu et al. 2025, arXiv 2503.14476, section 3.4). Their
    rewards stay in their groups' comparison.
    """
    finished_N = torch.tensor([r.finished or not recipe.algorithm.mask_truncated for r in rollouts])
    return generated_mask(rollouts) & finished_N[:, None]


def token_rewards(
    rewards_P_G: Tensor, known: Known, mask_N_T: Tensor, config: AlgorithmConfig
) -> Tensor:
    """Every token's reward (N, T, float64): the outcome at the last, less the KL penalty."""
    rewards_N_T = torch.zeros(mask_N_T.shape, dtype=torch.float64)
    last_N_1 = mask_N_T.sum(1, keepdim=True) - 1
    rewards_N_T.scatter_(1, last_N_1, rewards_P_G.reshape(-1, 1))
    if config.kl_place == "reward" and known.old is not None and known.reference is not None:
        estimate = KL_ESTIMATORS[config.kl_estimator]
        kl_N_T = estimate(padded(known.old), padded(known.reference)).double().cpu()
        rewards_N_T -= config.kl_coefficient * kl_N_T * mask_N_T
    return rewards_N_T


def shaped_rewards(graded: Sequence[Graded], recipe: Recipe) -> tuple[Tensor, dict[str, float]]:
    """Rewards (P, G, float64) less the overlong penalty, and what to log of them."""
    config, rewards_P_G = recipe.algorithm, rewards_of(graded)
    metrics = {}
    if config.overlong_buffer_share:
        penalty_N = overlong_penalty(
            torch.tensor([len(g.rollout.tokens) for g in graded]),
            recipe.rollouts.max_new_tokens,
            config.overlong_buffer_share,
            config.overlong_penalty,
        )
        rewards_P_G = rewards_P_G - penalty_N.view_as(rewards_P_G)
        metrics["overlong_penalty"] = penalty_N.mean().item()
    metrics["zero_variance_share"] = zero_variance(rewards_P_G).double().mean().item()
    if config.zero_variance_coefficient:
        shaped_P = directions(rewards_P_G) != 0
        metrics["zero_variance_shaped_share"] = shaped_P.double().mean().item()
    if config.mask_truncated:
        cut = sum(len(g.rollout.tokens) for g in graded if not g.rollout.finished)
        metrics["masked_truncated_share"] = cut / sum(len(g.rollout.tokens) for g in graded)
    return rewards_P_G, metrics


def told_advantages(advantages_N_T: Tensor, mask_N_T: Tensor) -> list[float]:
    """One advantage a rollout, for the records: its tokens' mean, exact where they are equal."""
    told = []
    for advantages_T, mask_T in zip(advantages_N_T, mask_N_T, strict=True):
        own = advantages_T[mask_T]
        told.append((own[0] if bool((own == own[0]).all()) else own.mean()).item())
    return told


def rewards_of(graded: Sequence[Graded]) -> Tensor:
    """Rewards (P, G, float64); ValueError unless the rollouts form rows of one size, in order."""
    rows: dict[int, list[float]] = {}
    for g in graded:
        rows.setdefault(g.rollout.row, []).append(g.reward)
    sizes = {len(row) for row in rows.values()}
    ordered = [g.rollout.row for g in graded] == [row for row in rows for _ in rows[row]]
    if len(sizes) != 1 or not ordered:
        raise ValueError(
            f"rollouts of {len(rows)} rows with sizes {sorted(sizes)}"
            f"{'' if ordered else ', not ordered by row'}; wanted rows of one size, row after row"
        )
    return torch.tensor(list(rows.values()), dtype=torch.float64)


def sampled_logprobs(rollouts: Sequence[Rollout]) -> Tensor:
    """What the sampler said of its tokens (N, T, float64), 0 on padding."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(r.logprobs, dtype=torch.float64) for r in rollouts], batch_first=True
    )


def effective_sample(metrics: dict[str, float]) -> dict[str, float]:
    """With the effective sample size in place of the two means that it is made of."""
    told = dict(metrics)
    ratio, square = (told.pop(key, None) for key in ("sampler_ratio", "sampler_ratio_square"))
    if ratio is not None and square is not None:
        told["sampler_effective_share"] = effective_share(ratio, square)
    return told


def sampler_gap(scores: TokenScores, rollouts: Sequence[Rollout]) -> float:
    """Largest difference between the sampler's and the trainer's log-probability of a token."""
    sampled_N_T = sampled_logprobs(rollouts)
    gap_N_T = scores.logprobs_N_T.detach().cpu().double() - sampled_N_T
    return float((gap_N_T * scores.generated_mask_N_T.cpu()).abs().max())
