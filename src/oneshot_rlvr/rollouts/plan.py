"""The weights as one call of the engine reads them: joined, folded, packed, and thrown away.

`Plan` is made from the model's weights at the beginning of a call and dies with it, so that it can
never be stale. Per layer it knows two things: from a layer's input to rotated queries, keys and
values (`project`), and from what attention read to the layer's output (`finish`).

`PackedPlan` (CPU, float32 and float64, plain linear layers) joins query, key and value projections,
folds the norms' weights and the attention scale into them, and interleaves the halves of each head,
so that the rotary embedding is one complex product in place. `PlainPlan` stands for everything
else: 16-bit weights, other devices, adapters; it reads the parameters where they lie.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from oneshot_rlvr.policy.decoder import Decoder, Joint, Rotation
from oneshot_rlvr.policy.linear import Linear

# Beyond this a second copy of the weights costs more memory than it is worth.
_LARGEST_PACK_BYTES = 1 << 30


class Plan(Protocol):
    """How to decode with some weights. x is (n, width)."""

    layers: int
    key_order: Tensor | None  # how the components of a head's keys are permuted; None: not at all

    def embed(self, tokens_n: Tensor) -> Tensor:
        """(n, width)."""
        ...

    def rotation(self, positions: Tensor) -> Any:
        """What `project` wants to know of the positions (n) or (1)."""
        ...

    def project(self, layer: int, x: Tensor, rotation: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (kv, n, heads per kv, size), scaled; keys and values (n, kv, size)."""
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
    if decoder.device.type != "cpu" or decoder.dtype not in (torch.float32, torch.float64):
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

    key_order: Tensor | None = None

    def __init__(self, decoder: Decoder):
        self._decoder = decoder
        self._joints: list[Joint | None] = decoder.joint_projections()
        self.layers = len(decoder.layers)

    def embed(self, tokens_n: Tensor) -> Tensor:
        return self._decoder.embed(tokens_n)

    def rotation(self, positions: Tensor) -> Rotation:
        return self._decoder.rotation(positions)

    def project(self, layer: int, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        decoder = self._decoder
        query, key, value = decoder.attention_inputs(
            decoder.layers[layer], x, rotation, self._joints[layer]
        )
        query = query.unflatten(1, (decoder.kv_heads, -1)).transpose(0, 1).contiguous()
        return query.mul_(decoder.head_size**-0.5), key, value

    def finish(self, layer: int, x: Tensor, mixed: Tensor) -> Tensor:
        return self._decoder.after_attention(self._decoder.layers[layer], x, mixed)

    def logits(self, x: Tensor) -> Tensor:
        return self._decoder.logits(x)


class PackedPlan:
    """Everything that can be done to the weights once instead of to every token."""

    def __init__(self, decoder: Decoder, rows: int):
        self._decoder = decoder
        self._table = decoder.model.model.embed_tokens.weight.detach()
        self.layers = len(decoder.layers)
        self._query_width = decoder.heads * decoder.head_size
        half = decoder.head_size // 2
        # Component i and its partner i + half side by side: a pair is a complex number.
        self.key_order: Tensor | None = torch.arange(decoder.head_size).view(2, half).T.flatten()
        self._layers = [
            _PackedLayer(decoder, layer, self.key_order, rows) for layer in decoder.layers
        ]
        norm = decoder.body.norm
        self._epsilon = float(norm.variance_epsilon)
        head = decoder.model.lm_head
        self._head = Linear(head.weight.detach() * norm.weight.detach(), head.bias, rows)

    def embed(self, tokens_n: Tensor) -> Tensor:
        return self._table.index_select(0, tokens_n)

    def rotation(self, positions: Tensor) -> Tensor:
        return self._decoder.turns(positions)

    def project(self, layer: int, x: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._layers[layer].project(x, rotation)

    def finish(self, layer: int, x: Tensor, mixed: Tensor) -> Tensor:
        return self._layers[layer].finish(x, mixed)

    def logits(self, x: Tensor) -> Tensor:
        return self._head(_normed(x, self._epsilon))


class _PackedLayer:
    def __init__(self, decoder: Decoder, layer: Any, order: Tensor, rows: int):
        attention, mlp = layer.self_attn, layer.mlp
        first, second = layer.input_layernorm, layer.post_attention_layernorm
        self._first, self._second = float(first.variance_epsilon), float(second.variance_epsilon)
        self._heads, self._kv, size = decoder.heads, decoder.kv_heads, decoder.head_size
        scale = size**-0.5
        # Qwen3 norms each head, which undoes a factor before it: there the scale comes after.
        self._norms: tuple[Tensor, Tensor, float] | None = None
        if hasattr(attention, "q_norm"):
            self._norms = (
                attention.q_norm.weight.detach()[order] * scale,
                attention.k_norm.weight.detach()[order],
                float(attention.q_norm.variance_epsilon),
            )
        weights, biases = [], []
        for name, heads, factor in (
            ("q_proj", self._heads, 1.0 if self._norms else scale),
            ("k_proj", self._kv, 1.0),
            ("v_proj", self._kv, None),
        ):
            module = getattr(attention, name)
            weight, bias = module.weight.detach(), module.bias
            bias = None if bias is None else bias.detach()
            if factor is not None:
                weight = weight.view(heads, size, -1)[:, order].flatten(0, 1) * factor
                bias = None if bias is None else bias.view(heads, size)[:, order].flatten() * factor
            weights.append(weight)
            biases.append(bias)
        joint = torch.cat(weights) * first.weight.detach()
        bias = None if biases[0] is None else torch.cat([b for b in biases if b is not None])
        self._inputs = Linear(joint, bias, rows)
        self._output = _linear(attention.o_proj, None, rows)
        self._gate = _linear(mlp.gate_proj, second.weight, rows)
        self._up = _linear(mlp.up_proj, second.weight, rows)
        self._down = _linear(mlp.down_proj, None, rows)

    def project(self, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        both = self._inputs(_normed(x, self._first)).view(len(x), self._heads + 2 * self._kv, -1)
        query, key, value = both.split([self._heads, self._kv, self._kv], 1)
        if self._norms is not None:
            query_weight, key_weight, epsilon = self._norms
            query = _normed(query, epsilon).mul_(query_weight)
            key = _normed(key, epsilon).mul_(key_weight)
        # Straight into the order in which attention wants the queries.
        kv, per_kv, n = self._kv, self._heads // self._kv, len(x)
        turned = query.new_empty(kv, n, per_kv, query.shape[-1])
        pairs = _pairs(query).view(n, kv, per_kv, -1).transpose(0, 1)
        torch.mul(pairs, turns[None], out=_pairs(turned))
        return turned, torch.view_as_real(_pairs(key) * turns).flatten(2), value

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = self._output.plus(mixed, x)
        normed = _normed(x, self._second)
        return self._down.plus(self._up.times(normed, self._gate.silu(normed)), x)


def _linear(module: nn.Linear, norm_weight: Tensor | None, rows: int) -> Linear:
    weight = module.weight.detach()
    bias = None if module.bias is None else module.bias.detach()
    return Linear(weight if norm_weight is None else weight * norm_weight.detach(), bias, rows)


def _normed(x: Tensor, epsilon: float) -> Tensor:
    """Root-mean-square norm of the last axis without its weight."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return x * square.div_(x.shape[-1]).add_(epsilon).rsqrt_()


def _pairs(x: Tensor) -> Tensor:
    """(..., size) as (..., size / 2) complex numbers, a view."""
    return torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))
