"""AdamW over every parameter, and the learning rate as a pure function of the step.

Parameters in 16 bits get float32 masters: at a learning rate of 1e-6 an update is a hundred times
smaller than the spacing of bfloat16 numbers near a typical weight, and would be rounded away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from oneshot_rlvr.config import OptimizerConfig


class AdamW(torch.optim.AdamW):
    """torch's AdamW; parameters below 32 bits are updated through float32 masters.

    Masters are held in this optimizer's state, so `state_dict` carries them.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], **settings: Any):
        self._trained = [p for p in parameters if p.requires_grad]
        self._masters = [p if _wide(p) else _master(p) for p in self._trained]
        super().__init__(self._masters, **settings)

    @property
    def masters(self) -> list[nn.Parameter]:
        """What is updated, in float32 or wider: a master, or the parameter itself."""
        return self._masters

    def collect(self) -> None:
        """Takes the gradient of one backward pass into the masters' sums, in float32.

        To be called after each of several: their sum in 16 bits would lose every small part.
        """
        for parameter, master in self._pairs():
            if master is not parameter and parameter.grad is not None:
                own = parameter.grad.float()
                master.grad = own if master.grad is None else master.grad.add_(own)
                parameter.grad = None

    def step(self, closure: Any = None) -> Any:
        """One update from the gradients collected, and those that the parameters still have."""
        self.collect()
        result = super().step(closure)
        for parameter, master in self._pairs():
            if master is not parameter:
                parameter.data.copy_(master.data)
                master.grad = None
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of the trained parameters and those collected."""
        for parameter in (*self._trained, *self._masters):
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """torch's state; where a parameter has a master, its entry carries it as "master"."""
        saved = super().state_dict()
        entries = dict(saved["state"])
        for number, (parameter, master) in enumerate(self._pairs()):
            if master is not parameter:
                copied = master.detach().clone()
                entries[number] = {**entries.get(number, {}), "master": copied}
        return {**saved, "state": entries}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores a `state_dict` of the same model."""
        entries = {number: dict(entry) for number, entry in state_dict["state"].items()}
        for number, (parameter, master) in enumerate(self._pairs()):
            if master is not parameter:
                master.data.copy_(entries[number].pop("master"))
        super().load_state_dict({**state_dict, "state": {n: e for n, e in entries.items() if e}})

    def _pairs(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        return list(zip(self._trained, self._masters, strict=True))


def make_optimizer(trained: nn.Module | Iterable[nn.Parameter], config: OptimizerConfig) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101); decay reaches every parameter.

    The learning rate is `learning_rate_at`; set it with `set_learning_rate` before each step.
    """
    return AdamW(
        trained.parameters() if isinstance(trained, nn.Module) else trained,
        lr=learning_rate_at(0, config),
        betas=config.betas,
        weight_decay=config.weight_decay,
    )


def learning_rate_at(update: int, config: OptimizerConfig) -> float:
    """Learning rate of optimizer step `update` (from 0): linear warm-up, then constant."""
    if update < config.warmup_steps:
        return config.learning_rate * (update + 1) / config.warmup_steps
    return config.learning_rate


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Takes effect at the next step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimizer state as named tensors, "PARAMETER.KEY", on the CPU; settings are no part of it."""
    return {
        f"{index}.{key}": torch.as_tensor(value).detach().cpu().clone()
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts `state_tensors` of an optimizer over the same parameters back."""
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def clip_gradient(parameters: Iterable[nn.Parameter], norm: float, limit: float) -> None:
    """Scales gradients of global norm `norm` down to `limit` (0: off); missing ones become 0.

    AdamW passes over a missing gradient, and momentum and decay must go on.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        elif limit and norm > limit:
            parameter.grad.mul_(limit / (norm + 1e-6))


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Global L2 norm of the gradients (0 where there are none); a scalar tensor."""
    norms = [torch.linalg.vector_norm(p.grad) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms).float()) if norms else torch.zeros(())


def _wide(parameter: nn.Parameter) -> bool:
    return torch.finfo(parameter.dtype).bits >= 32


def _master(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().float().clone())
