"""Weights, prompts and rollouts as the compiled loops read them: joined, folded, in panels.

A packed matrix W of (count, columns) is (panels, count, PANEL): a tile of a product reads its panel
from front to back. Or it is (panels, pairs, 32) of bfloat16 numbers, as `narrow_tiles.py` says.
Norms' weights are folded into the maps that follow them; query, key and value maps are joined, and
so are gate and up. Not here: filling them from a model (`rollouts/packed.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from oneshot_rlvr.kernels.tiles import PANEL, WIDTH

Array = np.ndarray[Any, Any]

OWN = 4 * WIDTH
"""Positions of a block of a rollout's own keys."""


def padded(columns: int) -> int:
    """To whole panels."""
    return -(-columns // PANEL) * PANEL


class Weights(NamedTuple):
    """Of all layers. Biases, and norms of heads, have no columns where there are none."""

    table: Array  # (V, width)
    qkv: Array  # (layers, panels, width, PANEL)
    qkv_bias: Array  # (layers, heads + 2 kv of a size)
    head_norms: Array  # (layers, queries and keys, size)
    out: Array
    out_bias: Array
    gate_up: Array  # panels of gate, then of up
    gate_up_bias: Array
    down: Array
    down_bias: Array
    head: Array  # (1, panels, width, PANEL)
    head_bias: Array
    epsilons: Array  # (layers + 1, before attention, before the MLP, queries, keys); last: the end
    vocabulary: Array  # (1): V
    read: Array  # (1): heads * size


class Prompts(NamedTuple):
    """B prompts, processed."""

    keys: Array  # (layers, kv, B, panels, size, PANEL): columns are positions
    values: Array  # (layers, kv, B, P, size, padded)
    lengths: Array  # (B)
    turns: Array  # (positions, cosines and sines, size / 2)


class Own(NamedTuple):
    """What n rollouts have of their own, and room for what is computed of them."""

    keys: Array  # (layers, n, kv, blocks, size, OWN): columns are positions
    values: Array  # (layers, n, kv, positions, size, padded)
    which: Array  # (n): the prompt that a rollout continues
    sequence: Array  # (n): which rollout sits in a slot
    x: Array  # (n, width, padded)
    normed: Array  # (n, width)
    qkv: Array  # (n, heads + 2 kv of a size, padded)
    mixed: Array  # (n, heads * size)
    hidden: Array  # (some rows, gate and up, each padded)
    logits: Array  # (n, V, padded)


class Drawn(NamedTuple):
    """What is drawn with, and what was: (T, N), position first."""

    uniforms: Array
    tokens: Array
    logprobs: Array
