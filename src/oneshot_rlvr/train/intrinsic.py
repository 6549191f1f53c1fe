"""Rewards that only the policy can say: those of an arm that is `intrinsic`.

The trainer's weights are those that sampled, so this is the distribution that each token was drawn
from. Not here: what the arms are (`rewards/arms.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from oneshot_rlvr.policy.logprobs import certainty
from oneshot_rlvr.rewards import ARMS
from oneshot_rlvr.train.forward import Forward
from oneshot_rlvr.types import Graded


@torch.no_grad()
def with_own_rewards(graded: Sequence[Graded], arm: str, forward: Forward) -> list[Graded]:
    """The rollouts, rewarded by the policy where the arm asks for it; else as they came.

    Self-certainty (INTUITOR, arXiv 2505.19590, equation 4) in nats, at the rollout temperature:
    the mean over a rollout's T tokens of KL(uniform || p_t) = -log V - (1/V) sum_v log p_t(v).
    """
    if not ARMS.load(arm).intrinsic:
        return list(graded)
    rollouts = [g.rollout for g in graded]
    rewards = [0.0] * len(rollouts)
    for members in forward.micro_batches(rollouts):
        part = [rollouts[n] for n in members]
        certainty_N_T = certainty(
            forward.policy.model,
            [r.prompt_tokens for r in part],
            [r.tokens for r in part],
            forward.recipe.rollouts.temperature,
            pad_id=forward.policy.pad_id,
        )
        for n, row_T in zip(members, certainty_N_T.double().cpu(), strict=True):
            rewards[n] = float(row_T[: len(rollouts[n].tokens)].mean())
    return [replace(g, reward=reward) for g, reward in zip(graded, rewards, strict=True)]
