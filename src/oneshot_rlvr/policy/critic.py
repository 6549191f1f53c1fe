"""PPO's critic: the expected return before each response token, from a linear head on a trunk.

The trunk is a copy of the policy's, which learns on its own ("own"), or the policy's itself
("shared"), which then learns from both losses. The head begins at zero: the first values are 0 and
the first advantages plain returns.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from oneshot_rlvr.policy.logprobs import Layout, Tokens, states


class ValueHead(nn.Linear):
    """States (M, width) to values (M), in float32 or wider whatever the trunk's type."""

    def __init__(self, width: int, device: torch.device, dtype: torch.dtype):
        wide = torch.promote_types(dtype, torch.float32)
        super().__init__(width, 1, device=device, dtype=wide)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, states_M_D: Tensor) -> Tensor:
        """One value a row."""
        with torch.autocast(states_M_D.device.type, enabled=False):
            return super().forward(states_M_D.to(self.weight.dtype))[:, 0]


class Critic:
    """Values of response tokens. `model` is the trunk's whole model, None where it is shared."""

    def __init__(self, policy_model: nn.Module, *, shared: bool):
        embedding: Any = policy_model.get_input_embeddings()  # type: ignore[operator]
        self.model = None if shared else copy.deepcopy(policy_model)
        config: Any = policy_model.config
        width = int(getattr(config, "hidden_size", embedding.weight.shape[1]))
        self.head = ValueHead(width, embedding.weight.device, embedding.weight.dtype)

    def values(self, prompts: Sequence[Tokens], responses: Sequence[Tokens], pad_id: int) -> Tensor:
        """Values (N, T) by the critic's own trunk, 0 on padding. Differentiable."""
        assert self.model is not None, "a shared trunk gives its values with the log-probabilities"
        layout = Layout.of(prompts, responses, self.head.weight.device)
        return layout.spread(self.head(states(self.model, prompts, responses, layout, pad_id)))

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What learns beside the policy: the head and, where it is its own, the trunk."""
        for name, parameter in self.head.named_parameters():
            yield f"head.{name}", parameter
        if self.model is not None:
            body: Any = self.model.base_model  # not the output head, which nothing here reads
            for name, parameter in body.named_parameters():
                if parameter.requires_grad:
                    yield f"trunk.{name}", parameter

    def parameters(self) -> list[nn.Parameter]:
        """The same without names, in the same order."""
        return [parameter for _, parameter in self.named_parameters()]

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes parameters by name. KeyError or RuntimeError for those of another critic."""
        for name, parameter in self.named_parameters():
            parameter.copy_(tensors[name])
