"""Weights on the line through two checkpoints, and how near the real ones lie to it.

"Linear Dynamics in the RLVR Training of Large Language Models" (arXiv 2601.04537): weights move
nearly linearly with the step, so that

    W(t) = W(a) + (t - a) / (b - a) (W(b) - W(a))

predicts the weights of a later step t from those of two earlier ones. Read were the paper's
abstract and the authors' code (github.com/Miaow-Lab/RLVR-Linearity,
acceleration/weight_extrapolation.py), which has this formula with a = 0. It leaves the norms'
weights where they are at b and rounds to bfloat16; here all weights move, and keep their type. The
paper also extrapolates outputs, and trains on from predicted weights in turns; neither is here.
Computed in float64, a tensor at a time. Not here: where checkpoints lie, and what the predicted
model is worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.policy.load import Policy


def extrapolated(before: Tensor, after: Tensor, reach: float) -> Tensor:
    """before + reach (after - before), in float64; reach 0 gives `before`, 1 gives `after`."""
    start, end = before.double(), after.double()
    return start + reach * (end - start)


@dataclass(frozen=True, slots=True)
class Straightness:
    """How the real weights of a step compare with those that the line predicts.

    cosine: between the move from a to b and the real move from b to the step; 1 is a straight line.
    error: |predicted - real| / |real - b|; 0 is exact, 1 no nearer than b itself. Both nan where
    nothing moved.
    """

    cosine: float
    error: float


def straightness(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    real: Mapping[str, Tensor],
    reach: float,
) -> Straightness:
    """Over all weights together; the three hold the same names and shapes."""
    first = second = both = missed = 0.0
    seen = set()
    for name, end in after.items():
        weights = (id(before[name]), id(end), id(real[name]))
        if weights in seen:  # tied
            continue
        seen.add(weights)
        start, there = before[name].double(), real[name].double()
        known, then = end.double() - start, there - end.double()
        first += float((known * known).sum())
        second += float((then * then).sum())
        both += float((known * then).sum())
        off = (reach - 1) * known - then
        missed += float((off * off).sum())
    if first == 0 or second == 0:
        return Straightness(math.nan, math.nan)
    return Straightness(both / math.sqrt(first * second), math.sqrt(missed / second))


@torch.no_grad()
def put_on_line(
    policy: Policy, before: Mapping[str, Tensor], after: Mapping[str, Tensor], reach: float
) -> None:
    """The policy's weights become those predicted, each rounded once to the type it has."""
    for name, parameter in policy.model.named_parameters():
        parameter.copy_(extrapolated(before[name], after[name], reach))


def exact_weights(policy: Policy, directory: Path, optimizer: str) -> dict[str, Tensor]:
    """The policy's weights by name, as training holds them.

    Weights in 16 bits are trained through float32 masters, which lie with the optimizer's state (a
    file `optimizer` in the checkpoint): the steps between two checkpoints are often smaller than
    the spacing of the 16-bit numbers, and a line through rounded points would multiply that.
    """
    from safetensors import safe_open

    own = {name: p.detach() for name, p in policy.model.named_parameters()}
    exact = dict(own)
    file = directory / optimizer
    if file.is_file() and any(w.dtype.itemsize < 4 for w in own.values()):
        with safe_open(file, framework="pt") as state:
            there = set(state.keys())
            for number, name in enumerate(own):
                if f"{number}.master" in there:
                    exact[name] = state.get_tensor(f"{number}.master")
    # A weight that is tied has two names.
    places = {weight.data_ptr(): exact[name] for name, weight in own.items()}
    for name, tensor in policy.model.state_dict().items():
        if tensor.data_ptr() in places:
            exact.setdefault(name, places[tensor.data_ptr()])
    return exact


def same_model(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str | None:
    """The first weight that differs in name or shape; None where the two are of one model."""
    for name in sorted({*one, *other}):
        if name not in one or name not in other or one[name].shape != other[name].shape:
            return name
    return None


def refuse_other_models(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor], names: tuple[str, str]
) -> None:
    """ModelError where weights have other names or shapes."""
    odd = same_model(one, other)
    if odd is not None:
        raise ModelError(
            f'{names[0]} and {names[1]} are of different models ("{odd}" differs), and no line '
            "goes through both; name two checkpoints of one run."
        )
