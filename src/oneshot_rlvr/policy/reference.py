"""The policy that the KL term measures from: a copy, or the model itself without its adapters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from oneshot_rlvr.policy.logprobs import Tokens, TokenScores, sequence_logprobs


class Reference:
    """A copy of the model as it is now, without gradients."""

    def __init__(self, model: nn.Module):
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def logprobs(
        self,
        prompts: Sequence[Tokens],
        responses: Sequence[Tokens],
        temperature: float,
        *,
        pad_id: int,
    ) -> TokenScores:
        """As `sequence_logprobs`, without gradient."""
        return sequence_logprobs(
            self.model, prompts, responses, temperature, pad_id=pad_id, with_entropy=False
        )

    def refresh(self, model: nn.Module) -> None:
        """Becomes what `model` is now."""
        self.model.load_state_dict(model.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """Its weights by name, for a checkpoint."""
        return dict(self.model.state_dict())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes `tensors` back."""
        self.model.load_state_dict(dict(tensors))
