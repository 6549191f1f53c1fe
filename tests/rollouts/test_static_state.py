"""Static buffers and recorded positions against the ordinary path of the shared-prefix engine.

The capture of a CUDA graph needs a GPU (`pytest -m gpu`). All else is tested here: above all that
a position is the same calls on the same tensors every time, which is what a graph repeats.
"""

import dataclasses
import gc
import logging
import weakref
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, shared_prefix
from oneshot_rlvr.rollouts.attention import Prefix
from oneshot_rlvr.rollouts.plan import PlainPlan
from oneshot_rlvr.rollouts.prefix_state import PrefixState, prefill
from oneshot_rlvr.rollouts.recording import EagerRecorder, GraphRecorder
from oneshot_rlvr.rollouts.shared_prefix import SharedPrefixEngine
from oneshot_rlvr.rollouts.static_state import Bucket, StaticState
from oneshot_rlvr.types import Example, Prompt

KEY = StreamKey(seed=0, purpose="static", step=0)
MODELS = [
    ("qwen2", {"kv_heads": 1}),
    ("qwen3", {"head_dim": 16}),
    ("llama", {"attention_bias": True, "kv_heads": 4}),
]
# Lengths of the prompts and rollouts of each.
BATCHES = [([11], 60), ([3, 17, 9, 17, 30], 13)]
LONGEST = 140


class CountingRecorder(EagerRecorder):
    """Tells the rows and the capacity of every bucket that was recorded."""

    def __init__(self):
        self.buckets = []

    def record(self, work):
        bucket = work.__self__
        self.buckets.append((bucket.rows, bucket.capacity))
        return super().record(work)


