"""The sampling loop that every engine shares: logits -> token -> logits, until all have ended.

An engine brings a `DecodeState`, which knows how to get the next logits; the loop knows
randomness, sampling, stopping and when finished rollouts leave the batch. No Python per row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.rollouts.engine import Sampling
from oneshot_rlvr.rollouts.randomness import StreamKey, uniforms
from oneshot_rlvr.rollouts.sampling import penalised, sample, seen_in
from oneshot_rlvr.rollouts.stopping import EVERY, Stops
from oneshot_rlvr.types import Prompt

# A batch is compacted when this share of it has ended: moving the survivors' caches then costs
# at most 1 / _GONE times what was already saved, so compaction stays cheap however it goes.
_GONE = 0.125


class DecodeState(Protocol):
    """A batch of n sequences in mid-generation."""

    def start(self) -> Tensor:
        """Logits (n, V) after the prompts."""
        ...

    def advance(self, tokens_n: Tensor) -> Tensor:
        """Appends one token to each sequence; logits (n, V) after it."""
        ...

    def keep(self, slots_m: Tensor) -> None:
        """Only these slots (int64, ascending) go on; they become 0..m-1."""
        ...


@runtime_checkable
class DrawsItself(Protocol):
    """A state that also draws its tokens, many positions in one call."""

    def decode(
        self,
        uniforms_T_N: np.ndarray,
        ends: np.ndarray,
        sampling: Sampling,
        prompts_N: Sequence[Sequence[int]],
        stops: Stops,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens and log-probabilities (T, N), those not numbers where logits are no distribution;
        how many of each rollout are meant at most (N).

        Nothing after a rollout's first end-of-text is meant either.
        """
        ...


class Batch:
    """Sequences to be decoded together: sequence n is rollout `indices_N[n]` of `prompts_N[n]`."""

    def __init__(self, prompts_N: Sequence[Prompt], indices_N: Sequence[int]):
        self.prompts_N = prompts_N
        self.indices_N = indices_N

    def __len__(self) -> int:
        return len(self.prompts_N)

    def distinct(self) -> tuple[list[tuple[int, ...]], Tensor]:
        """The distinct token sequences among the prompts, and which of them each sequence has."""
        places: dict[tuple[int, ...], int] = {}
        which_N = [places.setdefault(p.tokens, len(places)) for p in self.prompts_N]
        return list(places), torch.tensor(which_N)


def generate(
    prompts: Sequence[Prompt],
    group_size: int,
    sampling: Sampling,
    key: StreamKey,
    *,
    eos_ids: Sequence[int],
    device: torch.device,
    batches: Callable[[list[tuple[int, int]]], list[list[tuple[int, int]]]],
    state_of: Callable[[Batch], DecodeState],
    tokenizer: Any = None,
) -> tuple[list[list[int]], list[list[float]]]:
    """Tokens and log-probabilities of all rollouts, ordered by prompt, then index.

    `batches` splits the (prompt, index) pairs into sets to be decoded together; the split changes
    cost, never the result beyond rounding of the logits.
    """
    pairs = [(p, index) for p in range(len(prompts)) for index in range(group_size)]
    tokens_N: list[list[int]] = [[] for _ in pairs]
    logprobs_N: list[list[float]] = [[] for _ in pairs]
    for members in batches(pairs):
        batch = Batch([prompts[p] for p, _ in members], [index for _, index in members])
        tokens_n, logprobs_n = run_batch(
            state_of(batch), batch, sampling, key,
            eos_ids=eos_ids, device=device, tokenizer=tokenizer,
        )  # fmt: skip
        for (p, index), tokens, logprobs in zip(members, tokens_n, logprobs_n, strict=True):
            tokens_N[p * group_size + index] = tokens
            logprobs_N[p * group_size + index] = logprobs
    return tokens_N, logprobs_N


