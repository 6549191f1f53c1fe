"""One rollout step's learning: graded rollouts in, updated weights and metrics out.

    rewards -> advantages -> (for each update: log-probs -> loss -> gradient -> optimizer)

Every token's weight is fixed over the whole update before it is split into micro-batches, so the
gradient is that of the unsplit batch. Not here: sampling, grading, records, checkpoints; forward
passes (`train/forward.py`); what the algorithms compute (`algorithms/`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from oneshot_rlvr.algorithms import get_algorithm
from oneshot_rlvr.algorithms.advantages import explained_variance
from oneshot_rlvr.algorithms.batch import AdvantageInputs, Advantages, LossInputs, LossOutputs
from oneshot_rlvr.algorithms.controllers import (
    applied_entropy_coefficient,
    next_entropy_coefficient,
)
from oneshot_rlvr.config import Recipe
from oneshot_rlvr.policy.blocks import refuse_unless_narrow
from oneshot_rlvr.policy.critic import Critic
from oneshot_rlvr.policy.load import Policy
from oneshot_rlvr.policy.logprobs import TokenScores
from oneshot_rlvr.policy.lora import BaseReference, add_adapters, has_adapters
from oneshot_rlvr.policy.optimizer import (
    AdamW,
    learning_rate_at,
    load_state_tensors,
    make_optimizer,
    set_learning_rate,
    state_tensors,
)
from oneshot_rlvr.policy.reference import Reference
from oneshot_rlvr.train.applying import Applying
from oneshot_rlvr.train.batching import parts
from oneshot_rlvr.train.forward import Forward, Known, padded, wide_on_cpu
from oneshot_rlvr.train.learner import LearnerState, prefixed, without_prefix
from oneshot_rlvr.train.metrics import EXTREMES, combined
from oneshot_rlvr.train.rows import (
    effective_sample,
    generated_mask,
    learned_mask,
    sampled_logprobs,
    sampler_gap,
    shaped_rewards,
    token_rewards,
    told_advantages,
)
from oneshot_rlvr.train.subsample import Drawn
from oneshot_rlvr.train.survey import chosen_tokens, drawn_rollouts, needs_entropies, weighed
from oneshot_rlvr.train.term_norms import term_norms
from oneshot_rlvr.types import Graded, Rollout


@dataclass(frozen=True, slots=True)
class StepResult:
    """`metrics` by full name ("train/loss"); `advantages` in the order of the rollouts given."""

    metrics: dict[str, float]
    advantages: list[float]


class TrainStep:
    """Holds what learns: policy, optimizer and, where the recipe has them, critic and reference.

    `steps_done` counts calls of `update`; the learning rate follows from it. `skipped_in_a_row`
    counts the updates left out since the last that was made. `sampler` is the engine's name, which
    says whether it needs a correction by default.
    """

    def __init__(
        self,
        policy: Policy,
        recipe: Recipe,
        *,
        reference: Reference | BaseReference | None = None,
        optimizer: AdamW | None = None,
        sampler: str = "",
    ):
        config = recipe.algorithm
        if recipe.model.autocast is not None:
            refuse_unless_narrow("model.autocast", policy.device)
        self.policy = policy
        self.recipe = recipe
        self.algorithm = get_algorithm(config.name)
        if recipe.model.lora is not None and not has_adapters(policy.model):
            add_adapters(policy.model, recipe.model.lora, recipe.train.seed)
        self._optimizing = recipe.optimizer.model_copy(
            update={"learning_rate": recipe.learning_rate()}
        )
        self.optimizer = optimizer or make_optimizer(policy.model, self._optimizing)
        if config.kl_coefficient and reference is None:
            # The base under the adapters is a reference without a copy, as long as it is frozen.
            whole = recipe.model.lora is None or config.reference_refresh_every > 0
            reference = Reference(policy.model) if whole else BaseReference(policy.model)
        self.reference = reference if config.kl_coefficient else None
        self.critic: Critic | None = None
        self.critic_optimizer: AdamW | None = None
        if config.critic is not None:
            self.critic = Critic(policy.model, shared=config.critic == "shared")
            own = recipe.optimizer.model_copy(update={"learning_rate": config.critic_learning_rate})
            self.critic_optimizer = make_optimizer(self.critic.parameters(), own)
        self._applying = Applying(
            {
                "gradient_norm": self.optimizer,
                **(
                    {"critic_gradient_norm": self.critic_optimizer} if self.critic_optimizer else {}
                ),
            },
            recipe.optimizer.gradient_clip,
            scaled=policy.dtype == torch.float16,
            device=policy.device.type,
        )
        self.sampler_correction = recipe.sampler_correction(sampler)
        self.entropy_coefficient = config.entropy_coefficient  # of the next update
        self._controlled = config.entropy_coefficient  # the controller's, where there is one
        self.steps_done = 0
        self.skipped_in_a_row = 0

    @property
    def _refreshes(self) -> int:
        return self.recipe.algorithm.reference_refresh_every

    @property
    def forward(self) -> Forward:
        """The models as they are applied to rollouts."""
        return Forward(self.policy, self.recipe, self.reference, self.critic)

    def state(self) -> LearnerState:
        """What changes with every update beside policy and optimizer (for checkpoints)."""
        values: dict[str, Any] = {
            "steps_done": self.steps_done,
            "skipped_in_a_row": self.skipped_in_a_row,
        }
        if scale := self._applying.state():
            values["loss_scale"] = scale
        tensors: dict[str, Tensor] = {}
        if self.recipe.algorithm.entropy_target is not None:
            values["entropy_coefficient"] = self.entropy_coefficient
            values["controlled_entropy_coefficient"] = self._controlled
        if self.critic is not None and self.critic_optimizer is not None:
            tensors |= prefixed("critic.", dict(self.critic.named_parameters()))
            tensors |= prefixed("critic_optimizer.", state_tensors(self.critic_optimizer))
        if self._refreshes and isinstance(self.reference, Reference):
            tensors |= prefixed("reference.", self.reference.tensors())
        return LearnerState(tensors, values)

    def load_state(self, state: LearnerState) -> None:
        """Goes on where `state` was taken."""
        self.steps_done = int(state.values["steps_done"])
        self.skipped_in_a_row = int(state.values["skipped_in_a_row"])
        self._applying.load(state.values.get("loss_scale", {}))
        if self.recipe.algorithm.entropy_target is not None:
            self.entropy_coefficient = float(state.values["entropy_coefficient"])
            self._controlled = float(state.values["controlled_entropy_coefficient"])
        if self.critic is not None and self.critic_optimizer is not None:
            self.critic.load(without_prefix("critic.", state.tensors))
            load_state_tensors(
                self.critic_optimizer, without_prefix("critic_optimizer.", state.tensors)
            )
        if self._refreshes and isinstance(self.reference, Reference):
            self.reference.load(without_prefix("reference.", state.tensors))

    def update(self, graded: Sequence[Graded]) -> StepResult:
        """Learns from one step's rollouts, ordered by row, then index.

        A loss or gradient that is not finite skips that update, leaves weights and optimizer as
        they were, and is counted in `train/skipped_updates`.
        """
        train, rollouts = self.recipe.train, [g.rollout for g in graded]
        rewards_P_G, metrics = shaped_rewards(graded, self.recipe)
        P, G = rewards_P_G.shape
        row_parts = parts(P, train.updates_per_rollout // train.epochs)
        members_U = [list(range(rows.start * G, rows.stop * G)) for rows in row_parts]
        members_U *= train.epochs
        known = self._known(rollouts, members_U)
        mask_N_T = generated_mask(rollouts)
        config = self.recipe.algorithm
        values_N_T, entropy_N_T = wide_on_cpu(known.values), wide_on_cpu(known.entropy)
        rewards_N_T = token_rewards(rewards_P_G, known, mask_N_T, config)
        advantages = self.algorithm.advantages(
            AdvantageInputs(rewards_N_T, mask_N_T, G, values_N_T, entropy_N_T),
            config.model_copy(update={"std_floor": self.recipe.std_floor()}),
        )
        if values_N_T is not None and advantages.returns_N_T is not None:
            metrics["explained_variance"] = explained_variance(
                values_N_T, advantages.returns_N_T, mask_N_T
            )
        collected: list[dict[str, float]] = []
        overflows: list[float] = []
        for number, members in enumerate(members_U):
            made = self.steps_done * train.updates_per_rollout + number
            rate = learning_rate_at(made, self._optimizing)
            self._set_rates(rate)
            part = known.of(members)
            given = advantages.of(members)
            own, place = [rollouts[n] for n in members], (self.steps_done, number)
            drawn = drawn_rollouts(own, given, self.algorithm, self.recipe, place)
            part, given = part.of(drawn.rows), given.of(drawn.rows)
            chosen = [rollouts[members[n]] for n in drawn.rows]
            drawn, told = chosen_tokens(drawn, chosen, given, part, self.forward, place)
            if number == 0:
                part.old = None  # the policy's own, which has not moved: the ratio is exactly 1
                metrics |= self._term_norms(chosen, given, part, drawn)
            collected.append(self._one_update(chosen, given, part, drawn) | told)
            overflows.append(collected[-1].pop("overflowed", 0.0))
            left_out = "gradient_norm" not in collected[-1]
            if not overflows[-1]:  # of these the scale takes care
                self.skipped_in_a_row = self.skipped_in_a_row + 1 if left_out else 0
        self.steps_done += 1
        metrics |= effective_sample(combined(collected))
        left = float(sum("gradient_norm" not in c for c in collected))
        metrics["skipped_updates"] = left - sum(overflows)
        if "loss_scale" in metrics:
            metrics["overflowed_updates"] = sum(overflows)
        self._between_steps(metrics)
        named = {
            name if "/" in name else f"train/{name}": value
            for name, value in metrics.items()
            if math.isfinite(value)
        }
        named["optimizer/learning_rate"] = rate
        used_N_T = advantages.advantages_N_T * learned_mask(rollouts, self.recipe)
        return StepResult(named, told_advantages(used_N_T, mask_N_T))

    def _known(self, rollouts: Sequence[Rollout], members_U: list[list[int]]) -> Known:
        """What the updates need to know of the rollouts as long as nothing has moved.

        The first update takes its old log-probs from its own forward pass.
        """
        config = self.recipe.algorithm
        in_reward = self.reference is not None and config.kl_place == "reward"
        return self.forward.known(
            rollouts,
            old=len(members_U) > 1 or in_reward or needs_entropies(config),
            reference=self.reference is not None and (in_reward or self.recipe.train.epochs > 1),
            values=self.critic is not None,
        )

    def _one_update(
        self,
        rollouts: Sequence[Rollout],
        advantages: Advantages,
        known: Known,
        weights: Drawn | None = None,
    ) -> dict[str, float]:
        """One optimizer step over these rollouts; no `gradient_norm` among the metrics if skipped.

        Tokens weigh what the algorithm says of these rollouts, unless `weights` are given.
        Metrics that are not finite (they may be why) are left out.
        """
        config = self.recipe.algorithm
        weights = weights or weighed(rollouts, self.algorithm, self.recipe)
        self._applying.zero()
        # Where only the policy term is on, a rollout without advantage has no gradient: its
        # backward pass is left out, and its forward pass serves the metrics.
        kl_in_loss = config.kl_coefficient and config.kl_place == "loss"
        others = bool(kl_in_loss or self.entropy_coefficient or self.critic is not None)
        moved_N = (advantages.advantages_N_T != 0).any(1)
        if weights.penalised_N_T is not None:  # KL-Cov's penalty asks for no advantage
            moved_N = moved_N | (weights.penalised_N_T != 0).any(1)
        moved_N = moved_N & bool(config.policy_coefficient)
        learning_N = [others or moved for moved in moved_N.tolist()]
        sums: dict[str, float] = {}
        extremes: dict[str, list[float]] = {}
        for learns in (True, False):
            chosen = [n for n in range(len(rollouts)) if learning_N[n] == learns]
            for part in self.forward.micro_batches([rollouts[n] for n in chosen]):
                members = [chosen[n] for n in part]
                with torch.set_grad_enabled(learns):
                    scores, output = self._part(rollouts, members, advantages, weights, known)
                if learns:
                    self._applying.backward(output.loss)
                if known.old is None:
                    gap = sampler_gap(scores, [rollouts[n] for n in members])
                    extremes.setdefault("logprob_gap", []).append(gap)
                for name, value in output.terms.items():
                    sums[name] = sums.get(name, 0.0) + value.item()
                for name, value in output.extremes.items():
                    extremes.setdefault(name, []).append(value.item())
        metrics = {**sums, **{name: EXTREMES[name](values) for name, values in extremes.items()}}
        # None where every rollout is left out.
        metrics |= self._applying.apply(sums.get("loss", 0.0))
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def _term_norms(
        self,
        rollouts: Sequence[Rollout],
        advantages: Advantages,
        known: Known,
        weights: Drawn,
    ) -> dict[str, float]:
        """Each term's gradient norm, at the steps where `train.term_norms_every` asks for it."""
        every = self.recipe.train.term_norms_every
        if not every or (self.steps_done + 1) % every or not rollouts:
            return {}

        def losses() -> Iterable[LossOutputs]:
            for members in self.forward.micro_batches(rollouts):
                yield self._part(rollouts, members, advantages, weights, known)[1]

        trained = _trained(self.policy.model.parameters())
        norms = term_norms(losses, trained, self._applying.scale)
        return {f"train/gradient_norm/{name}": norm for name, norm in norms.items()}

    def _part(
        self,
        rollouts: Sequence[Rollout],
        members: list[int],
        advantages: Advantages,
        weights: Drawn,
        known: Known,
    ) -> tuple[TokenScores, LossOutputs]:
        """Scores and loss share of some rows."""
        config = self.recipe.algorithm.model_copy(
            update={
                "entropy_coefficient": self.entropy_coefficient,
                "sampler_correction": self.sampler_correction,
            }
        )
        chosen, before = [rollouts[n] for n in members], known.of(members)
        scores = self.forward.scores(chosen, with_entropy=bool(self.entropy_coefficient))
        T, like = scores.logprobs_N_T.shape[1], scores.logprobs_N_T
        returns_N_T = advantages.returns_N_T
        if before.reference is None:
            reference_N_T = self.forward.reference_logprobs(chosen)
        else:
            reference_N_T = padded(before.reference)
        choices = (weights.learned_N_T, weights.penalised_N_T)
        learned_N_T, penalised_N_T = (
            None if x is None else x[members, :T].to(like) for x in choices
        )
        inputs = LossInputs(
            learned_N_T=learned_N_T,
            penalised_N_T=penalised_N_T,
            logprobs_N_T=scores.logprobs_N_T,
            old_logprobs_N_T=like.detach() if before.old is None else padded(before.old),
            advantages_N_T=advantages.advantages_N_T[members, :T].to(like),
            weights_N_T=weights.weights_N_T[members, :T].to(like.device),
            sampler_logprobs_N_T=sampled_logprobs(chosen)[:, :T].to(like),
            told_weights_N_T=weights.told_N_T[members, :T].to(like.device),
            entropy_N_T=scores.entropy_N_T,
            reference_logprobs_N_T=reference_N_T,
            values_N_T=self.forward.values(chosen, scores),
            old_values_N_T=None if before.values is None else padded(before.values),
            returns_N_T=None if returns_N_T is None else returns_N_T[members, :T].to(like),
        )
        return scores, self.algorithm.loss(inputs, config)

    def _set_rates(self, rate: float) -> None:
        """The policy's learning rate; the critic's follows its warm-up."""
        set_learning_rate(self.optimizer, rate)
        if self.critic_optimizer is not None:
            share = rate / self._optimizing.learning_rate
            set_learning_rate(
                self.critic_optimizer, self.recipe.algorithm.critic_learning_rate * share
            )

    def _between_steps(self, metrics: dict[str, float]) -> None:
        """What moves once a step: the entropy coefficient, the reference. Tells the former."""
        config = self.recipe.algorithm
        if config.entropy_target is not None:
            metrics["entropy_coefficient"] = self.entropy_coefficient
            if "entropy_nats" in metrics:
                entropy = metrics["entropy_nats"]
                self._controlled = next_entropy_coefficient(self._controlled, entropy, config)
                self.entropy_coefficient = applied_entropy_coefficient(
                    self._controlled, entropy, config
                )
        due = self._refreshes and self.steps_done % self._refreshes == 0
        if due and isinstance(self.reference, Reference):
            self.reference.refresh(self.policy.model)


def _trained(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad]
