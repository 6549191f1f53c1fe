"""The weights as one call of the engine reads them: joined, folded, packed, and thrown away.

`Plan` is made from the model's weights at the beginning of a call and dies with it, so that it can
never be stale. Per layer it knows two things: from a layer's input to queries, keys and values
(`inputs`), and from what attention read to the layer's output (`finish`).

`PackedPlan` (CPU, float32, plain linear layers) joins query, key and value projections and folds
the norms' weights into them. `PlainPlan` stands for everything else: other types and devices,
adapters; it reads the parameters where they lie.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.policy.linear import Linear

# Beyond this a second copy of the weights costs more memory than it is worth.
_LARGEST_PACK_BYTES = 1 << 30


class Plan(Protocol):
    """How to decode with some weights. x is (n, width)."""

    layers: int

    def embed(self, tokens_n: Tensor) -> Tensor:
        """(n, width)."""
        ...

    def inputs(self, layer: int, x: Tensor) -> Tensor:
        """Queries, keys and values (n, heads + 2 kv, size), not rotated."""
        ...

    def finish(self, layer: int, x: Tensor, mixed: Tensor) -> Tensor:
        """The layer's output from its input and `mixed` (n, heads * size)."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """(n, V)."""
        ...


def make_plan(decoder: Decoder, rows: int) -> Plan:
    """The plan for these weights as they are now, and for about so many rows at a time."""
    return PackedPlan(decoder, rows) if _packs(decoder) else PlainPlan(decoder)


def _packs(decoder: Decoder) -> bool:
    if decoder.device.type != "cpu" or decoder.dtype != torch.float32:
        return False
    parameters = list(decoder.model.parameters())
    if sum(p.numel() * p.itemsize for p in parameters) > _LARGEST_PACK_BYTES:
        return False
    maps = [m for layer in decoder.layers for m in _maps(layer)]
    return all(type(m) is nn.Linear for m in [*maps, decoder.model.lm_head])


def _maps(layer: Any) -> list[Any]:
    a, m = layer.self_attn, layer.mlp
    return [a.q_proj, a.k_proj, a.v_proj, a.o_proj, m.gate_proj, m.up_proj, m.down_proj]


class PlainPlan:
    """The decoder's own pieces."""

    def __init__(self, decoder: Decoder):
        self._decoder = decoder
        self.layers = len(decoder.layers)
        self._joints = [_joint(layer) for layer in decoder.layers]

    def embed(self, tokens_n: Tensor) -> Tensor:
        return self._decoder.embed(tokens_n)

    def inputs(self, layer: int, x: Tensor) -> Tensor:
        decoder, module, joint = self._decoder, self._decoder.layers[layer], self._joints[layer]
        attention = module.self_attn
        normed = decoder.norm(module.input_layernorm, x)
        if joint is not None:
            qkv = F.linear(normed, *joint)
        else:
            maps = (attention.q_proj, attention.k_proj, attention.v_proj)
            qkv = torch.cat([m(normed) for m in maps], -1)
        qkv = qkv.view(len(x), -1, decoder.head_size)
        if hasattr(attention, "q_norm"):  # Qwen3
            query, key, value = qkv.split([decoder.heads, decoder.kv_heads, decoder.kv_heads], 1)
            query = decoder.norm(attention.q_norm, query)
            qkv = torch.cat([query, decoder.norm(attention.k_norm, key), value], 1)
        return qkv

    def finish(self, layer: int, x: Tensor, mixed: Tensor) -> Tensor:
        return self._decoder.after_attention(self._decoder.layers[layer], x, mixed)

    def logits(self, x: Tensor) -> Tensor:
        return self._decoder.logits(x)


class PackedPlan:
    """Everything that can be done to the weights once instead of to every token."""

    def __init__(self, decoder: Decoder, rows: int):
        from oneshot_rlvr.rollouts.kernels import norm  # numba takes its time

        self._table = decoder.model.model.embed_tokens.weight.detach()
        self.layers = len(decoder.layers)
        self._layers = [_PackedLayer(decoder, layer, rows, norm) for layer in decoder.layers]
        head, last = decoder.model.lm_head, decoder.body.norm
        self._norm = _Norm(norm, last)
        self._head = Linear(head.weight.detach() * last.weight.detach(), head.bias, rows)

    def embed(self, tokens_n: Tensor) -> Tensor:
        return self._table.index_select(0, tokens_n)

    def inputs(self, layer: int, x: Tensor) -> Tensor:
        return self._layers[layer].inputs(x)

    def finish(self, layer: int, x: Tensor, mixed: Tensor) -> Tensor:
        return self._layers[layer].finish(x, mixed)

    def logits(self, x: Tensor) -> Tensor:
        return self._head(self._norm(x))


class _PackedLayer:
    def __init__(self, decoder: Decoder, layer: Any, rows: int, norm: Any):
        attention, mlp = layer.self_attn, layer.mlp
        first, second = layer.input_layernorm, layer.post_attention_layernorm
        self._first, self._second = _Norm(norm, first), _Norm(norm, second)
        self._heads, self._kv, self._size = decoder.heads, decoder.kv_heads, decoder.head_size
        # Qwen3 norms each head; its weights cannot be folded into a map.
        self._by_head = [
            (_Norm(norm, module), module.weight.detach())
            for name in ("q_norm", "k_norm")
            if (module := getattr(attention, name, None)) is not None
        ]
        maps = [attention.q_proj, attention.k_proj, attention.v_proj]
        weight = torch.cat([m.weight.detach() for m in maps]) * first.weight.detach()
        biases = [m.bias.detach() for m in maps if m.bias is not None]
        self._inputs = Linear(weight, torch.cat(biases) if biases else None, rows)
        self._output = _linear(attention.o_proj, None, rows)
        self._gate = _linear(mlp.gate_proj, second.weight, rows)
        self._up = _linear(mlp.up_proj, second.weight, rows)
        self._down = _linear(mlp.down_proj, None, rows)

    def inputs(self, x: Tensor) -> Tensor:
        qkv = self._inputs(self._first(x)).view(len(x), -1, self._size)
        if self._by_head:
            parts = qkv.split([self._heads, self._kv, self._kv], 1)
            normed = [
                norm(part.reshape(-1, self._size)).view_as(part).mul_(weight)
                for (norm, weight), part in zip(self._by_head, parts[:2], strict=True)
            ]
            qkv = torch.cat([*normed, parts[2]], 1)
        return qkv

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = self._output.plus(mixed, x)
        normed = self._second(x)
        return self._down.plus(self._up.times(normed, self._gate.silu(normed)), x)


class _Norm:
    """Root-mean-square norm of rows without its weight, which is folded into the next map."""

    def __init__(self, kernel: Any, module: Any):
        self._kernel, self._epsilon = kernel, np.float32(module.variance_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        self._kernel(x.numpy(), self._epsilon, out.numpy())
        return out


def _joint(layer: Any) -> tuple[Tensor, Tensor | None] | None:
    """Query, key and value projection as one matrix: a copy, worth it for a whole generation.

    None where they are not plain linear maps (an adapter, say).
    """
    maps = [getattr(layer.self_attn, f"{name}_proj") for name in "qkv"]
    if any(type(m) is not nn.Linear for m in maps):
        return None
    bias = None if maps[0].bias is None else torch.cat([m.bias for m in maps])
    return torch.cat([m.weight for m in maps]), bias


def _linear(module: nn.Linear, norm_weight: Tensor | None, rows: int) -> Linear:
    weight = module.weight.detach()
    bias = None if module.bias is None else module.bias.detach()
    return Linear(weight if norm_weight is None else weight * norm_weight.detach(), bias, rows)
