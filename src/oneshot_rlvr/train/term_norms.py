"""The gradient norm of each term of the loss, measured beside the update and without a trace in it.

Whether a term matters is seen in its gradient, not in its value: the paper's KL term is near zero
and so is its pull. Costs a forward and backward pass per term, hence only every
`train.term_norms_every` steps, over the step's first update, before anything has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from oneshot_rlvr.algorithms.batch import LossOutputs


def term_norms(
    parts: Callable[[], Iterable[LossOutputs]],
    parameters: Iterable[nn.Parameter],
    scale: float = 1.0,
) -> dict[str, float]:
    """L2 norm over all parameters by term name, weighted as in the loss; `.grad` is not touched.

    `parts` computes the update's losses anew, part after part; a term's gradient is their sum.
    `scale`: terms are multiplied by it and their norms divided, as the loss itself is in float16.
    """
    trained = list(parameters)
    names = dict.fromkeys(name for output in _without_gradient(parts) for name in output.weighted)
    norms = {}
    for name in names:
        total: list[Tensor | None] = [None] * len(trained)
        for output in parts():
            term = output.weighted[name]
            if not term.requires_grad:  # nothing in it depends on what is trained
                continue
            gradients = torch.autograd.grad(scale * term, trained, allow_unused=True)
            total = [_sum(one, other) for one, other in zip(total, gradients, strict=True)]
        told = [torch.linalg.vector_norm(g.float()) for g in total if g is not None]
        whole = torch.linalg.vector_norm(torch.stack(told)).item() if told else 0.0
        norms[name] = whole / scale
    return norms


@torch.no_grad()
def _without_gradient(parts: Callable[[], Iterable[LossOutputs]]) -> list[LossOutputs]:
    """The first part is enough to know the terms' names."""
    return [next(iter(parts()))]


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other
