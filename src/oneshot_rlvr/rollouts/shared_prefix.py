"""The engine for few prompts and many rollouts: a prompt is processed once, its keys held once.

On a CPU the rollouts of a batch are dealt to lanes, threads of their own with one core each: small
operations then use all cores, and nobody waits at a barrier after each of them.

No prefix outlives a call: weights change between calls. Log-probabilities agree with a
recomputation by the model to 1e-4 nats in float32. With `rollouts.autocast` the compiled loops'
products are of bfloat16 numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from oneshot_rlvr.config import RolloutsConfig
from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.policy.blocks import refuse_unless_narrow
from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.policy.lanes import in_lanes, lane_count, threads_for
from oneshot_rlvr.policy.load import Policy
from oneshot_rlvr.rollouts.attention import Prefix
from oneshot_rlvr.rollouts.capacity import rows_that_fit
from oneshot_rlvr.rollouts.engine import Sampling, to_rollouts
from oneshot_rlvr.rollouts.loop import Batch, DecodeState, even_parts, run_batch
from oneshot_rlvr.rollouts.plan import PlainPlan, packs
from oneshot_rlvr.rollouts.prefix_state import PrefixState, prefill
from oneshot_rlvr.rollouts.randomness import StreamKey
from oneshot_rlvr.rollouts.recording import GraphRecorder
from oneshot_rlvr.rollouts.static_state import StaticState
from oneshot_rlvr.types import Prompt, Rollout

log = logging.getLogger(__name__)

# Fewer rollouts than this are not worth a lane of their own.
_LANE_ROWS = 16
# Distinct prompts processed together: their keys and activations are held at once.
_PROMPTS = 128

Pairs = list[tuple[int, int]]  # (number of the prompt, index of the rollout)
States = Callable[[Prefix], Callable[[Tensor], DecodeState]]  # which prompt each rollout continues


class SharedPrefixEngine:
    """`max_rows`: sequences decoded together at most (memory: keys and values of that many).

    `rollouts` tells the type of the products. ModelError where model or machine have no such.
    """

    name = "shared_prefix"

    def __init__(self, policy: Policy, max_rows: int = 512, rollouts: RolloutsConfig | None = None):
        self.max_rows = max_rows
        self.narrow = rollouts is not None and rollouts.autocast is not None
        self.sync(policy)
        if self.narrow:
            self._refuse_unless_narrow()

    def sync(self, policy: Policy) -> None:
        """From now on sample from `policy`; its parameters are read at every call anyway."""
        self.policy = policy
        self.decoder = Decoder(policy.model, self.narrow)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling, key: StreamKey
    ) -> list[Rollout]:
        """See `Engine.generate`."""
        policy = self.policy
        longest = max((len(p.tokens) for p in prompts), default=0)
        rows = rows_that_fit(policy, longest + sampling.max_new_tokens, self.max_rows)
        with self._threads(0):
            states = _states(self.decoder, sampling.max_new_tokens)
        tokens_N: list[list[int]] = [[] for _ in range(len(prompts) * group_size)]
        logprobs_N: list[list[float]] = [[] for _ in tokens_N]
        for batch in _batches(prompts, group_size, rows):
            for (p, index), tokens, logprobs in self._decode(states, prompts, batch, sampling, key):
                tokens_N[p * group_size + index] = tokens
                logprobs_N[p * group_size + index] = logprobs
        return to_rollouts(
            prompts, group_size, tokens_N, logprobs_N, policy.eos_ids, policy.tokenizer,
            sampling.stop,
        )  # fmt: skip

    def _decode(
        self,
        states: States,
        prompts: Sequence[Prompt],
        pairs: Pairs,
        sampling: Sampling,
        key: StreamKey,
    ) -> list[tuple[tuple[int, int], list[int], list[float]]]:
        policy = self.policy
        places: dict[tuple[int, ...], int] = {}
        which = [places.setdefault(prompts[p].tokens, len(places)) for p, _ in pairs]
        with self._threads(sum(map(len, places))):
            state_of = states(prefill(self.decoder, list(places), policy.pad_id))

        def lane(members: range) -> tuple[list[list[int]], list[list[float]]]:
            state = state_of(torch.tensor([which[i] for i in members]))
            batch = Batch([prompts[pairs[i][0]] for i in members], [pairs[i][1] for i in members])
            return run_batch(
                state, batch, sampling, key,
                eos_ids=policy.eos_ids, device=policy.device, tokenizer=policy.tokenizer,
            )  # fmt: skip

        shares = lane_shares(len(pairs), lane_count(policy.device))
        done = in_lanes(lane, shares)
        return [
            (pairs[i], tokens, logprobs)
            for members, (tokens_n, logprobs_n) in zip(shares, done, strict=True)
            for i, tokens, logprobs in zip(members, tokens_n, logprobs_n, strict=True)
        ]

    def _refuse_unless_narrow(self) -> None:
        refuse_unless_narrow("rollouts.autocast", self.policy.device)
        if not packs(self.decoder):
            raise ModelError(
                f'rollouts.autocast is "bfloat16" and the model {self.policy.name} is none that '
                "the compiled loops sample from (a CPU, plain float32 weights, at most 1 GiB); "
                "leave rollouts.autocast out."
            )

    def _threads(self, tokens: int) -> AbstractContextManager[None]:
        """For looking at every weight, and for a forward pass over so many tokens."""
        weights = sum(p.numel() for p in self.policy.model.parameters())
        return threads_for(2 * weights * (1 + tokens), self.policy.device)


def _states(decoder: Decoder, new_tokens: int) -> States:
    """How rollouts of processed prompts are decoded with the weights as they are now."""
    if packs(decoder):
        from oneshot_rlvr.kernels.compiling import on_disk  # numba takes its time
        from oneshot_rlvr.kernels.decoding import decode
        from oneshot_rlvr.rollouts.compiled_state import CompiledState
        from oneshot_rlvr.rollouts.packed import pack_prompts, pack_weights

        if not on_disk(decode):
            log.warning("compiling loops for this machine: once, for about half a minute")
        weights = pack_weights(decoder, decoder.narrow)

        def compiled(prefix: Prefix) -> Callable[[Tensor], DecodeState]:
            prompts = pack_prompts(decoder, prefix, new_tokens)
            return lambda which_n: CompiledState(
                weights, prompts, prefix.logits_B_V, which_n, new_tokens
            )

        return compiled
    plan = PlainPlan(decoder)

    def plain(prefix: Prefix) -> Callable[[Tensor], DecodeState]:
        def state_of(which_n: Tensor) -> DecodeState:
            which_b, which_n = which_n.to(decoder.device).unique(return_inverse=True)
            own = prefix if len(which_b) == len(prefix.lengths_B) else prefix.of(which_b)
            return make_state(decoder, plan, own, which_n, new_tokens)

        return state_of

    return plain


def make_state(
    decoder: Decoder, plan: PlainPlan, prefix: Prefix, which_n: Tensor, max_new_tokens: int
) -> DecodeState:
    """Rollout n continues prompt `which_n[n]`; on CUDA positions are recorded and replayed."""
    device = decoder.device
    if device.type == "cuda":
        recorder = GraphRecorder(device)
        return StaticState(decoder, plan, prefix, which_n, max_new_tokens, recorder)
    return PrefixState(decoder, plan, prefix, which_n)


def lane_shares(count: int, lanes: int) -> list[range]:
    """`count` rollouts in consecutive parts for at most so many lanes, none of them tiny."""
    lanes = max(1, min(lanes, count // _LANE_ROWS))
    bounds = [count * lane // lanes for lane in range(lanes + 1)]
    return [range(bounds[i], bounds[i + 1]) for i in range(lanes)]


def _batches(prompts: Sequence[Prompt], group_size: int, rows: int) -> list[Pairs]:
    """Which rollouts are decoded together: by prompt, prompts of like length side by side."""
    order = sorted(
        range(len(prompts)), key=lambda p: (len(prompts[p].tokens), prompts[p].tokens, p)
    )
    pairs = [(p, index) for p in order for index in range(group_size)]
    batches: list[Pairs] = []
    for part in even_parts(pairs, rows):
        # Rarely: more distinct prompts than are processed together.
        distinct: set[tuple[int, ...]] = set()
        batches.append([])
        for pair in part:
            distinct.add(prompts[pair[0]].tokens)
            if len(distinct) > _PROMPTS:
                distinct = {prompts[pair[0]].tokens}
                batches.append([])
            batches[-1].append(pair)
    return batches
