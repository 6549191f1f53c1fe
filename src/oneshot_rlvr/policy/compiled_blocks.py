"""A decoder layer's training for a CPU, in three operations of compiled loops.

    inputs:  queries, keys and values of all tokens, side by side, not rotated
    attend:  what the tokens read, rotation included
    outputs: the layer's output

Kept for the backward pass are, per token, x, queries, keys, values, what attention read, y, gate
and up; everything else is made again. All is float32; with `narrow` products are of operands
rounded to bfloat16, attention's apart. Formulas and loops: `kernels/layer.py` and `attention.py`,
`narrow_layer.py`. One call runs on one thread, whatever torch's setting: `lanes.py` has the
cores.

Not here: other devices, types and layers (`blocks.py`, `shared_forward.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from oneshot_rlvr.kernels import attention, layer, narrow_layer
from oneshot_rlvr.kernels.tiles import WIDTH


def _array(x: Tensor) -> Any:
    return x.detach().contiguous().numpy()


def inputs(
    x: Tensor,
    weight: Tensor,
    epsilon: float,
    maps: list[Tensor],
    biases: list[Tensor] | None,
    narrow: bool = False,
) -> Tensor:
    """norm(x) (Wq, Wk, Wv)^T + b of tokens (M, width), (M, (heads + 2 kv) * size)."""
    out: Tensor = _Inputs.apply(narrow, x, weight, epsilon, *maps, *(biases or []))
    return out


def attend(
    qkv: Tensor, starts: Any, angles: tuple[Tensor, Tensor], keys: Tensor, values: Tensor
) -> Tensor:
    """What M tokens read from a prompt and from their own past, (M, heads * size).

    Row n's tokens are starts[n] to starts[n + 1]. `angles` are cosines and sines (longest row,
    size / 2); keys (rotated) and values (P, kv, size) are the prompt's.
    """
    out: Tensor = _Attend.apply(qkv, keys, values, starts, *angles)
    return out


def outputs(
    x: Tensor,
    mixed: Tensor,
    w_out: Tensor,
    weight: Tensor,
    epsilon: float,
    mlp: list[Tensor],
    narrow: bool = False,
) -> Tensor:
    """x + a Wo^T, and the MLP of it, (M, width); `mlp` is gate, up, down."""
    out: Tensor = _Outputs.apply(narrow, x, mixed, w_out, weight, epsilon, *mlp)
    return out


def _loops(narrow: bool) -> Any:
    """Two modules with the same entries."""
    return narrow_layer if narrow else layer


class _Inputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, narrow: bool, x: Tensor, weight: Tensor, epsilon: float, *maps_biases: Tensor
    ) -> Tensor:
        maps, biases = maps_biases[:3], maps_biases[3:]
        qkv = x.new_empty(x.shape[0], sum(len(m) for m in maps))
        bias = torch.cat(biases) if biases else x.new_empty(0)
        _loops(narrow).inputs(
            _array(x), _array(weight), np.float32(epsilon), *map(_array, maps), _array(bias),
            qkv.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(x, weight, *maps)
        ctx.epsilon, ctx.biased, ctx.narrow = epsilon, bool(biases), narrow
        return qkv

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *maps = ctx.saved_tensors
        grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
        sizes = [len(m) for m in maps]
        grad_maps, grad_weight = x.new_zeros(sum(sizes), x.shape[1]), torch.zeros_like(weight)
        grad_biases = x.new_zeros(sum(sizes) if ctx.biased else 0)
        _loops(ctx.narrow).inputs_backward(
            _array(grads[0]), _array(x), _array(weight), np.float32(ctx.epsilon),
            *map(_array, maps), grad_x.numpy(), grad_weight.numpy(), grad_maps.numpy(),
            grad_biases.numpy(),
        )  # fmt: skip
        biases = grad_biases.split(sizes) if ctx.biased else ()
        return None, grad_x, grad_weight, None, *grad_maps.split(sizes), *biases


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        keys: Tensor,
        values: Tensor,
        starts: Any,
        cosine: Tensor,
        sine: Tensor,
    ) -> Tensor:
        M, (_, kv, size) = qkv.shape[0], keys.shape
        heads = qkv.shape[1] // size - 2 * kv
        mixed, logsums = qkv.new_empty(M, heads * size), qkv.new_empty(M, heads)
        attention.attend(
            _array(qkv), starts, _array(cosine), _array(sine), _array(keys), _array(values),
            np.float32(size**-0.5), mixed.numpy(), logsums.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(qkv, keys, values, cosine, sine, mixed, logsums)
        ctx.starts = starts
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        qkv, keys, values, cosine, sine, mixed, logsums = ctx.saved_tensors
        P, kv, size = keys.shape
        grad_qkv = torch.empty_like(qkv, memory_format=torch.contiguous_format)
        grad_keys, grad_values = qkv.new_zeros(2, kv, P, -(-size // WIDTH) * WIDTH)
        attention.attend_backward(
            _array(grads[0]), _array(qkv), ctx.starts, _array(cosine), _array(sine), _array(keys),
            _array(values), np.float32(size**-0.5), _array(mixed), logsums.numpy(),
            grad_qkv.numpy(), grad_keys.numpy(), grad_values.numpy(),
        )  # fmt: skip
        of_prompt = (g[..., :size].transpose(0, 1) for g in (grad_keys, grad_values))
        return grad_qkv, *of_prompt, None, None, None


class _Outputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        narrow: bool,
        x: Tensor,
        mixed: Tensor,
        w_out: Tensor,
        weight: Tensor,
        epsilon: float,
        *mlp: Tensor,
    ) -> Tensor:
        y, out = torch.empty(x.shape), torch.empty(x.shape)
        gate_up = x.new_empty(len(x), 2 * len(mlp[0]))
        _loops(narrow).outputs(
            _array(x), _array(mixed), _array(w_out), _array(weight), np.float32(epsilon),
            *map(_array, mlp), y.numpy(), gate_up.numpy(), out.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(y, mixed, gate_up, w_out, weight, *mlp)
        ctx.epsilon, ctx.narrow = epsilon, narrow
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, mixed, gate_up, w_out, weight, *mlp = ctx.saved_tensors
        grad_x, grad_mixed = torch.empty_like(y), y.new_empty(mixed.shape)
        grad_out, grad_weight, grad_down = (torch.zeros_like(w) for w in (w_out, weight, mlp[2]))
        grad_gate_up = y.new_zeros(2 * len(mlp[0]), y.shape[1])
        _loops(ctx.narrow).outputs_backward(
            _array(grads[0]), y.numpy(), _array(mixed), gate_up.numpy(), _array(w_out),
            _array(weight), np.float32(ctx.epsilon), *map(_array, mlp), grad_x.numpy(),
            grad_mixed.numpy(), grad_out.numpy(), grad_weight.numpy(), grad_gate_up.numpy(),
            grad_down.numpy(),
        )  # fmt: skip
        gate, up = grad_gate_up.chunk(2)
        return None, grad_x, grad_mixed, grad_out, grad_weight, None, gate, up, grad_down
