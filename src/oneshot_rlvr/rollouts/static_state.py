"""Rollouts in mid-generation in buffers that stay where they are, so that a position is recorded.

On an accelerator a position of a few rows takes longer to launch than to compute. Here it is the
same launches on the same memory every time, and a CUDA graph repeats them with one. What changes
lies on the device: the tokens, and how many positions are filled. Attention reads the whole
capacity and hides what is not written yet.

Buffers last for a bucket: until the capacity is full, or a quarter of the rows is idle. Recordings
and buffers belong to one `StaticState`, hence to one batch of one call of the engine, and so do
the prefix and the plan that they read: neither old weights nor old prompts can be replayed.

Not here: the recording (`recording.py`), prompts (`prefix_state.py`), sampling (`loop.py`), and
CPUs, where launches cost little.
"""

from __future__ import annotations

import torch
from torch import Tensor

from oneshot_rlvr.policy.decoder import Decoder, Rotation
from oneshot_rlvr.rollouts.attention import Prefix, by_prompt
from oneshot_rlvr.rollouts.plan import Plan
from oneshot_rlvr.rollouts.recording import Recorder, Work

# Positions of the first bucket; every further one has twice as many. At worst half of what
# attention reads is hidden, and a thousand positions take five recordings.
_CAPACITY = 64
# A recording costs a few positions' launches. Rows are few enough to be dropped for it when this
# share or less goes on; so few rows as `_FEW` cost what one costs.
_SHRINK, _FEW = 0.75, 8


class StaticState:
    """A `DecodeState`; rollout n continues prompt `which_n[n]` of the prefix."""

    def __init__(
        self,
        decoder: Decoder,
        plan: Plan,
        prefix: Prefix,
        which_n: Tensor,
        max_new_tokens: int,
        recorder: Recorder,
    ):
        self._decoder, self._plan, self._prefix = decoder, plan, prefix
        self._which_n = which_n
        self._most, self._recorder = max_new_tokens, recorder
        self._row_n = torch.arange(len(which_n), device=which_n.device)  # its row in the bucket
        self._filled = 0
        self._bucket: Bucket | None = None
        self._replay: Work | None = None

    def start(self) -> Tensor:
        """Logits (n, V) after the prompts."""
        return self._prefix.logits_B_V[self._which_n]

    def advance(self, tokens_n: Tensor) -> Tensor:
        """Appends one token to each rollout; logits (n, V) after it."""
        bucket, n = self._bucket, len(tokens_n)
        if (
            bucket is None
            or bucket.capacity == self._filled
            or (bucket.rows > _FEW and n <= _SHRINK * bucket.rows)
        ):
            bucket = self._next_bucket()
        bucket.tokens.index_copy_(0, self._row_n, tokens_n)
        if self._replay is None:
            self._replay = self._recorder.record(bucket.position)
        self._replay()
        # Outside the recording, which can therefore be run once more for nothing.
        bucket.filled.add_(1)
        self._filled += 1
        return bucket.logits.index_select(0, self._row_n)

    def keep(self, slots_m: Tensor) -> None:
        """Only these slots go on, as 0..m-1; the others' rows idle until the next bucket."""
        self._which_n, self._row_n = self._which_n[slots_m], self._row_n[slots_m]

    def _next_bucket(self) -> Bucket:
        """Room for more positions or for fewer rollouts, whichever was lacking."""
        self._replay = None
        old, capacity = self._bucket, min(_CAPACITY, self._most)
        if old is not None:
            alive_b, which_n = self._which_n.unique(return_inverse=True)
            if len(alive_b) < len(self._prefix.lengths_B):
                self._prefix, self._which_n = self._prefix.of(alive_b), which_n
            capacity = old.capacity
            if capacity == self._filled:
                capacity = max(capacity + 1, min(2 * capacity, self._most))
        bucket = Bucket(self._decoder, self._plan, self._prefix, self._which_n, capacity)
        bucket.make_room(old, self._row_n)
        self._bucket = bucket
        self._row_n = torch.arange(len(self._which_n), device=self._which_n.device)
        return bucket


