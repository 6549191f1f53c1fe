"""Rollouts in mid-generation whose prompts are processed once and held once.

`prefill` runs distinct prompts through the model; `PrefixState` decodes rollouts of some of them.
How they read the prompts' keys is in `attention.py`, their own keys are in `own_keys.py`.

Not here: sampling, and which rollouts are decoded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from oneshot_rlvr.policy import blocks
from oneshot_rlvr.policy.decoder import Decoder, Rotation
from oneshot_rlvr.rollouts.attention import Prefix, ProductAttention
from oneshot_rlvr.rollouts.own_keys import OwnKeys
from oneshot_rlvr.rollouts.plan import Plan


def prefill(decoder: Decoder, prompts_B: Sequence[Sequence[int]], pad_id: int) -> Prefix:
    """Runs the prompts through the model, together."""
    device = decoder.device
    lengths_B = torch.tensor([len(p) for p in prompts_B])
    B, P = len(prompts_B), int(lengths_B.max())
    tokens_B_P = torch.full((B, P), pad_id)
    for b, prompt in enumerate(prompts_B):
        tokens_B_P[b, : len(prompt)] = torch.tensor(prompt)
    x = decoder.embed(tokens_B_P.to(device))
    rotation = decoder.rotation(torch.arange(P, device=device))
    keys, values = [], []
    for layer in decoder.layers:
        q, k, v = (y.transpose(1, 2) for y in _inputs(decoder, layer, x, rotation))
        # Causal attention never reaches the padding after a prompt.
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = _outputs(decoder, layer, x, mixed.transpose(1, 2).reshape(B, P, -1))
        keys.append(k.transpose(0, 1).contiguous())
        values.append(v.transpose(0, 1).contiguous())
    lengths_B = lengths_B.to(device)
    last_B = x[torch.arange(B, device=device), lengths_B - 1]
    return Prefix(keys, values, lengths_B, decoder.logits(last_B))


def _inputs(
    decoder: Decoder, layer: Any, x: Tensor, rotation: Rotation
) -> tuple[Tensor, Tensor, Tensor]:
    """As `Decoder.attention_inputs`, in loops where those make products of bfloat16 numbers."""
    if not decoder.narrow or not blocks.compiles(layer, x):
        return decoder.attention_inputs(layer, x, rotation)
    flat = blocks.inputs(layer, x.flatten(0, 1), narrow=True)
    query, key, value = (y.reshape(*x.shape[:2], -1) for y in flat)
    return decoder.rotated(layer, query, key, value, rotation)


def _outputs(decoder: Decoder, layer: Any, x: Tensor, mixed: Tensor) -> Tensor:
    """As `Decoder.after_attention`, in the same way."""
    if not decoder.narrow or not blocks.compiles(layer, x):
        return decoder.after_attention(layer, x, mixed)
    return blocks.outputs(layer, x.flatten(0, 1), mixed.flatten(0, 1), narrow=True).view_as(x)


class PrefixState:
    """n rollouts; rollout n continues prompt `which_n[n]` of the prefix."""

    def __init__(self, decoder: Decoder, plan: Plan, prefix: Prefix, which_n: Tensor):
        self._plan, self._prefix, self._which_n = plan, prefix, which_n
        self._own = OwnKeys(prefix.keys[0], plan.layers, len(which_n))
        self._attention = ProductAttention(decoder)
        self._attention.arrange(prefix, which_n)

    def start(self) -> Tensor:
        """Logits (n, V) after the prompts."""
        return self._prefix.logits_B_V[self._which_n]

    def advance(self, tokens_n: Tensor) -> Tensor:
        """Appends one token to each rollout; logits (n, V) after it."""
        plan, own = self._plan, self._own
        own.begin(len(tokens_n))
        self._attention.begin(own)
        x = plan.embed(tokens_n)
        for layer in range(plan.layers):
            mixed = self._attention(layer, plan.inputs(layer, x), own)
            x = plan.finish(layer, x, mixed)
        return plan.logits(x)

    def keep(self, slots_m: Tensor) -> None:
        """Only these slots go on, as 0..m-1: those that stay where they are cost nothing."""
        m = len(slots_m)
        target = torch.arange(m, device=slots_m.device)
        moved = (slots_m != target).nonzero()[:, 0]
        if len(moved):
            self._own.keep(slots_m[moved], moved)
        self._which_n = self._which_n[slots_m]
        self._drop_prompts()
        self._attention.arrange(self._prefix, self._which_n)

    def _drop_prompts(self) -> None:
        """Prompts without a rollout leave when they are a quarter of all."""
        B = len(self._prefix.lengths_B)
        alive_b, which_n = self._which_n.unique(return_inverse=True)
        if len(alive_b) <= 0.75 * B:
            self._prefix, self._which_n = self._prefix.of(alive_b), which_n
