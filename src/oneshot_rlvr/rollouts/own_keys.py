"""The responses' own keys and values during decoding: written in place, read by attention.

`capacity` positions are held; more are made room for when they are full. Rollouts that end give
their place to one that goes on, so that only those move (`keep`).

`BagCache` (CPU, float32) reads them with `embedding_bag`, a weighted sum of rows: scores are sums
of the transposed keys' rows weighted by the query, results are sums of the values' rows weighted
by the scores' softmax. For queries of one position that is 3 to 5 times faster than the batched
matrix product of `ProductCache`, which serves every other device and type. Grouped heads are not
expanded in either.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

# Room is made for this many positions at a time. Everything is copied then: 1/16 of what the
# steps in between read.
_ROOM = 32


class Cache(Protocol):
    """Own keys and values of n rollouts in all layers."""

    filled: int

    def begin(self, n: int) -> None:
        """Makes room for one position more, of n rollouts."""
        ...

    def write(self, layer: int, keys_n: Tensor, values_n: Tensor) -> None:
        """The new position's keys and values (n, kv, size)."""
        ...

    def scores(self, layer: int, query: Tensor) -> Tensor:
        """(kv, n * heads per kv, size) to products with the own keys (same, same, filled)."""
        ...

    def read(self, layer: int, weights: Tensor) -> Tensor:
        """Weights (kv, n * heads per kv, filled) to weighted values (same, same, size)."""
        ...

    def keep(self, source: Tensor, target: Tensor) -> None:
        """Rollouts `source` take the places `target`."""
        ...


def make_cache(like: Tensor, layers: int, n: int, heads: int) -> Cache:
    """An empty cache; `like` (kv, ..., size) tells heads, type and device."""
    fits = like.device.type == "cpu" and like.dtype == torch.float32
    return (BagCache if fits else ProductCache)(like, layers, n, heads)


class _Cache:
    """What both layouts share: a list of buffers per kind, each (n, kv, *positions and size)."""

    _axis: int  # of the positions in a key buffer

    def __init__(self, like: Tensor, layers: int, n: int, heads: int):
        self._heads, self._kv, self._size = heads, like.shape[0], like.shape[-1]
        self._like, self._layers, self._n = like, layers, n
        self.filled = self._capacity = 0
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def begin(self, n: int) -> None:
        self._n = n
        if self.filled == self._capacity:
            self._capacity += _ROOM
            self._keys = self._roomier(self._keys, self._axis)
            self._values = self._roomier(self._values, 2)
        self.filled += 1

    def _roomier(self, buffers: list[Tensor], axis: int) -> list[Tensor]:
        shape = [self._n, self._kv, self._size, self._size]
        shape[axis] = self._capacity
        made = []
        for layer in range(self._layers):
            new = self._like.new_empty(shape)
            if buffers:
                # One at a time, so that the old one is free before the next is made.
                new.narrow(axis, 0, self.filled).copy_(
                    buffers[layer][: self._n].narrow(axis, 0, self.filled)
                )
                buffers[layer] = new
            made.append(new)
        return made

    def keep(self, source: Tensor, target: Tensor) -> None:
        for buffers, axis in ((self._keys, self._axis), (self._values, 2)):
            for buffer in buffers:
                filled = buffer.narrow(axis, 0, self.filled)
                filled[target] = filled[source]


class ProductCache(_Cache):
    """Keys and values (n, kv, capacity, size), read by batched matrix products."""

    _axis = 2

    def write(self, layer: int, keys_n: Tensor, values_n: Tensor) -> None:
        self._keys[layer][: self._n, :, self.filled - 1] = keys_n
        self._values[layer][: self._n, :, self.filled - 1] = values_n

    def scores(self, layer: int, query: Tensor) -> Tensor:
        keys = self._filled(self._keys[layer])
        return self._by_head(torch.bmm(self._by_rollout(query), keys.transpose(1, 2)))

    def read(self, layer: int, weights: Tensor) -> Tensor:
        values = self._filled(self._values[layer])
        return self._by_head(torch.bmm(self._by_rollout(weights), values))

    def _filled(self, buffer: Tensor) -> Tensor:
        rows = self._n * self._kv
        return buffer[: self._n].view(rows, self._capacity, self._size)[:, : self.filled]

    def _by_rollout(self, x: Tensor) -> Tensor:
        """(kv, n * heads per kv, last) to (n * kv, heads per kv, last)."""
        x = x.unflatten(1, (self._n, -1)).transpose(0, 1)
        return x.reshape(self._n * self._kv, -1, x.shape[-1])

    def _by_head(self, x: Tensor) -> Tensor:
        """And back."""
        return x.view(self._n, self._kv, -1, x.shape[-1]).transpose(0, 1).flatten(1, 2)


class BagCache(_Cache):
    """Keys (n, kv, size, capacity), values (n, kv, capacity, size); weighted sums of their rows."""

    _axis = 3
    _key_rows: Tensor | None = None

    def begin(self, n: int) -> None:
        super().begin(n)
        # Which rows of the key and value tables are added up: 32 bits, half the bytes of 64.
        count, per_kv = n * self._heads, self._heads // self._kv
        # Bags in the order (kv, n, heads per kv); rollout r, head h begins at table row r * kv + h.
        owner = torch.arange(n * self._kv, dtype=torch.int32).view(n, self._kv)
        owner = owner.T.unsqueeze(-1).expand(self._kv, n, per_kv).reshape(count, 1)
        bags = torch.arange(count, dtype=torch.int32)
        if self._key_rows is None or len(self._key_rows) != count:
            self._key_rows = owner * self._size + torch.arange(self._size, dtype=torch.int32)
            self._key_bags = bags * self._size
        self._value_rows = owner * self._capacity + torch.arange(self.filled, dtype=torch.int32)
        self._value_bags = bags * self.filled

    def write(self, layer: int, keys_n: Tensor, values_n: Tensor) -> None:
        self._keys[layer][: self._n, ..., self.filled - 1] = keys_n
        self._values[layer][: self._n, :, self.filled - 1] = values_n

    def scores(self, layer: int, query: Tensor) -> Tensor:
        table = self._keys[layer].view(-1, self._capacity)
        sums = _weighted_sums(table, self._key_rows, self._key_bags, query)
        return sums.view(self._kv, -1, self._capacity)[..., : self.filled]

    def read(self, layer: int, weights: Tensor) -> Tensor:
        table = self._values[layer].view(-1, self._size)
        sums = _weighted_sums(table, self._value_rows, self._value_bags, weights)
        return sums.view(self._kv, -1, self._size)


def _weighted_sums(table: Tensor, rows: Tensor | None, bags: Tensor, weights: Tensor) -> Tensor:
    """For each bag the sum of its rows of the table, each times its weight."""
    assert rows is not None
    return torch.embedding_bag(
        table, rows.view(-1), bags, False, 0, False, weights.reshape(-1), False
    )[0]