class Tape(TorchDispatchMode):
    """Every call to torch with the very tensors that went in and came out."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        """The calls again. As in a CUDA graph, what came out lies where it lay before."""
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if not isinstance(old, torch.Tensor):
                    assert old == new, func
                # Not so views and what was changed in place: these are the old tensors.
                elif old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder(CountingRecorder):
    """Traces a position once and replays the trace, without the code that made it."""

    def __init__(self):
        super().__init__()
        self.operations = set()

    def record(self, work):
        super().record(work)
        with Tape() as tape:
            work()
        self.operations |= {func.overloadpacket for func, *_ in tape.calls}
        return tape.replay


def policy_of(architecture, settings, dtype=torch.float32):
    """One token in 30 or so ends a rollout."""
    policy = random_policy(architecture, seed=1, dtype=dtype, **settings)
    return dataclasses.replace(policy, eos_ids=(*policy.eos_ids, *range(100, 106)))


def prompts_of(lengths):
    return [
        Prompt(row, Example(str(row), "", ""), tuple(range(row, row + length)))
        for row, length in enumerate(lengths)
    ]


@pytest.fixture
def rollouts(monkeypatch):
    """Rollouts of a policy; with a kind of recorder the engine decodes in static buffers."""
    monkeypatch.setattr(shared_prefix, "lane_count", lambda device: 1)

    def generate(policy, lengths, group_size, kind=None, temperature=1.0):
        made = []

        def make_state(*args):
            made.append(kind())
            return StaticState(*args, made[-1])

        with monkeypatch.context() as patch:
            if kind is not None:
                patch.setattr(shared_prefix, "make_state", make_state)
                patch.setattr(shared_prefix, "packs", lambda decoder: False)
            done = SharedPrefixEngine(policy).generate(
                prompts_of(lengths), group_size, Sampling(temperature, LONGEST), KEY
            )
        return done, made

    return generate


def assert_both_kinds_of_bucket_changes(buckets):
    assert buckets[0][1] == 64
    assert any(now[1] > before[1] for before, now in pairwise(buckets))
    assert any(now[0] < before[0] and now[1] == before[1] for before, now in pairwise(buckets))
    assert all(
        now[0] <= 0.75 * before[0] or now[1] > before[1] for before, now in pairwise(buckets)
    )
    assert buckets[-1][1] <= LONGEST


@pytest.mark.parametrize(("lengths", "group_size"), BATCHES)
@pytest.mark.parametrize(("architecture", "settings"), MODELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_rollouts_equal_those_of_the_ordinary_path(
    rollouts, architecture, settings, dtype, tolerance, lengths, group_size
):
    policy = policy_of(architecture, settings, dtype)
    static, (recorder,) = rollouts(policy, lengths, group_size, CountingRecorder)
    plain, _ = rollouts(policy, lengths, group_size)
    assert_both_kinds_of_bucket_changes(recorder.buckets)
    assert len({len(r.tokens) for r in static}) > 20
    for a, b in zip(static, plain, strict=True):
        assert (a.row, a.index, a.tokens, a.text) == (b.row, b.index, b.tokens, b.text)
        assert a.logprobs == pytest.approx(b.logprobs, abs=tolerance)


def both_states(policy, lengths, n, recorder):
    """The ordinary state and the static one of n rollouts of these prompts."""
    decoder = Decoder(policy.model)
    prefix = prefill(decoder, [p.tokens for p in prompts_of(lengths)], policy.pad_id)
    which_n = torch.arange(n) % len(lengths)
    plan = PlainPlan(decoder)
    return (
        PrefixState(decoder, plan, prefix, which_n),
        StaticState(decoder, plan, prefix, which_n, LONGEST, recorder),
    )


@pytest.mark.parametrize("lengths", [[11], [3, 17, 9]])
@pytest.mark.parametrize(("architecture", "settings"), MODELS)
@torch.inference_mode()
def test_logits_in_bfloat16_are_as_exact_as_the_ordinary_ones(architecture, settings, lengths):
    # Rounding decides tokens here: both states and an exact one are given the same tokens.
    narrow = policy_of(architecture, settings, torch.bfloat16)
    exact = policy_of(architecture, settings, torch.bfloat16)
    exact.model.double()
    recorder = CountingRecorder()
    plain, static = both_states(narrow, lengths, 24, recorder)
    _, reference = both_states(exact, lengths, 24, EagerRecorder())
    generator = torch.Generator().manual_seed(0)
    states, n, errors = (plain, static, reference), 24, []
    for position in range(100):
        if position % 15 == 14:
            kept_m = torch.randperm(n, generator=generator)[: n - max(1, n // 5)].sort().values
            n = len(kept_m)
            for state in states:
                state.keep(kept_m)
        tokens_n = torch.randint(0, 250, (n,), generator=generator)
        a, b, c = (state.advance(tokens_n).double().log_softmax(-1) for state in states)
        errors.append([(a - c).square().mean(), (b - c).square().mean()])
    assert_both_kinds_of_bucket_changes(recorder.buckets)
    of_plain, of_static = torch.tensor(errors).mean(0).sqrt().tolist()
    assert of_static == pytest.approx(of_plain, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("lengths", "group_size"), BATCHES)
@pytest.mark.parametrize(("architecture", "settings"), MODELS)
def test_a_position_is_the_same_calls_on_the_same_tensors(
    rollouts, architecture, settings, lengths, group_size, dtype
):
    policy = policy_of(architecture, settings, dtype)
    replayed, (recorder,) = rollouts(policy, lengths, group_size, TapeRecorder)
    eager, (counting,) = rollouts(policy, lengths, group_size, CountingRecorder)
    assert_both_kinds_of_bucket_changes(recorder.buckets)
    assert recorder.buckets == counting.buckets
    assert [(r.tokens, r.logprobs) for r in replayed] == [(r.tokens, r.logprobs) for r in eager]
    # Where the trace holds nothing else: what asks the device how many, or which.
    aten = torch.ops.aten
    assert aten.bmm in recorder.operations
    assert not recorder.operations & {
        aten._local_scalar_dense, aten.item, aten.nonzero, aten._unique2, aten.bincount,
        aten.masked_select, aten.equal, aten.is_nonzero,
    }  # fmt: skip


def on_meta(value):
    """`value` with the tensors in it on the device that computes shapes only."""
    if isinstance(value, list):
        return [on_meta(v) for v in value]
    return value.to("meta") if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("lengths", [[11], [3, 17, 9]])
@pytest.mark.parametrize(("architecture", "settings"), MODELS)
@torch.inference_mode()
def test_a_position_touches_no_tensor_of_the_host(architecture, settings, lengths):
    # Questions for a value, and sums with the host's tensors, are errors on this device too.
    policy = policy_of(architecture, settings)
    decoder = Decoder(policy.model)
    prefix = prefill(decoder, [p.tokens for p in prompts_of(lengths)], policy.pad_id)
    which_n = torch.arange(10) % len(lengths)
    bucket = Bucket(decoder, PlainPlan(decoder), prefix, which_n, 64)
    bucket.make_room(None, which_n)
    policy.model.to("meta")
    bucket._plan = PlainPlan(decoder)
    bucket._prefix = Prefix(*(on_meta(getattr(prefix, f.name)) for f in dataclasses.fields(prefix)))
    for name, value in vars(bucket).items():
        setattr(bucket, name, on_meta(value))
    bucket.position()
    with pytest.raises(RuntimeError, match="meta"):
        int(bucket.filled)
    bucket._columns = torch.arange(64)
    with pytest.raises(RuntimeError, match="device"):
        bucket.position()


def test_memory_that_holds_no_numbers_is_never_read(rollouts):
    policy = policy_of("llama", {})
    before, _ = rollouts(policy, [3, 17, 9], 9, CountingRecorder)
    torch.use_deterministic_algorithms(True)  # fills new memory with not-a-number
    try:
        assert torch.empty(3).isnan().all()
        after, _ = rollouts(policy, [3, 17, 9], 9, CountingRecorder)
    finally:
        torch.use_deterministic_algorithms(False)
    assert [(r.tokens, r.logprobs) for r in before] == [(r.tokens, r.logprobs) for r in after]


@pytest.mark.parametrize("kind", [CountingRecorder, TapeRecorder])
@torch.inference_mode()
def test_buffers_die_with_their_state_and_their_bucket(kind):
    policy = policy_of("qwen2", {})
    _, state = both_states(policy, [4], 16, kind())
    gc.collect()
    gc.disable()
    try:
        state.advance(torch.zeros(16, dtype=torch.int64))
        first = weakref.ref(state._bucket.keys[0])
        state.keep(torch.arange(8))
        state.advance(torch.zeros(8, dtype=torch.int64))
        second = weakref.ref(state._bucket.keys[0])
        assert first() is None
        assert second() is not None
        del state
        assert second() is None
    finally:
        gc.enable()


def test_rollouts_under_autocast_are_finite_and_replayable(rollouts):
    policy = policy_of("qwen3", {})
    with torch.autocast("cpu", torch.bfloat16):
        replayed, (recorder,) = rollouts(policy, [3, 17, 9], 9, TapeRecorder)
        eager, _ = rollouts(policy, [3, 17, 9], 9, CountingRecorder)
    assert_both_kinds_of_bucket_changes(recorder.buckets)
    assert [(r.tokens, r.logprobs) for r in replayed] == [(r.tokens, r.logprobs) for r in eager]
    assert all(torch.tensor(r.logprobs).isfinite().all() for r in replayed)


@pytest.mark.parametrize("failing", [None, 0, 1])
def test_where_captures_fail_rollouts_are_the_same(rollouts, monkeypatch, caplog, failing):
    policy = policy_of("qwen2", {})
    expected, (counting,) = rollouts(policy, [3, 17, 9], 9, CountingRecorder)
    captures = []

    def capture(recorder, work):
        captures.append(work.__self__)
        with Tape() as tape:
            work()
        if len(captures) - 1 == failing:
            raise RuntimeError("not permitted when stream is capturing")
        return SimpleNamespace(replay=tape.replay)

    monkeypatch.setattr(GraphRecorder, "_capture", capture)
    monkeypatch.setattr(GraphRecorder, "failed", False)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            done, _ = rollouts(
                policy, [3, 17, 9], 9, lambda: GraphRecorder(torch.device("cuda", 0))
            )
            assert [(r.tokens, r.logprobs) for r in done] == [
                (r.tokens, r.logprobs) for r in expected
            ]
    assert len(caplog.records) == (failing is not None)
    assert len(captures) == (2 * len(counting.buckets) if failing is None else failing + 1)


def test_only_cuda_takes_static_buffers():
    prefix = SimpleNamespace(keys=[torch.zeros(2, 1, 3, 8)] * 2)
    settings = (SimpleNamespace(layers=2), prefix, torch.zeros(4, dtype=torch.int64), 9)
    cuda = SimpleNamespace(device=torch.device("cuda", 0))
    state = shared_prefix.make_state(cuda, *settings)
    assert isinstance(state, StaticState)
    assert isinstance(state._recorder, GraphRecorder)
    policy = policy_of("qwen2", {}, torch.bfloat16)
    decoder = Decoder(policy.model)
    prefix = prefill(decoder, [(1, 2)], policy.pad_id)
    ordinary = shared_prefix.make_state(decoder, PlainPlan(decoder), prefix, settings[2], 9)
    assert isinstance(ordinary, PrefixState)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("lengths", "group_size"), BATCHES)
@pytest.mark.parametrize(("architecture", "settings"), MODELS)
def test_graphs_give_what_plain_launches_give(
    rollouts, monkeypatch, architecture, settings, lengths, group_size, dtype
):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setattr(GraphRecorder, "failed", False)
    device = torch.device("cuda", torch.cuda.current_device())
    policy = policy_of(architecture, settings, dtype)
    policy.model.to(device)
    policy = dataclasses.replace(policy, device=device)
    graphs, _ = rollouts(policy, lengths, group_size, lambda: GraphRecorder(device))
    assert not GraphRecorder.failed
    plain, (counting,) = rollouts(policy, lengths, group_size, CountingRecorder)
    assert_both_kinds_of_bucket_changes(counting.buckets)
    assert [(r.tokens, r.logprobs) for r in graphs] == [(r.tokens, r.logprobs) for r in plain]
    # By itself the engine does the same, and again after its weights have changed.
    chosen, _ = rollouts(policy, lengths, group_size)
    assert [r.tokens for r in chosen] == [r.tokens for r in graphs]
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1.1)
    graphs, _ = rollouts(policy, lengths, group_size, lambda: GraphRecorder(device))
    plain, _ = rollouts(policy, lengths, group_size, CountingRecorder)
    assert [r.tokens for r in graphs] == [r.tokens for r in plain]
    assert [r.tokens for r in graphs] != [r.tokens for r in chosen]
