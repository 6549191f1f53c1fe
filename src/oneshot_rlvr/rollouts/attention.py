"""How new tokens read their prompts' keys and their rollouts' own, as matrix products.

A prompt's keys have no rollout axis, and grouped heads stay as they are (Ainslie et al. 2023, arXiv
2305.13245). No Python per rollout. Compiled loops have their own (`kernels/decoding.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oneshot_rlvr.policy.decoder import Decoder, Rotation
from oneshot_rlvr.rollouts.own_keys import OwnKeys


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


def by_prompt(which_n: Tensor, B: int) -> tuple[Tensor, Tensor]:
    """Where rollouts go so that those of a prompt lie together, G places for each prompt.

    The rollout in each of the B * G places, and the place of each rollout. Empty places have
    rollout 0; nobody is to read their result.
    """
    counts_B = torch.bincount(which_n, minlength=B)
    first_B = counts_B.cumsum(0) - counts_B
    G = int(counts_B.max())
    every_n = torch.arange(len(which_n), device=which_n.device)
    order_n = which_n.argsort(stable=True)
    slot_n = torch.empty_like(which_n)
    slot_n[order_n] = which_n[order_n] * G + every_n - first_B[which_n[order_n]]
    place = which_n.new_zeros(B * G)
    place[slot_n] = every_n
    return place, slot_n


class ProductAttention:
    """Rollout n continues prompt which_n[n] of the prefix.

    With B prompts of G rollouts each, B products of all G rollouts at once.
    """

    def __init__(self, decoder: Decoder):
        self._decoder, self._kv = decoder, decoder.kv_heads

    def arrange(self, prefix: Prefix, which_n: Tensor) -> None:
        """Which rollouts there are from now on."""
        self._prefix, self._which_n = prefix, which_n
        B, device = len(prefix.lengths_B), which_n.device
        self._place: Tensor | None = None
        self._hidden_n_1_P: Tensor | None = None
        P = prefix.keys[0].shape[2]
        # A single prompt may be padded too: the last of several, when all others have ended.
        hidden_B_P = torch.arange(P, device=device)[None] >= prefix.lengths_B[:, None]
        if bool(hidden_B_P.any()):
            hidden = torch.zeros_like(hidden_B_P, dtype=prefix.keys[0].dtype)
            hidden.masked_fill_(hidden_B_P, -torch.inf)
            self._hidden_n_1_P = hidden[which_n, None]
        if B == 1:
            return
        self._place, self._slot_n = by_prompt(which_n, B)

    def begin(self, own: OwnKeys) -> None:
        """A new position, the same in all layers."""
        # One prompt: all rollouts are at the same position.
        lengths = self._prefix.lengths_B if self._place is None else (
            self._prefix.lengths_B[self._which_n]
        )  # fmt: skip
        self._rotation: Rotation = self._decoder.rotation(lengths + (own.filled - 1))

    def __call__(self, layer: int, qkv: Tensor, own: OwnKeys) -> Tensor:
        """qkv (n, heads + 2 kv, size), not rotated, to what they read (n, heads * size)."""
        keys, values = self._prefix.keys[layer], self._prefix.values[layer]
        kv, P, size = self._kv, keys.shape[2], keys.shape[3]
        n, per_kv = len(qkv), (qkv.shape[1] - 2 * kv) // kv
        both, value = qkv.split([kv * per_kv + kv, kv], 1)
        query, key = self._rotation(both).split([kv * per_kv, kv], 1)
        own_keys, own_values = own.write(layer, key, value)
        query = query.unflatten(1, (kv, per_kv)).transpose(0, 1).reshape(kv, n * per_kv, size)
        query = query * size**-0.5
        shared = torch.bmm(self._by_prompt(query), keys.view(-1, P, size).transpose(1, 2))
        shared = self._by_rollout(shared)
        if self._hidden_n_1_P is not None:
            shared.view(kv, n, per_kv, P).add_(self._hidden_n_1_P)
        scores = torch.bmm(self._own(query, n), own_keys.transpose(1, 2))
        weights = torch.cat([shared, self._back(scores, n)], -1).softmax(-1)
        read = torch.bmm(self._by_prompt(weights[..., :P]), values.view(-1, P, size))
        read = self._by_rollout(read)
        read = read + self._back(torch.bmm(self._own(weights[..., P:], n), own_values), n)
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

    def _own(self, x: Tensor, n: int) -> Tensor:
        """(kv, n * heads per kv, last) to (n * kv, heads per kv, last)."""
        x = x.unflatten(1, (n, -1)).transpose(0, 1)
        return x.reshape(n * self._kv, -1, x.shape[-1])

    def _back(self, x: Tensor, n: int) -> Tensor:
        """And back."""
        return x.view(n, self._kv, -1, x.shape[-1]).transpose(0, 1).flatten(1, 2)
