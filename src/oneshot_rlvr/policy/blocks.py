"""The two halves of a decoder layer around attention, each one differentiable operation.

Autograd's own backward of a layer passes over the wide matrices of the MLP about twenty times; here
it is seven, and less is kept: with x the layer's input and a what attention read,

    inputs:  n = norm(x) w1;  q, k, v = n Wq + bq, n Wk + bk, n Wv + bv
    outputs: y = x + a Wo;  m = norm(y) w2;  g = m Wg;  u = m Wu;  out = y + (silu(g) u) Wd

`outputs` keeps y, g and u only; n, m and silu(g) u are made again. In float32 both are compiled
loops (`compiled_blocks.py`), else operations of torch. `narrow`: the loops' products are of
bfloat16 numbers.

Not here: attention, rotation, and layers that are more than plain linear maps (`plain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.kernels import narrow as cpu
from oneshot_rlvr.policy import compiled_blocks

_INPUTS = ("q_proj", "k_proj", "v_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")


def plain(layer: Any, x: Tensor) -> bool:
    """Whether the operations here stand for this layer: plain maps, full precision, on a CPU."""
    maps = [getattr(layer.self_attn, name) for name in (*_INPUTS, "o_proj")]
    maps += [getattr(layer.mlp, name) for name in _MLP]
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and all(type(m) is nn.Linear for m in maps)
        and all(m.bias is None for m in maps[3:])
    )


def compiles(layer: Any, x: Tensor) -> bool:
    """Whether compiled loops stand for this layer."""
    return x.dtype == torch.float32 and plain(layer, x)


def refuse_unless_narrow(key: str, device: torch.device) -> None:
    """ModelError where a recipe's key asks a CPU for bfloat16 products that it does not make."""
    if device.type == "cpu" and not cpu.instructions():
        raise ModelError(
            f'{key} is "bfloat16" and this CPU has no instructions that multiply bfloat16 numbers '
            "(AVX512-BF16 or AMX), so that it would be slower and less exact than float32; leave "
            f"{key} out."
        )


def narrows(layers: Sequence[Any], like: Tensor) -> bool:
    """Whether autocast asks for bfloat16 products and the loops make them of all these layers."""
    asked = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    if not asked or not cpu.instructions():
        return False
    with torch.autocast("cpu", enabled=False):
        return all(compiles(layer, like) for layer in layers)


def inputs(layer: Any, x: Tensor, narrow: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (M, heads * size) of tokens x (M, width), not yet rotated."""
    norm, maps = layer.input_layernorm, [getattr(layer.self_attn, name) for name in _INPUTS]
    if compiles(layer, x):
        q, k, v = side_by_side(layer, x, narrow).split([len(m.weight) for m in maps], 1)
        return q, k, v
    q, k, v = _Inputs.apply(
        x, norm.weight, norm.variance_epsilon, *(m.weight for m in maps), *(m.bias for m in maps)
    )
    return q, k, v


def side_by_side(layer: Any, x: Tensor, narrow: bool = False) -> Tensor:
    """The same as one matrix, of a layer that compiles."""
    norm, maps = layer.input_layernorm, [getattr(layer.self_attn, name) for name in _INPUTS]
    biases = None if maps[0].bias is None else [m.bias for m in maps]
    weights = [m.weight for m in maps]
    epsilon = norm.variance_epsilon
    return compiled_blocks.inputs(x, norm.weight, epsilon, weights, biases, narrow)


def outputs(layer: Any, x: Tensor, mixed: Tensor, narrow: bool = False) -> Tensor:
    """The layer's output (M, width) from its input and what attention read (M, heads * size)."""
    norm, out = layer.post_attention_layernorm, layer.self_attn.o_proj.weight
    mlp = [getattr(layer.mlp, name).weight for name in _MLP]
    if compiles(layer, x):
        epsilon = norm.variance_epsilon
        return compiled_blocks.outputs(x, mixed, out, norm.weight, epsilon, mlp, narrow)
    result: Tensor = _Outputs.apply(x, mixed, out, norm.weight, norm.variance_epsilon, *mlp)
    return result


def _scale(x: Tensor, epsilon: float) -> Tensor:
    """(mean of squares + epsilon)^(-1/2) over the last axis, which stays."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return square.div_(x.shape[-1]).add_(epsilon).rsqrt_()


def _norm_backward(grad: Tensor, x: Tensor, scale: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of norm(x) w for x and w; overwrites `grad`. See `norm.py`."""
    product_ = grad * x
    grad_weight = (scale.T @ product_)[0]
    share = (product_ @ weight).unsqueeze(-1).mul_(scale**3).div_(-x.shape[-1])
    return grad.mul_(weight).mul_(scale).addcmul_(x, share), grad_weight


class _Inputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, epsilon: float, *maps: Any
    ) -> tuple[Tensor, ...]:
        scale = _scale(x, epsilon)
        normed = (x * scale).mul_(weight)
        ctx.save_for_backward(x, scale, weight, *maps[:3])
        ctx.biased = maps[3] is not None
        return tuple(F.linear(normed, w, b) for w, b in zip(maps[:3], maps[3:], strict=True))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, weight, *maps = ctx.saved_tensors
        normed = (x * scale).mul_(weight)
        grad = grads[0] @ maps[0]
        for g, w in zip(grads[1:], maps[1:], strict=True):
            grad.addmm_(g, w)
        grad_x, grad_weight = _norm_backward(grad, x, scale, weight)
        grad_maps = [g.T @ normed for g in grads]
        grad_biases = [g.sum(0) if ctx.biased else None for g in grads]
        return grad_x, grad_weight, None, *grad_maps, *grad_biases


class _Outputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mixed: Tensor,
        w_out: Tensor,
        weight: Tensor,
        epsilon: float,
        w_gate: Tensor,
        w_up: Tensor,
        w_down: Tensor,
    ) -> Tensor:
        y = torch.addmm(x, mixed, w_out.T)
        scale = _scale(y, epsilon)
        normed = (y * scale).mul_(weight)
        gate, up = normed @ w_gate.T, normed @ w_up.T
        ctx.save_for_backward(y, scale, mixed, gate, up, w_out, weight, w_gate, w_up, w_down)
        return torch.addmm(y, F.silu(gate).mul_(up), w_down.T)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, scale, mixed, gate, up, w_out, weight, w_gate, w_up, w_down = ctx.saved_tensors
        grad = grads[0]
        active = F.silu(gate)
        grad_down = grad.T @ (active * up)
        grad_hidden = grad @ w_down
        grad_up = active.mul_(grad_hidden)
        grad_gate = torch.ops.aten.silu_backward(grad_hidden.mul_(up), gate)
        grad_normed = (grad_up @ w_up).addmm_(grad_gate, w_gate)
        normed = (y * scale).mul_(weight)
        grads_mlp = grad_gate.T @ normed, grad_up.T @ normed
        grad_y, grad_weight = _norm_backward(grad_normed, y, scale, weight)
        grad_y.add_(grad)
        grad_mixed = grad_y @ w_out
        return grad_y, grad_mixed, grad_y.T @ mixed, grad_weight, None, *grads_mlp, grad_down
