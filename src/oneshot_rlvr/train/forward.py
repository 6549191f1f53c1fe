"""Forward passes over a step's rollouts: log-probabilities, the reference's, a critic's values.

Rollouts go through in micro-batches; what comes out does not depend on how they were split. Not
here: losses, gradients (`train/step.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.policy.critic import Critic
from oneshot_rlvr.policy.decoder import unsupported
from oneshot_rlvr.policy.load import Policy
from oneshot_rlvr.policy.logprobs import TokenScores, sequence_logprobs
from oneshot_rlvr.policy.lora import BaseReference
from oneshot_rlvr.policy.reference import Reference
from oneshot_rlvr.policy.truncation import Cut
from oneshot_rlvr.train.batching import micro_batches
from oneshot_rlvr.types import Rollout


@dataclass(slots=True)
class Known:
    """What is known of rollouts before anything has moved: one ragged tensor a rollout, or None.

    `entropy` (nats) comes with the log-probabilities `old`.
    """

    old: list[Tensor] | None = None
    reference: list[Tensor] | None = None
    values: list[Tensor] | None = None
    entropy: list[Tensor] | None = None

    def of(self, members: Sequence[int]) -> Known:
        """The same of some of them."""
        every = (self.old, self.reference, self.values, self.entropy)
        return Known(*(_some(x, members) for x in every))


@dataclass(frozen=True, slots=True)
class Forward:
    """The models of a run and how they are applied."""

    policy: Policy
    recipe: Recipe
    reference: Reference | BaseReference | None = None
    critic: Critic | None = field(default=None)

    def scores(self, rollouts: Sequence[Rollout], *, with_entropy: bool) -> TokenScores:
        """Log-probabilities and entropies under the policy, cut as its rollouts are, and values
        where there is a critic."""
        rollouts_config = self.recipe.rollouts
        cut = Cut(rollouts_config.top_p, rollouts_config.top_k, rollouts_config.min_p)
        shared = self.critic is not None and self.critic.model is None
        with self._types():
            scores = sequence_logprobs(
                self.policy.model,
                [r.prompt_tokens for r in rollouts],
                [r.tokens for r in rollouts],
                self.recipe.rollouts.temperature,
                pad_id=self.policy.pad_id,
                with_entropy=with_entropy,
                value_head=self.critic.head if self.critic is not None and shared else None,
                cut=cut,
            )
        return scores

    def values(self, rollouts: Sequence[Rollout], scores: TokenScores | None) -> Tensor | None:
        """The critic's values (N, T); None without a critic. `scores` has those of a shared one."""
        if self.critic is None:
            return None
        if self.critic.model is None:
            scores = scores or self.scores(rollouts, with_entropy=False)
            return scores.values_N_T
        with self._types():
            return self.critic.values(
                [r.prompt_tokens for r in rollouts],
                [r.tokens for r in rollouts],
                self.policy.pad_id,
            )

    def reference_logprobs(self, rollouts: Sequence[Rollout]) -> Tensor | None:
        """The reference's log-probabilities (N, T), of its whole distribution; None without one."""
        if self.reference is None:
            return None
        with self._types():
            return self.reference.logprobs(
                [r.prompt_tokens for r in rollouts],
                [r.tokens for r in rollouts],
                self.recipe.rollouts.temperature,
                pad_id=self.policy.pad_id,
            ).logprobs_N_T

    @torch.no_grad()
    def known(
        self, rollouts: Sequence[Rollout], *, old: bool, reference: bool, values: bool
    ) -> Known:
        """What is asked for, of every rollout."""
        known = Known(*([torch.empty(0)] * len(rollouts) if w else None
                        for w in (old, reference, values, old)))  # fmt: skip
        for members in self.micro_batches(rollouts) if old or reference or values else []:
            part = [rollouts[n] for n in members]
            lengths = [len(r.tokens) for r in part]
            scores = self.scores(part, with_entropy=False) if old else None
            _fill(known.old, members, lengths, scores.logprobs_N_T if scores else None)
            _fill(known.entropy, members, lengths, scores.entropy_N_T if scores else None)
            _fill(known.reference, members, lengths,
                  self.reference_logprobs(part) if reference else None)  # fmt: skip
            _fill(known.values, members, lengths, self.values(part, scores) if values else None)
        return known

    def micro_batches(self, rollouts: Sequence[Rollout]) -> list[list[int]]:
        """Rollouts by number in parts of `train.micro_batch_tokens`."""
        return micro_batches(
            [r.prompt_tokens for r in rollouts],
            [r.tokens for r in rollouts],
            self.recipe.train.micro_batch_tokens,
            shared=unsupported(self.policy.model) is None,
        )

    def _types(self) -> torch.autocast:
        wanted = self.recipe.model.autocast
        return torch.autocast(
            self.policy.device.type, dtype=torch.bfloat16, enabled=wanted is not None
        )


def padded(ragged: Sequence[Tensor]) -> Tensor:
    """(N, T), 0 beyond each one's end."""
    return pad_sequence(list(ragged), batch_first=True)


def wide_on_cpu(ragged: Sequence[Tensor] | None) -> Tensor | None:
    """`padded` in float64, on the CPU; None for None."""
    return None if ragged is None else padded(ragged).double().cpu()


def _some(ragged: list[Tensor] | None, members: Sequence[int]) -> list[Tensor] | None:
    return None if ragged is None else [ragged[n] for n in members]


def _fill(
    ragged: list[Tensor] | None,
    members: Sequence[int],
    lengths: Sequence[int],
    values_N_T: Tensor | None,
) -> None:
    if ragged is not None and values_N_T is not None:
        for n, length, values_T in zip(members, lengths, values_N_T, strict=True):
            ragged[n] = values_T[:length].clone()  # not a view that keeps the padding alive
