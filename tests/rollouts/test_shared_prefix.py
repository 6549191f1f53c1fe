"""The shared-prefix engine against the plain one, where its own machinery is at work."""

import logging

import pytest
import torch

from oneshot_rlvr.errors import UnknownNameError
from oneshot_rlvr.policy.decoder import Decoder, unsupported
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.rollouts.hf import HFEngine
from oneshot_rlvr.rollouts.plan import PlainPlan
from oneshot_rlvr.rollouts.prefix_state import PrefixState, prefill
from oneshot_rlvr.rollouts.shared_prefix import SharedPrefixEngine
from oneshot_rlvr.types import Example, Prompt

KEY = StreamKey(seed=0, purpose="shared", step=0)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SLIDING = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}
MODELS = [
    ("qwen2", {}),
    ("qwen2", {"tie_word_embeddings": True, "kv_heads": 1}),
    ("qwen3", {"head_dim": 16}),
    ("llama", {"rope_parameters": LLAMA3}),
    ("llama", {"attention_bias": True, "mlp_bias": True, "kv_heads": 4}),
]


def prompt(row, length):
    return Prompt(row, Example(str(row), "", ""), tuple(range(row, row + length)))


@pytest.mark.parametrize(("architecture", "settings"), MODELS)
@pytest.mark.parametrize(
    ("lengths", "group_size"), [([11], 50), ([5, 5, 5], 4), ([3, 17, 9, 17], 5), ([4, 30], 33)]
)
def test_rollouts_equal_those_of_the_plain_engine(architecture, settings, lengths, group_size):
    policy = random_policy(architecture, seed=1, **settings)
    prompts = [prompt(row, length) for row, length in enumerate(lengths)]
    sampling = Sampling(1.0, 90)  # past the first capacity of the response buffers
    shared = SharedPrefixEngine(policy).generate(prompts, group_size, sampling, KEY)
    plain = HFEngine(policy).generate(prompts, group_size, sampling, KEY)
    assert any(r.finished for r in shared)  # so that the batch was compacted
    assert any(len(r.tokens) > 64 for r in shared)
    for a, b in zip(shared, plain, strict=True):
        assert (a.row, a.index, a.tokens, a.text) == (b.row, b.index, b.tokens, b.text)
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_the_view_holds_no_copy_of_the_weights():
    policy = random_policy("qwen2")
    decoder = Decoder(policy.model)
    held = [v for v in vars(decoder).values() if isinstance(v, torch.Tensor)]
    assert held == []
    assert decoder.layers[0].self_attn is policy.model.model.layers[0].self_attn


def test_auto_takes_the_shared_engine_for_a_known_architecture(caplog):
    with caplog.at_level(logging.WARNING):
        engine = make_engine("auto", random_policy("llama"))
    assert engine.name == "shared_prefix"
    assert not caplog.records


@pytest.mark.parametrize(
    ("architecture", "settings", "why"),
    [
        ("gpt2", {}, "none of llama"),
        ("qwen2", SLIDING, "sliding"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "rotary",
        ),
    ],
)  # fmt: skip
def test_auto_falls_back_for_others_and_says_why(architecture, settings, why, caplog):
    policy = random_policy(architecture, **settings)
    with caplog.at_level(logging.WARNING):
        engine = make_engine("auto", policy)
    assert engine.name == "hf"
    assert why in caplog.text
    assert why in (unsupported(policy.model) or "")
    with pytest.raises(ValueError, match=why):
        SharedPrefixEngine(policy)


def test_an_unknown_engine_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match='Did you mean "shared_prefix"'):
        make_engine("shared_prefx", random_policy("llama"))


def test_a_model_without_a_cache_is_run_over_the_whole_text(caplog):
    policy = random_policy("mamba", state_size=4)
    engine = make_engine("hf", policy)
    with caplog.at_level(logging.WARNING):
        rollouts = engine.generate([prompt(0, 4), prompt(1, 4)], 3, Sampling(0.0, 6), KEY)
    assert "no key-value cache" in caplog.text
    for rollout in rollouts:
        ids = list(rollout.prompt_tokens)
        for token in rollout.tokens:
            with torch.inference_mode():
                assert token == int(policy.model(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(token)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.inference_mode()
def test_the_last_prompt_of_several_does_not_read_its_padding(dtype):
    policy = random_policy("qwen2", seed=1, dtype=dtype)
    decoder = Decoder(policy.model)
    short, long = [5, 6, 7], list(range(20, 29))
    prefix = prefill(decoder, [short, long], policy.pad_id)
    state = PrefixState(decoder, PlainPlan(decoder), prefix, torch.tensor([0, 1]))
    state.advance(torch.tensor([8, 8]))
    state.keep(torch.tensor([0]))
    logits_V = state.advance(torch.tensor([9]))[0]
    expected_V = policy.model(torch.tensor([[*short, 8, 9]])).logits[0, -1]
    torch.testing.assert_close(logits_V, expected_V, atol=1e-4, rtol=0)
