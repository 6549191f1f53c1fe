"""Policy gradients of single examples on a part of the weights, and their products.

The gradient of an example's rollouts y_1 .. y_G with group-normalised advantages A_n:

    g = grad (1 / sum_n |y_n|) sum_n A_n sum_t log pi(y_n,t | prompt, y_n,<t)

which is GRPO's at the first update, where the ratio is 1, averaged over all tokens as this package
trains (arXiv 2402.03300 averages every answer over its own length). On the weights of the last
decoder layer, or on adapters that are put in; nothing below is kept, and besides the model there
are four vectors of such a size at most: three of the validation set and one example's. Not here:
sampling and grading.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from oneshot_rlvr.algorithms.advantages import group_normalized
from oneshot_rlvr.config import LoraConfig, Recipe
from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.policy.load import Policy
from oneshot_rlvr.policy.lora import adapter_tensors, add_adapters, has_adapters
from oneshot_rlvr.selection.gradient import Alignment, learnability
from oneshot_rlvr.train.forward import Forward
from oneshot_rlvr.train.rows import rewards_of
from oneshot_rlvr.types import Graded

Place = Literal["last_layer", "adapters"]
EPSILON = 1e-6
"""Added to a group's std, as everywhere (algorithms/advantages.py)."""


def parameters_at(policy: Policy, place: Place, lora: LoraConfig, seed: int) -> list[nn.Parameter]:
    """Leaves only the weights of that place trainable, and gives them, in their order.

    Fresh adapters change nothing: one of their two factors is zero, and the gradient with respect
    to it is a random projection of that of the weight. ModelError where no layers are found.
    """
    if place == "adapters":
        if not has_adapters(policy.model):
            add_adapters(policy.model, lora, seed)
        names = set(adapter_tensors(policy.model))
        return [p for name, p in policy.model.named_parameters() if name in names]
    stacks = [m for m in policy.model.modules() if isinstance(m, nn.ModuleList) and len(m)]
    if not stacks:
        raise ModelError(
            f"{policy.name} has no list of layers, so that its last one is not known; take "
            "gradients of adapters instead."
        )
    last = max(stacks, key=len)[-1]
    policy.model.requires_grad_(False)
    last.requires_grad_(True)
    return list(last.parameters())


@dataclass(frozen=True, slots=True)
class Gradients:
    """What makes gradients of one place, in float32 on the model's device."""

    forward: Forward
    parameters: Sequence[nn.Parameter]

    @staticmethod
    def of(policy: Policy, recipe: Recipe, place: Place, seed: int) -> Gradients:
        """Of a policy whose engine has been made; adapters are as the recipe says."""
        lora = recipe.model.lora or LoraConfig()
        return Gradients(Forward(policy, recipe), parameters_at(policy, place, lora, seed))

    @property
    def size(self) -> int:
        """Numbers in a gradient, D."""
        return sum(p.numel() for p in self.parameters)

    def zeros(self) -> Tensor:
        """(D)"""
        return torch.zeros(self.size, device=self.parameters[0].device)

    def policy_gradient(self, graded: Sequence[Graded]) -> Tensor | None:
        """The gradient (D) of one example's rollouts; None where their rewards are equal."""
        rollouts = [g.rollout for g in graded]
        advantage_N = group_normalized(rewards_of(graded), EPSILON).reshape(-1)
        if not bool(advantage_N.any()):
            return None
        total = self.zeros()
        tokens = sum(len(r.tokens) for r in rollouts)
        learning = [n for n in range(len(rollouts)) if advantage_N[n]]
        for part in self.forward.micro_batches([rollouts[n] for n in learning]):
            members = [learning[n] for n in part]
            scores = self.forward.scores([rollouts[n] for n in members], with_entropy=False)
            logs_N_T = scores.logprobs_N_T
            value = (advantage_N[members].to(logs_N_T)[:, None] * logs_N_T).sum() / tokens
            total += self._gradient(value)
        return total

    def _gradient(self, value: Tensor) -> Tensor:
        parts = torch.autograd.grad(value, list(self.parameters), allow_unused=True)
        return torch.cat(
            [
                torch.zeros(p.numel(), device=p.device) if g is None else g.reshape(-1).float()
                for g, p in zip(parts, self.parameters, strict=True)
            ]
        )


@dataclass(slots=True)
class Validation:
    """What is summed over a validation set's gradients g_j, question by question.

    halves: of every other question; weighed: of p_j (1 - p_j) g_j / |g_j|, p the solve rate.
    """

    halves: tuple[Tensor, Tensor]
    weighed: Tensor
    questions: int = 0

    @staticmethod
    def empty(gradients: Gradients) -> Validation:
        """Of no question yet."""
        return Validation((gradients.zeros(), gradients.zeros()), gradients.zeros())

    def add(self, gradient: Tensor | None, solved: float) -> None:
        """The next question's, and its solve rate; None for one without gradient, which counts in
        the means."""
        if gradient is not None:
            self.halves[self.questions % 2].add_(gradient)
            length = norm(gradient)
            if length > 0:
                self.weighed.add_(gradient, alpha=learnability(solved) / length)
        self.questions += 1

    def aim(self, kind: Alignment) -> Tensor:
        """(D) What examples are aligned with: mean_j p_j (1 - p_j) g_j / |g_j| for learnability,
        else mean_j g_j (`selection.gradient`)."""
        total = self.weighed if kind == "learnability" else self.halves[0] + self.halves[1]
        return total / max(1, self.questions)

    @property
    def agreement(self) -> float:
        """The cosine of the halves: near 0 where the set is too small or the answers too few to
        have a direction; nan where a half has no gradient."""
        one, other = self.halves
        norms = norm(one) * norm(other)
        return inner(one, other) / norms if norms > 0 else math.nan


def inner(one: Tensor, other: Tensor) -> float:
    """<one, other>, summed in float64."""
    return float(torch.dot(one.double(), other.double()))


def norm(vector: Tensor) -> float:
    """|vector|, summed in float64."""
    return math.sqrt(inner(vector, vector))