def even_parts(items: list[tuple[int, int]], most: int) -> list[list[tuple[int, int]]]:
    """Consecutive parts of nearly equal size, none above `most`."""
    if not items:
        return []
    parts = -(-len(items) // most)
    size = -(-len(items) // parts)
    return [items[i : i + size] for i in range(0, len(items), size)]


def run_batch(
    state: DecodeState,
    batch: Batch,
    sampling: Sampling,
    key: StreamKey,
    *,
    eos_ids: Sequence[int],
    device: torch.device,
    tokenizer: Any = None,
) -> tuple[list[list[int]], list[list[float]]]:
    """Decodes one batch to the end; tokens (end-of-text included) and log-probs, ragged.

    A rollout that says a stop text ends soon after it (`tokenizer` reads it); it is cut where its
    text is made (`engine.to_rollouts`).
    """
    N, T = len(batch), sampling.max_new_tokens
    # Uniforms for the whole call at once, position first: each step reads one contiguous row.
    drawn_with = (
        uniforms(
            key,
            np.array([p.row for p in batch.prompts_N])[None],
            np.array(batch.indices_N)[None],
            np.arange(T)[:, None],
        )
        if sampling.temperature > 0
        else np.zeros((T, N))
    )
    prompts_N, stops = [p.tokens for p in batch.prompts_N], Stops(sampling.stop, tokenizer)
    if isinstance(state, DrawsItself):
        ids = sorted(eos_ids)
        drawn = state.decode(drawn_with, np.array(ids), sampling, prompts_N, stops)
        return _cut(drawn[0].T, drawn[1].T, ids, drawn[2])
    limits_N = np.full(N, T)
    uniforms_T_N = torch.from_numpy(drawn_with).to(device)
    ends = torch.tensor(sorted(eos_ids), device=device)
    tokens_T_N = torch.zeros(T, N, dtype=torch.int64, device=device)
    logprobs_T_N = torch.zeros(T, N, dtype=torch.float64, device=device)
    sequence_n = torch.arange(N, device=device)  # which sequence sits in each slot
    running_n = torch.ones(N, dtype=torch.bool, device=device)
    logits_n_V = state.start()
    penalty, seen_N_V = sampling.repetition_penalty, torch.empty(0)
    if penalty != 1:
        seen_N_V = seen_in(prompts_N, logits_n_V.shape[1]).to(device)
    for t in range(T):
        if penalty != 1:
            logits_n_V = penalised(logits_n_V, seen_N_V[sequence_n], penalty)
        tokens_n, logprobs_n = sample(logits_n_V, uniforms_T_N[t, sequence_n], sampling)
        if penalty != 1:
            seen_N_V[sequence_n, tokens_n] = True
        # Slots that have ended keep writing until they are dropped; nothing after the first
        # end-of-text is read.
        tokens_T_N[t, sequence_n] = tokens_n
        logprobs_T_N[t, sequence_n] = logprobs_n
        running_n &= ~torch.isin(tokens_n, ends)
        if stops and (t + 1) % EVERY == 0:
            going = sequence_n[running_n]
            said = np.array(stops.said(tokens_T_N[: t + 1, going].T.tolist()), dtype=bool)
            limits_N[going.cpu().numpy()[said]] = t + 1
            running_n[running_n.clone()] = torch.from_numpy(~said).to(device)
        running = int(running_n.sum())
        if running == 0 or t == T - 1:
            break
        if running <= (1 - _GONE) * len(running_n):
            slots_m = running_n.nonzero()[:, 0]
            state.keep(slots_m)
            tokens_n, sequence_n = tokens_n[slots_m], sequence_n[slots_m]
            running_n = running_n[slots_m]
        logits_n_V = state.advance(tokens_n)
    return _cut(tokens_T_N.T.cpu().numpy(), logprobs_T_N.T.cpu().numpy(), sorted(eos_ids), limits_N)


def _cut(
    tokens_N_T: np.ndarray, logprobs_N_T: np.ndarray, eos_ids: Sequence[int], limits_N: np.ndarray
) -> tuple[list[list[int]], list[list[float]]]:
    """Every sequence up to and including its first end-of-text id, and of `limits_N` at most.

    ModelError where a token was drawn from no distribution.
    """
    ended_N_T = np.isin(tokens_N_T, eos_ids)
    lengths_N = np.where(ended_N_T.any(1), ended_N_T.argmax(1) + 1, tokens_N_T.shape[1])
    lengths_N = np.minimum(lengths_N, limits_N)
    lost_N_T = np.isnan(logprobs_N_T) & (np.arange(tokens_N_T.shape[1]) < lengths_N[:, None])
    if lost_N_T.any():
        raise ModelError(
            f"The model's logits are not finite, first at token {int(lost_N_T.any(0).argmax())} of "
            "a rollout: nothing can be drawn from them. The weights may have diverged (a smaller "
            "optimizer.learning_rate, an earlier checkpoint), or numbers are too large for "
            "model.dtype."
        )
    return (
        [row[:n].tolist() for row, n in zip(tokens_N_T, lengths_N, strict=True)],
        [row[:n].tolist() for row, n in zip(logprobs_N_T, lengths_N, strict=True)],
    )
