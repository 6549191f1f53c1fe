"""The compiled loops against the tensor operations that they stand for."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.kernels import decoding, drawing
from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine, shared_prefix
from oneshot_rlvr.rollouts import sampling as sampling_module
from oneshot_rlvr.rollouts.compiled_state import CompiledState
from oneshot_rlvr.rollouts.packed import pack_prompts, pack_weights
from oneshot_rlvr.rollouts.plan import PlainPlan
from oneshot_rlvr.rollouts.prefix_state import PrefixState, prefill
from oneshot_rlvr.rollouts.sampling import _sample, sample
from oneshot_rlvr.types import Example, Prompt


@pytest.mark.parametrize("vocabulary", [1, 2, 63, 64, 65, 544, 3000])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_tokens_are_drawn_as_by_tensor_operations(vocabulary, temperature):
    generator = torch.Generator().manual_seed(vocabulary)
    logits = 3 * torch.randn(500, vocabulary, generator=generator)
    logits[::3, ::2] = -math.inf
    logits[:, -1] = 0.0
    uniforms = torch.rand(500, dtype=torch.float64, generator=generator)
    uniforms[:2] = torch.tensor([2.0**-53, 1 - 2.0**-53])
    sampling = Sampling(temperature, 1)
    tokens, logprobs = sample(logits, uniforms, sampling)
    wanted, wanted_logprobs = _sample(logits, uniforms, sampling)
    assert tokens.tolist() == wanted.tolist()
    assert logprobs.tolist() == pytest.approx(wanted_logprobs.tolist(), abs=1e-5)


def test_a_token_without_weight_is_not_drawn_wherever_the_uniform_falls():
    logits = torch.full((4, 200), -math.inf)
    logits[:, 70] = 1.0
    uniforms = torch.tensor([2.0**-53, 0.5, 1 - 2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
    tokens, logprobs = sample(logits, uniforms, Sampling(1.0, 1))
    assert tokens.tolist() == [70] * 4
    assert logprobs.tolist() == [0.0] * 4


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_distribution_are_left_to_the_tensor_operations(bad):
    logits = torch.zeros(3, 100)
    logits[1, 60] = bad
    tokens, logprobs = np.zeros(3, np.int64), np.zeros(3)
    for rules in (drawing.rules_of(1.0), drawing.rules_of(0.0), drawing.rules_of(1.0, 5, 0.9, 0.1)):
        assert not drawing.draw(logits.numpy(), np.full(3, 0.5), rules, tokens, logprobs)


def states(policy, prompts, which, new):
    """The same rollouts as compiled loops and as tensor operations have them."""
    decoder = Decoder(policy.model)
    with torch.inference_mode():
        prefix = prefill(decoder, prompts, policy.pad_id)
        packed = pack_weights(decoder), pack_prompts(decoder, prefix, new)
        compiled = CompiledState(*packed, prefix.logits_B_V, which, new)
        return compiled, PrefixState(decoder, PlainPlan(decoder), prefix, which)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kv_heads": 1},
        {"kv_heads": 4},
        {"hidden": 96},
        {"hidden": 96, "heads": 12, "kv_heads": 1},
        {"hidden": 120, "heads": 3, "kv_heads": 3},
        {"hidden": 160, "heads": 2, "kv_heads": 1, "intermediate": 70, "vocabulary": 301},
        {"attention_bias": True, "mlp_bias": True},
    ],
)
@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
def test_positions_are_those_of_tensor_operations(architecture, settings):
    if "mlp_bias" in settings and architecture != "llama":
        settings = {}
    policy, generator = random_policy(architecture, **settings), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if name.endswith(("bias", "norm.weight")):  # zeros and ones as they are made
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    which = torch.tensor([0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    prompts = [(1, 2, 3), (4,), tuple(range(70))]
    compiled, plain = states(policy, prompts, which, 150)
    double = Decoder(copy.deepcopy(policy.model).double())
    with torch.inference_mode():
        prefix = prefill(double, prompts, policy.pad_id)
        exact = PrefixState(double, PlainPlan(double), prefix, which)
    errors = [0.0, 0.0]
    with torch.inference_mode():
        torch.testing.assert_close(compiled.start(), plain.start())
        n = len(which)
        for place in range(150):  # past two blocks of own keys
            if place in (20, 80):
                kept = torch.tensor([0, 2, 3, 5, 6, 8])[: n // 2]
                for state in (compiled, plain, exact):
                    state.keep(kept)
                n = len(kept)
            tokens = torch.randint(0, 200, (n,), generator=generator)
            right = exact.advance(tokens)
            for number, state in enumerate((compiled, plain)):
                error = float((state.advance(tokens) - right).abs().max())
                errors[number] = max(errors[number], error)
    assert errors[0] < 3 * errors[1] < 3e-3
    assert compiled.computed == 20 * 12 + 60 * 6 + 70 * 3


def generate(policy, prompts, group_size, sampling):
    return make_engine("shared_prefix", policy).generate(
        prompts, group_size, sampling, StreamKey(0, "test", 0)
    )


SETTINGS = [
    {}, {"temperature": 0.7}, {"top_p": 0.8}, {"top_k": 9, "min_p": 0.05, "temperature": 0.7},
    {"repetition_penalty": 1.3}, {"repetition_penalty": 1.2, "top_p": 0.9, "top_k": 50},
    {"temperature": 0.0, "repetition_penalty": 1.2},
]  # fmt: skip


def sampling_of(tokens, temperature=1.0, **settings):
    return Sampling(temperature, tokens, **settings)


class ByPosition:
    """A state that does not draw by itself, so that the tensor operations do."""

    def __init__(self, state):
        self.start, self.advance, self.keep = state.start, state.advance, state.keep


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_many_positions_in_one_call_are_those_one_by_one(settings, monkeypatch):
    policy = random_policy("qwen2", scale=0.3)
    policy = dataclasses.replace(policy, eos_ids=tuple(range(250, 259)))
    asked = [Prompt(r, Example(str(r), "", ""), (1, 2, 3, r)) for r in range(5)]
    sampling = sampling_of(60, **settings)
    at_once = generate(policy, asked, 8, sampling)
    states = shared_prefix._states

    def by_position(*given):
        make = states(*given)
        return lambda prefix: lambda which: ByPosition(make(prefix)(which))

    monkeypatch.setattr(shared_prefix, "_states", by_position)
    monkeypatch.setattr(sampling_module, "_compiled", lambda *given: None)
    one_by_one = generate(policy, asked, 8, sampling)
    lengths = {len(r.tokens) for r in at_once}
    assert len(lengths) > (15 if sampling.temperature else 1)
    assert [r.tokens for r in at_once] == [r.tokens for r in one_by_one]
    for one, other in zip(at_once, one_by_one, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-5)


@pytest.mark.parametrize("settings", [*SETTINGS, {"stop": ("a",)}], ids=str)
def test_a_rollout_is_the_same_to_the_bit_whatever_is_decoded_beside_it(settings):
    policy = random_policy("qwen2")
    asked = [Prompt(r, Example(str(r), "", ""), (1, 2, 3 + r % 3)) for r in range(7)]
    sampling = sampling_of(70, **settings)
    together = {(r.row, r.index): r for r in generate(policy, asked, 7, sampling)}
    for rollout in generate(policy, asked, 2, sampling):
        assert rollout == together[rollout.row, rollout.index]
    assert generate(policy, asked, 2, sampling) == generate(policy, asked, 2, sampling)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj"])
def test_a_model_that_diverged_is_an_error_that_says_so(bad, dtype, where):
    policy = random_policy("qwen2", dtype=dtype)
    with torch.no_grad():
        policy.model.model.layers[1].get_submodule(where).weight[0, 0] = bad
    asked = [Prompt(0, Example("0", "", ""), (1, 2, 3))]
    with pytest.raises(ModelError, match=r"logits are not finite, first at token [01]"):
        generate(policy, asked, 4, Sampling(1.0, 5))


def test_what_diverges_later_is_seen_too():
    policy = random_policy("qwen2")
    with torch.no_grad():
        policy.model.model.embed_tokens.weight[20] = math.nan
        policy.model.lm_head.weight[20] = 0.0
    asked = [Prompt(0, Example("0", "", ""), (1, 2, 3))]
    with pytest.raises(ModelError, match=r"logits are not finite, first at token [1-9]"):
        generate(policy, asked, 20, Sampling(1.0, 30))


def test_engines_on_other_types_do_without(monkeypatch):
    policy = random_policy("qwen2")
    double = dataclasses.replace(policy, model=policy.model.double(), dtype=torch.float64)
    monkeypatch.setattr(decoding, "decode", None)
    rollouts = generate(double, [Prompt(0, Example("0", "", ""), (1, 2, 3))], 3, Sampling(1.0, 5))
    assert len(rollouts) == 3
