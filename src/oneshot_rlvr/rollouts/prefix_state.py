"""Rollouts in mid-generation whose prompts are processed once and held once.

`prefill` runs distinct prompts through the model; `PrefixState` decodes rollouts of some of them.
A prompt's keys and values have no rollout axis: with B prompts of G rollouts each, attention to
them is B matrix products of all G rollouts at once, with grouped heads as they are (Ainslie et al.
2023, arXiv 2305.13245). A rollout's own keys are in `own_keys.py`.

No Python per rollout. Not here: sampling, and which rollouts are decoded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.rollouts.own_keys import make_cache
from oneshot_rlvr.rollouts.plan import Plan


@dataclass(frozen=True, slots=True)
class Prefix:
    """B prompts, processed: keys and values per layer (kv, B, P, size), padded on the right."""

    keys: list[Tensor]
    values: list[Tensor]
    lengths_B: Tensor
    logits_B_V: Tensor

    def of(self, which_b: Tensor) -> Prefix:
        """These prompts only."""
        return Prefix(
            [k[:, which_b] for k in self.keys],
            [v[:, which_b] for v in self.values],
            self.lengths_B[which_b],
            self.logits_B_V[which_b],
        )


def prefill(
    decoder: Decoder, plan: Plan, prompts_B: Sequence[Sequence[int]], pad_id: int
) -> Prefix:
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
        q, k, v = (y.transpose(1, 2) for y in decoder.attention_inputs(layer, x, rotation))
        # Causal attention never reaches the padding after a prompt.
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = decoder.after_attention(layer, x, mixed.transpose(1, 2).reshape(B, P, -1))
        k = k if plan.key_order is None else k[..., plan.key_order]
        keys.append(k.transpose(0, 1).contiguous())
        values.append(v.transpose(0, 1).contiguous())
    lengths_B = lengths_B.to(device)
    last_B = x[torch.arange(B, device=device), lengths_B - 1]
    return Prefix(keys, values, lengths_B, decoder.logits(last_B))


class PrefixState:
    """n rollouts; rollout n continues prompt `which_n[n]` of the prefix."""

    def __init__(self, decoder: Decoder, plan: Plan, prefix: Prefix, which_n: Tensor):
        self._plan, self._prefix, self._which_n = plan, prefix, which_n
        self._kv = decoder.kv_heads
        self._cache = make_cache(prefix.keys[0], plan.layers, len(which_n), decoder.heads)
        self._arrange()

    def _arrange(self) -> None:
        """Lays the rollouts out by prompt: row j of prompt b is `_place_BG[b, j]`."""
        prefix, which_n = self._prefix, self._which_n
        B, n = len(prefix.lengths_B), len(which_n)
        device = which_n.device
        self._place: Tensor | None = None
        self._hidden_n_1_P: Tensor | None = None
        if B == 1:
            self._position_n = prefix.lengths_B + self._cache.filled
            return
        self._position_n = prefix.lengths_B[which_n] + self._cache.filled
        order_n = which_n.argsort(stable=True)
        counts_B = torch.bincount(which_n, minlength=B)
        first_B = counts_B.cumsum(0) - counts_B
        self._G = int(counts_B.max())
        rank_n = torch.arange(n, device=device) - first_B[which_n[order_n]]
        self._slot_n = torch.empty_like(which_n)
        self._slot_n[order_n] = which_n[order_n] * self._G + rank_n
        # Empty places read rollout 0; nobody reads their result.
        place = torch.zeros(B * self._G, dtype=torch.int64, device=device)
        place[self._slot_n] = torch.arange(n, device=device)
        self._place = place
        P = prefix.keys[0].shape[2]
        hidden_B_P = torch.arange(P, device=device)[None] >= prefix.lengths_B[:, None]
        if bool(hidden_B_P.any()):
            hidden = torch.zeros_like(hidden_B_P, dtype=prefix.keys[0].dtype)
            hidden.masked_fill_(hidden_B_P, -torch.inf)
            self._hidden_n_1_P = hidden[which_n, None]

    def start(self) -> Tensor:
        """Logits (n, V) after the prompts."""
        return self._prefix.logits_B_V[self._which_n]

    def advance(self, tokens_n: Tensor) -> Tensor:
        """Appends one token to each rollout; logits (n, V) after it."""
        plan, cache, n = self._plan, self._cache, len(tokens_n)
        cache.begin(n)
        x = plan.embed(tokens_n)
        rotation = plan.rotation(self._position_n)
        self._position_n = self._position_n + 1
        for layer in range(plan.layers):
            query, key, value = plan.project(layer, x, rotation)
            cache.write(layer, key, value)
            x = plan.finish(layer, x, self._attend(layer, query))
        return plan.logits(x)

    def _attend(self, layer: int, query: Tensor) -> Tensor:
        """What the queries (kv, n, heads per kv, size) read: (n, heads * size)."""
        keys, values = self._prefix.keys[layer], self._prefix.values[layer]
        kv, n, per_kv, size = query.shape
        P = keys.shape[2]
        query = query.view(kv, n * per_kv, size)
        shared = torch.bmm(self._by_prompt(query), keys.view(-1, P, size).transpose(1, 2))
        shared = self._by_rollout(shared)
        if self._hidden_n_1_P is not None:
            shared.view(kv, n, per_kv, P).add_(self._hidden_n_1_P)
        own = self._cache.scores(layer, query)
        weights = torch.cat([shared, own], -1).softmax(-1)
        read = torch.bmm(self._by_prompt(weights[..., :P]), values.view(-1, P, size))
        read = self._by_rollout(read).add_(self._cache.read(layer, weights[..., P:]))
        return read.view(kv, n, per_kv * size).transpose(0, 1).reshape(n, -1)

    def _by_prompt(self, x: Tensor) -> Tensor:
        """(kv, n * heads per kv, last) to (kv * B, G * heads per kv, last)."""
        if self._place is None:
            return x
        x = x.unflatten(1, (len(self._which_n), -1)).index_select(1, self._place)
        return x.view(self._kv * len(self._prefix.lengths_B), -1, x.shape[-1])

    def _by_rollout(self, x: Tensor) -> Tensor:
        """And back."""
        if self._place is None:
            return x
        x = x.view(self._kv, len(self._place), -1, x.shape[-1])
        return x.index_select(1, self._slot_n).flatten(1, 2)

    def keep(self, slots_m: Tensor) -> None:
        """Only these slots go on, as 0..m-1: those that stay where they are cost nothing."""
        m = len(slots_m)
        target = torch.arange(m, device=slots_m.device)
        moved = (slots_m != target).nonzero()[:, 0]
        if len(moved):
            self._cache.keep(slots_m[moved], moved)
        self._which_n = self._which_n[slots_m]
        self._drop_prompts()
        self._arrange()

    def _drop_prompts(self) -> None:
        """Prompts without a rollout leave when they are a quarter of all."""
        B = len(self._prefix.lengths_B)
        alive_b, which_n = self._which_n.unique(return_inverse=True)
        if len(alive_b) <= 0.75 * B:
            self._prefix, self._which_n = self._prefix.of(alive_b), which_n
