"""Rollouts in mid-generation whose positions are compiled loops (`kernels/decoding.py`).

For a CPU, in float32 or with maps in bfloat16. `decode` draws many positions in one call; `advance`
computes one, for tokens that are given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from oneshot_rlvr.kernels import decoding
from oneshot_rlvr.kernels.drawing import rules_of
from oneshot_rlvr.kernels.packing import OWN, Array, Drawn, Own, Prompts, Weights, padded
from oneshot_rlvr.kernels.tiles import PANEL
from oneshot_rlvr.rollouts.engine import Sampling
from oneshot_rlvr.rollouts.sampling import seen_in
from oneshot_rlvr.rollouts.stopping import EVERY, Stops

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
            mixed=room(n, int(weights.read[0])),
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

    def decode(
        self,
        uniforms_T_N: Array,
        ends: Array,
        sampling: Sampling,
        prompts_N: Sequence[Sequence[int]],
        stops: Stops,
    ) -> tuple[Array, Array, Array]:
        """See `DrawsItself`: all ends at the first logits that are no distribution."""
        (T, N), own = uniforms_T_N.shape, self._own
        drawn = Drawn(uniforms_T_N, np.zeros((T, N), np.int64), np.zeros((T, N)))
        own.logits[:, : self._logits_B_V.shape[1]] = self.start().numpy()
        penalty = sampling.repetition_penalty
        rules = rules_of(
            sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, penalty
        )
        asked = prompts_N if penalty != 1 else []
        seen_N_V = seen_in(asked, int(self._weights.vocabulary[0])).numpy()
        n, t, limits_N = N, 0, np.full(N, T)
        while n > 0 and t < T:
            n, t, computed = decoding.decode(
                n, t, t + EVERY, rules, ends, seen_N_V, drawn, self._weights, self._prompts, own
            )
            self.computed += computed
            if stops and n > 0 and t < T:
                n = self._drop(n, t, drawn.tokens, limits_N, stops)
        return drawn.tokens, drawn.logprobs, limits_N

    def _drop(self, n: int, t: int, tokens_T_N: Array, limits_N: Array, stops: Stops) -> int:
        """Lets those of n rollouts go that have said a stop text in t tokens; how many go on."""
        own, going = self._own, self._own.sequence[:n].copy()
        said = np.array(stops.said(tokens_T_N[:t, going].T.tolist()), dtype=bool)
        limits_N[going[said]] = t
        slots = np.flatnonzero(~said)
        if 0 < len(slots) < n:
            decoding.keep(own, slots, t)
            own.logits[: len(slots)] = own.logits[slots]
        return len(slots)
