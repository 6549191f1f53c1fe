"""A step's work in counts, not seconds: tokens computed, kernels called, bytes allocated.

The bounds are today's counts and a tenth: a change that computes prompts twice, goes back to Python
per token and row, or copies the keys at every position is seen here, on any machine.
"""

import dataclasses
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from oneshot_rlvr.config import parse_recipe
from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, kernels, make_engine
from oneshot_rlvr.rollouts.plan import PackedPlan
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


@pytest.fixture
def policy():
    made = random_policy(
        "qwen2", hidden=32, layers=LAYERS, heads=4, kv_heads=2, intermediate=96, vocabulary=300
    )
    # Full length, so that every count is known.
    return type(made)(**{**{s: getattr(made, s) for s in made.__slots__}, "eos_ids": (10**9,)})


@pytest.fixture
def embedded(monkeypatch):
    """Numbers of tokens that were embedded, call by call."""
    calls = []
    for owner in (Decoder, PackedPlan):
        embed = owner.embed
        monkeypatch.setattr(
            owner,
            "embed",
            lambda self, t, embed=embed: (calls.append(t.numel()), embed(self, t))[1],
        )
    return calls


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


def test_sampling_computes_the_prompt_once_and_every_token_but_the_last_once(policy, embedded):
    sampled(policy)
    assert embedded == [PROMPT] + [ROWS] * (TOKENS - 1)


def test_sampling_calls_a_fixed_number_of_kernels_a_token_whatever_the_rows(policy):
    def per_token(rows):
        counts = []
        for tokens in (4, 20):
            with Counting() as counting:
                sampled(policy, tokens, rows)
            counts.append(counting.kernels)
        return (counts[1] - counts[0]) / 16

    few, many = per_token(16), per_token(128)
    assert many == few
    assert many <= 40


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


def test_compiled_attention_is_called_once_a_layer_and_token_with_the_prompts_keys_held_once(
    policy, monkeypatch
):
    calls = []
    whole = kernels.attend
    monkeypatch.setattr(kernels, "attend", lambda *given: (calls.append(given), whole(*given)))
    sampled(policy)
    assert len(calls) == LAYERS * (TOKENS - 1)
    for _, _, which, lengths, prompt_keys, prompt_values, keys, *_ in calls:
        assert prompt_keys.shape[:3] == prompt_values.shape[:3] == (2, 1, PROMPT)
        assert lengths.tolist() == [PROMPT]
        assert which.tolist() == [0] * ROWS
        assert keys.shape[0] == ROWS
    assert [filled for *_, filled, _, _ in calls[::LAYERS]] == list(range(1, TOKENS))


def test_a_new_token_allocates_no_copy_of_the_keys(policy):
    counts = []
    for tokens in (2, 30):  # within the room that is made at first
        with Counting() as counting:
            sampled(policy, tokens)
        counts.append(counting.bytes)
    per_row = (counts[1] - counts[0]) / 28 / ROWS
    assert per_row <= 7_200


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
    assert counting.kernels <= 2040
    assert counting.bytes / (ROWS * TOKENS) <= 40_000


def test_rollouts_without_advantage_get_no_backward_pass(policy):
    rollouts = sampled(policy)
    step = trainer(policy)
    backward = []
    for right in (lambda n: n % 2 == 0, lambda n: True):
        with Counting() as counting:
            step.update(graded(rollouts, right))
        backward.append(counting.names["aten::silu_backward"])
    # Prompt and responses of the one micro-batch, each a pass of its own; then none.
    assert backward == [2 * LAYERS, 0]


def test_a_share_of_them_computes_that_share_of_tokens(policy, embedded):
    rollouts = sampled(policy)
    embedded.clear()
    trainer(policy, zero_variance_share=0.25).update(graded(rollouts, lambda n: True))
    assert sum(embedded) == PROMPT + ROWS // 4 * (TOKENS - 1)
