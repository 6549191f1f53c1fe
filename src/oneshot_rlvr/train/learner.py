"""What a checkpoint must carry, told by whatever learns.

Policy and optimizer are saved as they are. All else that an update changes (a critic and its
optimizer, the coefficient of an entropy controller, a reference that is refreshed, adapters, the
number of updates done) is the learner's own matter: it hands it over as named tensors and plain
JSON values, and takes the same back. The checkpoint knows no names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from oneshot_rlvr.policy import Policy


@dataclass(frozen=True, slots=True)
class LearnerState:
    """`tensors` by name, of any device and type; `values` are what JSON can say, floats exactly."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


class Learner(Protocol):
    """What a run trains. `TrainStep` is one."""

    @property
    def policy(self) -> Policy:
        """Saved as a plain model directory."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The policy's; its settings follow from the recipe and are not saved."""

    def state(self) -> LearnerState:
        """Everything else that a continued run needs, at this moment."""

    def load_state(self, state: LearnerState) -> None:
        """Takes a `state` back. ValueError or KeyError for one that does not fit."""


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with a prefix to every name."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names have the prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
