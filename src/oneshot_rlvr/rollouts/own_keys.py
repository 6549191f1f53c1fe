"""The responses' own keys and values during decoding: written in place, read by attention.

`capacity` positions are held; more are made room for when they are full. Rollouts that end give
their place to one that goes on, so that only those move (`keep`).
"""

from __future__ import annotations

from torch import Tensor

# Room is made for this many positions at a time. Everything is copied then: 1/16 of what the
# steps in between read.
_ROOM = 32


class OwnKeys:
    """Keys and values of n rollouts in all layers, each (n, kv, capacity, size)."""

    def __init__(self, like: Tensor, layers: int, n: int):
        """`like` (kv, ..., size) tells heads, type and device."""
        self._kv, self._size = like.shape[0], like.shape[-1]
        self._like, self._layers, self._n = like, layers, n
        self.filled = self.capacity = 0
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def begin(self, n: int) -> None:
        """Makes room for one position more, of n rollouts."""
        self._n = n
        if self.filled == self.capacity:
            self.capacity += _ROOM
            self._keys = self._roomier(self._keys)
            self._values = self._roomier(self._values)
        self.filled += 1

    def whole(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values (n, kv, capacity, size), the places after `filled` not written."""
        return self._keys[layer][: self._n], self._values[layer][: self._n]

    def write(self, layer: int, keys_n: Tensor, values_n: Tensor) -> tuple[Tensor, Tensor]:
        """The new position's (n, kv, size) into its place; all so far (n * kv, filled, size)."""
        keys, values = self.whole(layer)
        keys[:, :, self.filled - 1] = keys_n
        values[:, :, self.filled - 1] = values_n
        shape = (self._n * self._kv, self.capacity, self._size)
        return keys.view(shape)[:, : self.filled], values.view(shape)[:, : self.filled]

    def keep(self, source: Tensor, target: Tensor) -> None:
        """Rollouts `source` take the places `target`."""
        for buffer in (*self._keys, *self._values):
            filled = buffer[:, :, : self.filled]
            filled[target] = filled[source]

    def _roomier(self, buffers: list[Tensor]) -> list[Tensor]:
        made = []
        for layer in range(self._layers):
            new = self._like.new_empty((self._n, self._kv, self.capacity, self._size))
            if buffers:
                # One at a time, so that the old one is free before the next is made.
                new[:, :, : self.filled].copy_(buffers[layer][: self._n, :, : self.filled])
                buffers[layer] = new
            made.append(new)
        return made
