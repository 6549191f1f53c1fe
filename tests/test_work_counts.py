"""A step's work in counts, not seconds: tokens computed, kernels called, bytes allocated.

The bounds are today's counts and a tenth: a change that computes prompts twice, goes back to Python
per token and row, or copies the keys at every position is seen here, on any machine.
"""

import dataclasses
import tracemalloc
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from oneshot_rlvr.config import parse_recipe
from oneshot_rlvr.kernels import decoding, layer
from oneshot_rlvr.kernels.packing import OWN, padded
from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.rollouts.compiled_state import CompiledState
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.types import Example, Graded, Prompt, Reason, Verdict

LAYERS, ROWS, PROMPT, TOKENS = 3, 64, 40, 24
PROMPTS = [Prompt(0, Example("0", "", ""), tuple(range(PROMPT)))]


class Counting(TorchDispatchMode):
    """Kernels called and bytes allocated below it; views and in-place operations cost nothing."""

    def __init__(self):
        super().__init__()
        self.kernels = self.bytes = 0
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {t.untyped_storage().data_ptr() for t in tensors((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        made = [t for t in tensors(out) if t.untyped_storage().data_ptr() not in given]
        self.bytes += sum(t.untyped_storage().nbytes() for t in made)
        self.names[func._schema.name] += 1
        self.kernels += bool(made) or func._schema.name.endswith("_")
        return out


def tensors(tree):
    plain = [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]
    return [t for t in plain if t.layout == torch.strided]


@pytest.fixture(autouse=True)
def _one_thread():
    """Counts are of one lane; FlopCounterMode sees what its own thread does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def policy():
    made = random_policy(
        "qwen2", hidden=32, layers=LAYERS, heads=4, kv_heads=2, intermediate=96, vocabulary=300
    )
    # Full length, so that every count is known.
    return type(made)(**{**{s: getattr(made, s) for s in made.__slots__}, "eos_ids": (10**9,)})


@pytest.fixture
def embedded(monkeypatch):
    """Numbers of tokens that were embedded by tensor operations, call by call."""
    calls = []
    embed = Decoder.embed
    monkeypatch.setattr(
        Decoder, "embed", lambda self, t: (calls.append(t.numel()), embed(self, t))[1]
    )
    return calls


@pytest.fixture
def compiled(monkeypatch):
    """The states of compiled decoding, and what each call of it was given."""
    seen = Compiled([], [])
    made, whole = CompiledState.__init__, decoding.decode

    def init(self, *given):
        made(self, *given)
        seen.states.append(self)

    def noted(*given):
        seen.calls.append(given)
        return whole(*given)

    noted.signatures = [True]  # no matter here whether it is to be compiled
    monkeypatch.setattr(CompiledState, "__init__", init)
    monkeypatch.setattr(decoding, "decode", noted)
    return seen


@dataclasses.dataclass
class Compiled:
    states: list[CompiledState]
    calls: list[tuple]


def sampled(policy, tokens=TOKENS, rows=ROWS):
    engine = make_engine("shared_prefix", policy)
    return engine.generate(PROMPTS, rows, Sampling(1.0, tokens), StreamKey(0, "counts", 0))


def graded(rollouts, right=lambda n: n % 2 == 0):
    verdicts = [
        Verdict(right(n), Reason.CORRECT if right(n) else Reason.MISMATCH)
        for n in range(len(rollouts))
    ]
    return [Graded(r, v, float(v.correct)) for r, v in zip(rollouts, verdicts, strict=True)]


def trainer(policy, **train):
    return TrainStep(
        policy,
        parse_recipe(
            {
                "rollouts": {"prompts_per_step": 1, "group_size": ROWS, "temperature": 1.0},
                "algorithm": {"kl_coefficient": 0.0, "entropy_coefficient": 0.0},
                "train": {"micro_batch_tokens": 4096, **train},
            }
        ),
    )


def test_sampling_computes_the_prompt_once_and_every_token_but_the_last_once(
    policy, embedded, compiled
):
    sampled(policy)
    assert embedded == [PROMPT]
    assert sum(state.computed for state in compiled.states) == ROWS * (TOKENS - 1)


@pytest.mark.parametrize("rows", [16, 128])
def test_sampling_is_one_call_for_many_tokens_of_all_rows(policy, compiled, rows):
    counts = []
    for tokens in (4, 100):
        with Counting() as counting:
            sampled(policy, tokens, rows)
        counts.append(counting.kernels)
    assert counts[0] == counts[1] <= 207  # packing the weights, and the prompt
    assert len(compiled.calls) / torch.get_num_threads() <= 1 + 4


def test_a_prompts_token_costs_a_new_token_attentions_own_operations_and_no_more(policy):
    double = dataclasses.replace(policy, model=policy.model.double(), dtype=torch.float64)

    def flops(prompt, tokens):
        asked = [Prompt(0, Example("0", "", ""), tuple(range(prompt)))]
        with FlopCounterMode(display=False) as counter:
            make_engine("shared_prefix", double).generate(
                asked, ROWS, Sampling(1.0, tokens), StreamKey(0, "counts", 0)
            )
        return counter.get_total_flops()

    # Differences twice: what the prompts themselves cost, once, is in both lengths of responses.
    by_tokens = [flops(prompt, 20) - flops(prompt, 4) for prompt in (40, 90)]
    assert (by_tokens[1] - by_tokens[0]) / (16 * ROWS * 50) == 4 * LAYERS * 32


def test_compiled_loops_get_the_prompts_keys_without_a_rollout_axis(policy, compiled):
    sampled(policy)
    for *_, prompts, own in compiled.calls:
        assert prompts.lengths.tolist() == [PROMPT]
        assert prompts.keys.size == LAYERS * 2 * 8 * padded(PROMPT)
        assert prompts.values.size == LAYERS * 2 * padded(8) * PROMPT
        assert own.which.tolist() == [0] * len(own.which)
    assert sum(len(own.which) for *_, own in compiled.calls) == ROWS


def test_a_new_token_allocates_nothing(policy):
    def peak(tokens):
        tracemalloc.start()
        sampled(policy, tokens)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    few, many = peak(2), peak(60)  # within a block of keys
    # What was drawn and with what, three numbers a token, and the rollouts in Python.
    assert (many - few) / (58 * ROWS) <= 250


def test_a_row_holds_its_keys_and_one_set_of_activations(policy, compiled):
    sampled(policy)
    (own,) = {id(state): state._own for state in compiled.states}.values()
    keys = 2 * LAYERS * 2 * OWN * (8 + padded(8)) / 2
    activations = 2 * padded(32) + padded(64) + 32 + padded(300) + 2 * padded(96)
    assert sum(x.nbytes for x in own) <= ROWS * (4 * (keys + activations) + 16)


def test_an_update_computes_the_prompt_once_and_every_token_that_is_read_once(policy, embedded):
    rollouts = sampled(policy)
    embedded.clear()
    trainer(policy).update(graded(rollouts))
    assert sum(embedded) == PROMPT + ROWS * (TOKENS - 1)


def test_an_update_calls_few_kernels_and_keeps_little(policy):
    rollouts = sampled(policy)
    step = trainer(policy)
    step.update(graded(rollouts))
    with Counting() as counting:
        step.update(graded(rollouts))
    # What compiled loops do inside is not seen here.
    assert counting.kernels <= 1560
    assert counting.bytes / (ROWS * TOKENS) <= 9_900


def test_rollouts_without_advantage_get_no_backward_pass(policy, monkeypatch):
    rollouts = sampled(policy)
    step = trainer(policy)
    calls = []
    whole = layer.outputs_backward
    monkeypatch.setattr(
        layer,
        "outputs_backward",
        lambda *given: (calls.append(len(given[0])), whole(*given)),
    )
    step.update(graded(rollouts))
    assert sum(calls) == LAYERS * (PROMPT + ROWS * (TOKENS - 1))
    calls.clear()
    step.update(graded(rollouts, lambda n: True))
    assert not calls


def test_a_share_of_them_computes_that_share_of_tokens(policy, embedded):
    rollouts = sampled(policy)
    embedded.clear()
    trainer(policy, zero_variance_share=0.25).update(graded(rollouts, lambda n: True))
    assert sum(embedded) == PROMPT + ROWS // 4 * (TOKENS - 1)
