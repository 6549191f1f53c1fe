"""A model's weights and processed prompts in the layout of `kernels/packing.py`, from tensors.

Weights are packed at the beginning of a call of the engine and thrown away with it: they can never
be stale. Not here: other devices and types, adapters (`plan.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oneshot_rlvr.kernels.packing import Array, Prompts, Weights, padded
from oneshot_rlvr.kernels.tiles import PANEL
from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.rollouts.attention import Prefix


def pack_weights(decoder: Decoder) -> Weights:
    """The weights as they are now."""
    layers, head, last = decoder.layers, decoder.model.lm_head, decoder.body.norm
    attention, mlp = [x.self_attn for x in layers], [x.mlp for x in layers]
    first = [x.input_layernorm.weight for x in layers]
    second = [x.post_attention_layernorm.weight for x in layers]
    inputs = [[a.q_proj, a.k_proj, a.v_proj] for a in attention]
    both = [[m.gate_proj, m.up_proj] for m in mlp]
    norms = [[a.q_norm, a.k_norm] if hasattr(a, "q_norm") else [] for a in attention]
    epsilons = [
        [x.input_layernorm.variance_epsilon, x.post_attention_layernorm.variance_epsilon]
        + [n.variance_epsilon for n in heads]
        for x, heads in zip(layers, norms, strict=True)
    ]
    epsilons.append([last.variance_epsilon] * len(epsilons[0]))
    return Weights(
        table=_array(decoder.model.model.embed_tokens.weight),
        qkv=_stacked(
            panels(torch.cat([m.weight for m in maps]) * norm)
            for maps, norm in zip(inputs, first, strict=True)
        ),
        qkv_bias=_stacked(_bias(maps) for maps in inputs),
        head_norms=np.stack([_norms(heads, decoder.head_size) for heads in norms]),
        out=_stacked(panels(a.o_proj.weight) for a in attention),
        out_bias=_stacked(_bias([a.o_proj]) for a in attention),
        gate_up=_stacked(
            _joined([m.weight * norm for m in maps])
            for maps, norm in zip(both, second, strict=True)
        ),
        gate_up_bias=_stacked(
            _joined([_bias([m])[:, None] for m in maps]).flatten()
            if maps[0].bias is not None
            else _bias(maps)
            for maps in both
        ),
        down=_stacked(panels(m.down_proj.weight) for m in mlp),
        down_bias=_stacked(_bias([m.down_proj]) for m in mlp),
        head=_stacked([panels(head.weight * last.weight)]),
        head_bias=_stacked([_bias([head])]),
        epsilons=np.array(epsilons, np.float32),
        vocabulary=np.array([head.weight.shape[0]]),
    )


def pack_prompts(decoder: Decoder, prefix: Prefix, new_tokens: int) -> Prompts:
    """Processed prompts, with the rotations of so many positions after the longest."""
    size, longest = prefix.keys[0].shape[-1], prefix.keys[0].shape[2]
    cosine, sine = decoder.angles(torch.arange(longest + new_tokens))
    values = torch.stack(prefix.values)
    return Prompts(
        keys=_array(panels(torch.stack(prefix.keys))),
        values=_array(nn.functional.pad(values, (0, padded(size) - size))),
        lengths=prefix.lengths_B.numpy(),
        turns=_array(torch.stack([cosine, sine], 1)),
    )


def panels(maps: Tensor) -> Tensor:
    """(..., columns, count), a map as torch has it, to (..., panels, count, PANEL)."""
    columns = maps.shape[-2]
    maps = nn.functional.pad(maps, (0, 0, 0, padded(columns) - columns))
    return maps.unflatten(-2, (-1, PANEL)).transpose(-1, -2)


def _joined(maps: Sequence[Tensor]) -> Tensor:
    """One map of several, each in panels of its own."""
    return torch.cat([panels(m) for m in maps])


def _bias(maps: Sequence[nn.Linear]) -> Tensor:
    biases: list[Tensor] = [m.bias for m in maps if m.bias is not None]
    return torch.cat(biases) if biases else torch.empty(0)


def _norms(heads: Sequence[Any], size: int) -> Array:
    if not heads:
        return np.empty((0, size), np.float32)
    return _array(torch.stack([norm.weight for norm in heads]))


def _stacked(tensors: Any) -> Array:
    return _array(torch.stack(list(tensors)))


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()
