"""From losses to updated weights: backward passes, the clip, the step; in float16 a scaled loss.

Gradients in float16 end at 6e-8, and those of a token's loss are smaller; so the loss is multiplied
by a scale before the backward pass, and the collected float32 gradients are divided by it
(Micikevicius et al. 2018, arXiv 1710.03740, section 3.2; float16 for RL: Qi et al. 2025, arXiv
2510.26788). The scale is torch's `GradScaler`: an update that overflows is left out and halves it,
so many in a row that do not double it. Not here: what the loss is (`train/step.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from oneshot_rlvr.policy.optimizer import AdamW, clip_gradient, gradient_norm

FIRST_SCALE = 2.0**16
GROWTH_INTERVAL = 400
"""Updates without an overflow before the scale is doubled; verl's."""


class Applying:
    """Optimizers that learn from one loss, by the name of their gradient norm.

    `scaled`: the loss is scaled; `clip`: the largest gradient norm, 0 for any.
    """

    def __init__(self, optimizers: Mapping[str, AdamW], clip: float, *, scaled: bool, device: str):
        self._optimizers, self._clip = dict(optimizers), clip
        self._scaler = torch.amp.GradScaler(
            device, init_scale=FIRST_SCALE, growth_interval=GROWTH_INTERVAL, enabled=scaled
        )

    @property
    def scale(self) -> float:
        """What the loss is multiplied by; 1 where it is not scaled."""
        return float(self._scaler.get_scale())

    def backward(self, loss: Tensor) -> None:
        """Adds a part's gradient to what is collected."""
        self._scaler.scale(loss).backward()
        for optimizer in self._optimizers.values():
            optimizer.collect()

    def apply(self, loss: float) -> dict[str, float]:
        """Clips and steps; the gradient norms before clipping. Nothing of that where a number is
        not finite: then nothing is changed but the scale, and `overflowed` is 1 where it was the
        scale that was too large."""
        scaling = self._scaler.is_enabled()
        told = {"loss_scale": self.scale} if scaling else {}
        learning = [o for o in self._optimizers.values() if _has_gradient(o)]
        for optimizer in learning if scaling else []:
            self._scaler.unscale_(optimizer)
        norms = {n: gradient_norm(o.masters).item() for n, o in self._optimizers.items()}
        finite = all(math.isfinite(norm) for norm in norms.values())
        if finite and math.isfinite(loss):
            for name, optimizer in self._optimizers.items():
                clip_gradient(optimizer.masters, norms[name], self._clip)
                optimizer.step()
            told |= norms
        elif scaling and math.isfinite(loss) and self.scale > 1:
            told["overflowed"] = 1.0
        if scaling and learning:
            self._scaler.update()
        self.zero()
        return told

    def zero(self) -> None:
        """Forgets all gradients."""
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must carry: the scale and how long it has held; empty without one."""
        return dict(self._scaler.state_dict())

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes `state` back. KeyError for one without a scale where there is one."""
        if self._scaler.is_enabled():
            if "scale" not in state:
                raise KeyError("loss_scale")
            self._scaler.load_state_dict(dict(state))


def _has_gradient(optimizer: AdamW) -> bool:
    return any(master.grad is not None for master in optimizer.masters)
