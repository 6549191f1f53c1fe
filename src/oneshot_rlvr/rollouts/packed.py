"""A model's weights and processed prompts in the layout of `kernels/packing.py`, from tensors.

Weights are packed at the beginning of a call of the engine and thrown away with it: they can never
be stale. Maps may be rounded to bfloat16, for products whose sums are float32. Not here: other
devices and types, adapters (`plan.py`).
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
from oneshot_rlvr.policy.lanes import in_lanes, lane_count, share_out
from oneshot_rlvr.rollouts.attention import Prefix


def pack_weights(decoder: Decoder, narrow: bool = False) -> Weights:
    """The weights as they are now; `narrow`: the maps' rounded to bfloat16."""
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
    pack = _narrow if narrow else _wide
    return Weights(
        table=_array(decoder.model.model.embed_tokens.weight),
        qkv=pack([[torch.cat([m.weight for m in maps])] for maps in inputs], first),
        qkv_bias=_stacked(_bias(maps) for maps in inputs),
        head_norms=np.stack([_norms(heads, decoder.head_size) for heads in norms]),
        out=pack([[a.o_proj.weight] for a in attention]),
        out_bias=_stacked(_bias([a.o_proj]) for a in attention),
        gate_up=pack([[m.weight for m in maps] for maps in both], second),
        gate_up_bias=_stacked(
            _joined([_bias([m])[:, None] for m in maps]).flatten()
            if maps[0].bias is not None
            else _bias(maps)
            for maps in both
        ),
        down=pack([[m.down_proj.weight] for m in mlp]),
        down_bias=_stacked(_bias([m.down_proj]) for m in mlp),
        head=pack([[head.weight]], [last.weight]),
        head_bias=_stacked([_bias([head])]),
        epsilons=np.array(epsilons, np.float32),
        vocabulary=np.array([head.weight.shape[0]]),
        read=np.array([decoder.heads * decoder.head_size]),
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


def _wide(maps: list[list[Tensor]], norms: list[Tensor] | None = None) -> Array:
    """Of each layer some maps, one after the other, each times its layer's norm."""
    return _stacked(
        _joined([m if norms is None else m * norms[layer] for m in of_layer])
        for layer, of_layer in enumerate(maps)
    )


def _narrow(maps: list[list[Tensor]], norms: list[Tensor] | None = None) -> Array:
    """The same in bfloat16, layers dealt to lanes."""
    from oneshot_rlvr.kernels.narrow_products import pack_map, packed_shape

    counts = [packed_shape(*m.shape)[0] for m in maps[0]]
    ends = np.cumsum(counts)
    packed = np.empty((len(maps), ends[-1], *packed_shape(*maps[0][0].shape)[1:]), np.uint32)
    nothing = torch.empty(0)

    def lane(layers: list[int]) -> None:
        for layer in layers:
            for m, count, end in zip(maps[layer], counts, ends, strict=True):
                scale = nothing if norms is None else norms[layer]
                pack_map(_array(m), _array(scale), packed[layer, end - count : end])

    in_lanes(lane, share_out([1] * len(maps), lane_count(maps[0][0].device)))
    return packed


def _joined(maps: Sequence[Tensor]) -> Tensor:
    """One map of several, each in panels of its own."""
    made = [panels(m) for m in maps]
    return torch.cat(made) if len(made) > 1 else made[0]


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
