"""What an update's parts are made of: the tensors that go into a loss and those that come out.

Not here: what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True, slots=True)
class AdvantageInputs:
    """A whole step: rewards of every token, row after row of `group_size` rollouts.

    `rewards_N_T` (float64) holds the outcome at a rollout's last token, less the KL penalty of each
    token where that is in the reward; 0 on padding. `values_N_T` are a critic's, None without one.
    `entropy_N_T` (nats) are the sampling policy's, None where nothing asks for them.
    """

    rewards_N_T: Tensor
    mask_N_T: Tensor
    group_size: int
    values_N_T: Tensor | None = None
    entropy_N_T: Tensor | None = None

    @property
    def rewards_P_G(self) -> Tensor:
        """Each rollout's whole reward."""
        return self.rewards_N_T.sum(1).view(-1, self.group_size)


class Advantages(NamedTuple):
    """Both (N, T), 0 on padding; `returns_N_T`, what a critic learns, is None without one."""

    advantages_N_T: Tensor
    returns_N_T: Tensor | None = None

    def of(self, members: list[int]) -> Advantages:
        """The same of some rollouts."""
        returns_N_T = self.returns_N_T
        return Advantages(
            self.advantages_N_T[members], None if returns_N_T is None else returns_N_T[members]
        )


@dataclass(frozen=True, slots=True)
class LossInputs:
    """A batch of rollouts, or a part of one; every tensor is (N, T).

    `weights_N_T` comes from `Algorithm.weights` over the whole update and is 0 on padding; other
    entries on padding must be finite. `reference_logprobs_N_T` may be None when the KL term is off,
    the values (with gradient), old values and returns where there is no critic.
    `sampler_logprobs_N_T` are what the sampler said of its draws; None: it is the trainer.
    `told_weights_N_T` weigh what is logged per token (`Algorithm.told_weights`); None: as the loss.
    `learned_N_T` is 1 where the policy term learns from a token and 0 where not, `penalised_N_T` 1
    where KL-Cov bounds one (`token_choice.py`); None: everywhere, nowhere.
    """

    logprobs_N_T: Tensor
    old_logprobs_N_T: Tensor
    advantages_N_T: Tensor
    weights_N_T: Tensor
    entropy_N_T: Tensor
    reference_logprobs_N_T: Tensor | None = None
    values_N_T: Tensor | None = None
    old_values_N_T: Tensor | None = None
    returns_N_T: Tensor | None = None
    told_weights_N_T: Tensor | None = None
    sampler_logprobs_N_T: Tensor | None = None
    learned_N_T: Tensor | None = None
    penalised_N_T: Tensor | None = None


class Surrogate(NamedTuple):
    """Policy loss per token, the probability ratio, and where clipping took effect; where dual
    clipping did, None without it."""

    loss_N_T: Tensor
    ratio_N_T: Tensor
    clipped_N_T: Tensor
    bounded_N_T: Tensor | None = None


class Term(NamedTuple):
    """A metric's name, its value per token, and the weight of its average in the loss (0: none)."""

    name: str
    value_N_T: Tensor
    coefficient: float


@dataclass(frozen=True, slots=True)
class LossOutputs:
    """`loss` has the gradient; `weighted` are its summands by name, each with its own.

    `terms` are detached and add up over the parts of an update; `extremes` are detached and combine
    by max (`ratio_max`) or min (`ratio_min`).
    """

    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    extremes: dict[str, Tensor] = field(default_factory=dict)
    weighted: dict[str, Tensor] = field(default_factory=dict)
