"""Rollouts in mid-generation whose positions are compiled loops (`kernels/decoding.py`).

For a CPU in float32. `decode` draws many positions in one call; `advance` computes one, for draws
that the loops do not know (greedy, top-k, top-p).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from oneshot_rlvr.kernels import decoding
from oneshot_rlvr.kernels.packing import OWN, Array, Drawn, Own, Prompts, Weights, padded
from oneshot_rlvr.kernels.tiles import PANEL

# Positions of one call: a signal is heeded after that many.
_SPAN = 32
# Rows that go through the MLP together: what it computes of them stays in a core's cache.
_MLP_ROWS = 64


class CompiledState:
    """n rollouts; rollout n continues prompt `which_n[n]`; at most so many new tokens."""

    def __init__(
        self, weights: Weights, prompts: Prompts, logits_B_V: Tensor, which_n: Tensor, new: int
    ):
        self._weights, self._prompts, self._logits_B_V = weights, prompts, logits_B_V
        layers, kv, _, _, size, _ = prompts.keys.shape
        n, blocks = len(which_n), -(-new // OWN)
        width = weights.table.shape[1]

        def room(*shape: int) -> Array:
            # Pages that nobody writes to are never there.
            return np.empty(shape, np.float32)

        self._own = Own(
            keys=room(layers, n, kv, blocks, size, OWN),
            values=room(layers, n, kv, blocks * OWN, padded(size)),
            which=which_n.numpy().copy(),
            sequence=np.arange(n),
            x=room(n, padded(width)),
            normed=room(n, width),
            qkv=room(n, weights.qkv.shape[1] * PANEL),
            mixed=room(n, weights.out.shape[2]),
            hidden=room(min(n, _MLP_ROWS), weights.gate_up.shape[1] * PANEL),
            logits=room(n, weights.head.shape[1] * PANEL),
        )
        self._n, self._filled = n, 0
        self.computed = 0
        """Tokens that went through the model."""

    def start(self) -> Tensor:
        """Logits (n, V) after the prompts."""
        return self._logits_B_V[torch.from_numpy(self._own.which[: self._n])]

    def advance(self, tokens_n: Tensor) -> Tensor:
        """Appends one token to each rollout; logits (n, V) after it."""
        self._filled += 1
        self.computed += len(tokens_n)
        decoding.advance(tokens_n.numpy(), self._filled, self._weights, self._prompts, self._own)
        vocabulary = int(self._weights.vocabulary[0])
        return torch.from_numpy(self._own.logits)[: len(tokens_n), :vocabulary]

    def keep(self, slots_m: Tensor) -> None:
        """Only these slots go on, as 0..m-1."""
        decoding.keep(self._own, slots_m.numpy(), self._filled)
        self._n = len(slots_m)

    def decode(self, uniforms_T_N: Array, ends: Array, temperature: float) -> tuple[Array, Array]:
        """See `DrawsItself`: all ends at the first logits that are no distribution."""
        T, N = uniforms_T_N.shape
        drawn = Drawn(uniforms_T_N, np.zeros((T, N), np.int64), np.zeros((T, N)))
        self._own.logits[:, : self._logits_B_V.shape[1]] = self.start().numpy()
        n, t = N, 0
        while n > 0 and t < T:
            n, t, computed = decoding.decode(
                n, t, t + _SPAN, np.float32(temperature), ends, drawn,
                self._weights, self._prompts, self._own,
            )  # fmt: skip
            self.computed += computed
        return drawn.tokens, drawn.logprobs
