"""A decoder layer's two halves around attention, as the engine calls them at every position.

`Plan` is made at the beginning of a call of the engine and dies with it, so that it can never be
stale. Per layer it knows two things: from a layer's input to queries, keys and values (`inputs`),
and from what attention read to the layer's output (`finish`).

`PlainPlan` reads the parameters where they lie. Where `packs` says so, compiled loops do all of
this from packed weights instead (`packed.py`).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneshot_rlvr.policy.decoder import Decoder

# Beyond this a second copy of the weights costs more memory than it is worth.
_LARGEST_BYTES = 1 << 30


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


def packs(decoder: Decoder) -> bool:
    """Whether the compiled loops stand for this model: plain maps, float32, a CPU, not huge."""
    if decoder.device.type != "cpu" or decoder.dtype != torch.float32:
        return False
    parameters = list(decoder.model.parameters())
    if sum(p.numel() * p.itemsize for p in parameters) > _LARGEST_BYTES:
        return False
    maps = [getattr(layer.self_attn, f"{n}_proj") for layer in decoder.layers for n in "qkvo"]
    maps += [
        getattr(layer.mlp, f"{n}_proj") for layer in decoder.layers for n in ("gate", "up", "down")
    ]
    return all(type(m) is nn.Linear for m in [*maps, decoder.model.lm_head])


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


def _joint(layer: Any) -> tuple[Tensor, Tensor | None] | None:
    """Query, key and value projection as one matrix: a copy, worth it for a whole generation.

    None where they are not plain linear maps (an adapter, say).
    """
    maps = [getattr(layer.self_attn, f"{name}_proj") for name in "qkv"]
    if any(type(m) is not nn.Linear for m in maps):
        return None
    bias = None if maps[0].bias is None else torch.cat([m.bias for m in maps])
    return torch.cat([m.weight for m in maps]), bias