class Bucket:
    """Buffers of n rows and `capacity` positions, and the work of one position on them.

    It must not know its recording, which may know it: a cycle would keep the buffers in memory
    until the garbage collector comes by.
    """

    def __init__(
        self, decoder: Decoder, plan: Plan, prefix: Prefix, which_n: Tensor, capacity: int
    ):
        self._decoder, self._plan, self._prefix = decoder, plan, prefix
        self.rows, self.capacity = len(which_n), capacity
        device = which_n.device
        self.tokens = torch.zeros(self.rows, dtype=torch.int64, device=device)
        self.filled = torch.zeros(1, dtype=torch.int64, device=device)
        self.logits = prefix.logits_B_V.new_zeros(self.rows, prefix.logits_B_V.shape[1])
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self._columns = torch.arange(capacity, device=device)
        self._arrange(which_n)

    def _arrange(self, which_n: Tensor) -> None:
        """Lays the rows out by prompt, once a bucket: this waits for the device."""
        lengths_B, like = self._prefix.lengths_B, self._prefix.keys[0]
        B, P = like.shape[1:3]
        columns_P = torch.arange(P, device=which_n.device)
        hidden_B_P = like.new_zeros(B, P).masked_fill_(columns_P >= lengths_B[:, None], -torch.inf)
        self._place: Tensor | None = None  # one prompt: they lie as they should
        if B == 1:
            # All rows are at the same position and see the same.
            self._lengths, self._hidden = lengths_B, hidden_B_P[:, None, None]
            return
        self._lengths, self._hidden = lengths_B[which_n], hidden_B_P[which_n][:, None, None]
        self._place, self._slot_n = by_prompt(which_n, B)

    def make_room(self, old: Bucket | None, row_n: Tensor) -> None:
        """For keys and values. Row n goes on where `row_n[n]` of the old bucket was.

        One buffer at a time, and the old bucket loses its own: two whole sets may not fit.
        """
        prefix = self._prefix
        for mine, theirs, likes in (
            (self.keys, old.keys if old else [], prefix.keys),
            (self.values, old.values if old else [], prefix.values),
        ):
            for like in likes:
                mine.append(self._roomy(like, theirs.pop(0) if theirs else None, row_n))
        if old is not None:
            self.filled.copy_(old.filled)

    def _roomy(self, like: Tensor, held: Tensor | None, row_n: Tensor) -> Tensor:
        """(n, kv, capacity, size)."""
        # Zeros: what else lies in memory may be no number, and 0 times that is none either.
        new = like.new_zeros(self.rows, like.shape[0], self.capacity, like.shape[-1])
        if held is not None:
            new[:, :, : held.shape[2]] = held.index_select(0, row_n)
        return new

    def position(self) -> None:
        """From `tokens` at position `filled` to `logits`: launches on the device and no answer.

        Changes only these, and the keys and values of that one position: see `Recorder.record`.
        """
        plan = self._plan
        rotation = self._decoder.rotation(self._lengths + self.filled)
        later = torch.zeros_like(self._columns, dtype=self._hidden.dtype)
        later.masked_fill_(self._columns > self.filled, -torch.inf)
        shape = (*self._hidden.shape[:3], self.capacity)
        hidden = torch.cat([self._hidden, later.expand(shape)], -1)
        x = plan.embed(self.tokens)
        for layer in range(plan.layers):
            read = self._read(layer, plan.inputs(layer, x), rotation, hidden)
            x = plan.finish(layer, x, read)
        self.logits.copy_(plan.logits(x))

    def _read(self, layer: int, qkv: Tensor, rotation: Rotation, hidden: Tensor) -> Tensor:
        """qkv (n, heads + 2 kv, size), not rotated, to what they read (n, heads * size).

        `hidden` (n or 1, 1, 1, P + capacity) is -inf where nobody looks, otherwise 0.
        """
        keys, values = self.keys[layer], self.values[layer]
        n, kv, capacity, size = keys.shape
        both, value = qkv.split([qkv.shape[1] - kv, kv], 1)
        query, key = rotation(both).split([both.shape[1] - kv, kv], 1)
        keys.index_copy_(2, self.filled, key.unsqueeze(2))
        values.index_copy_(2, self.filled, value.unsqueeze(2))
        query = (query * size**-0.5).unflatten(1, (kv, -1))  # (n, kv, heads per kv, size)
        shared_keys = self._prefix.keys[layer].flatten(0, 1)
        shared = torch.bmm(self._by_prompt(query), shared_keys.transpose(1, 2))
        own = torch.bmm(query.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2))
        scores = torch.cat([self._by_row(shared), own.unflatten(0, (n, kv))], -1)
        weights = scores.add_(hidden).softmax(-1)
        on_shared, on_own = weights.split([weights.shape[-1] - capacity, capacity], -1)
        shared = torch.bmm(self._by_prompt(on_shared), self._prefix.values[layer].flatten(0, 1))
        own = torch.bmm(on_own.flatten(0, 1), values.flatten(0, 1))
        return (own.unflatten(0, (n, kv)) + self._by_row(shared)).reshape(n, -1)

    def _by_prompt(self, x: Tensor) -> Tensor:
        """(n, kv, heads per kv, last) to (kv * B, G * heads per kv, last)."""
        if self._place is not None:
            x = x.index_select(0, self._place)
        B, kv, last = len(self._prefix.lengths_B), x.shape[1], x.shape[-1]
        return x.unflatten(0, (B, -1)).permute(2, 0, 1, 3, 4).reshape(kv * B, -1, last)

    def _by_row(self, x: Tensor) -> Tensor:
        """And back."""
        B = len(self._prefix.lengths_B)
        kv, last = len(x) // B, x.shape[-1]
        places = self.rows if self._place is None else len(self._place)
        x = x.view(kv, places, -1, last).transpose(0, 1)
        return x if self._place is None else x.index_select(0, self._slot_n)
