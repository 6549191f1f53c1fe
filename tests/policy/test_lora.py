"""Adapters: what trains, what is saved, and that the base is still there."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from oneshot_rlvr.config import LoraConfig
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.policy import Reference, load_weights, save_policy, sequence_logprobs
from oneshot_rlvr.policy.load import merge_in_place
from oneshot_rlvr.policy.lora import (
    Adapters,
    BaseReference,
    adapter_tensors,
    add_adapters,
    has_adapters,
    merged_state,
    save_adapter,
)
from oneshot_rlvr.policy.random_model import random_policy

CONFIG = LoraConfig(rank=3, alpha=6.0)
PROMPTS, RESPONSES = [(1, 2, 3)] * 2 + [(4, 5)], [(7, 8), (9,), (3, 2, 1)]


def scores(model):
    return sequence_logprobs(model, PROMPTS, RESPONSES, 0.7, pad_id=0).logprobs_N_T


@pytest.fixture(params=["qwen2", "gpt2"])
def moved(request):
    """A policy whose adapters have left zero, and its twin without any."""
    policy, base = (random_policy(request.param, seed=1, scale=0.1) for _ in range(2))
    add_adapters(policy.model, CONFIG, seed=5)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapter_tensors(policy.model).values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return policy, base


def test_fresh_adapters_change_nothing_and_alone_are_trained():
    policy, base = (random_policy("qwen2", seed=1, scale=0.1) for _ in range(2))
    add_adapters(policy.model, CONFIG, seed=5)
    assert torch.allclose(scores(policy.model), scores(base.model), atol=1e-6)
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert trained == set(adapter_tensors(policy.model))
    assert len(trained) == 2 * 7 * 2  # two matrices for seven linear maps of two layers
    scores(policy.model).sum().backward()
    assert all(p.grad is None for n, p in policy.model.named_parameters() if n not in trained)


def test_equal_seeds_give_equal_adapters_and_leave_the_global_generator_alone():
    policies = [random_policy("qwen2") for _ in range(3)]
    before = torch.get_rng_state()
    for policy, seed in zip(policies, (5, 5, 6), strict=True):
        add_adapters(policy.model, CONFIG, seed)
    assert torch.equal(torch.get_rng_state(), before)
    a, b, c = (
        torch.cat([t.flatten() for t in adapter_tensors(p.model).values()]) for p in policies
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_the_model_without_adapters_is_the_reference(moved):
    policy, base = moved
    expected = Reference(base.model).logprobs(PROMPTS, RESPONSES, 0.7, pad_id=0).logprobs_N_T
    reference = BaseReference(policy.model)
    got = reference.logprobs(PROMPTS, RESPONSES, 0.7, pad_id=0).logprobs_N_T
    assert torch.allclose(got, expected, atol=1e-6)
    assert (scores(policy.model) - expected).abs().max() > 1e-3  # they are on again


def test_what_is_saved_is_a_plain_model(moved, tmp_path):
    policy, _ = moved
    save_policy(policy, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert not has_adapters(plain)
    assert torch.allclose(scores(plain), scores(policy.model), atol=1e-5)


def test_adapters_come_back_bit_for_bit(moved, tmp_path):
    policy, _ = moved
    save_policy(policy, tmp_path)
    expected = scores(policy.model)
    with torch.no_grad():
        for parameter in adapter_tensors(policy.model).values():
            parameter.zero_()
    load_weights(policy, tmp_path)
    assert torch.equal(scores(policy.model), expected)


def test_peft_reads_the_saved_adapter_over_the_base(moved, tmp_path):
    from peft import PeftModel

    policy, base = moved
    save_policy(base, tmp_path / "base")
    adapters = Adapters.of(policy.model)
    save_adapter(adapters, str(tmp_path / "base"), CONFIG, tmp_path / "adapter")
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "adapter").iterdir()}
    assert modes["adapter_model.safetensors"] == modes["adapter_config.json"]
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    joined = PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    ids = torch.tensor([[1, 2, 3, 4]])
    assert torch.allclose(joined(ids).logits, policy.model(ids).logits, atol=1e-5)
    assert not torch.allclose(joined(ids).logits, base.model(ids).logits, atol=1e-3)


def test_a_layer_that_is_not_there_is_refused_with_those_that_are():
    config = LoraConfig(targets=["q_proj", "quark_proj"])
    with pytest.raises(ConfigError, match='has "quark_proj", which the model has no layer of') as e:
        add_adapters(random_policy("qwen2").model, config, 0)
    assert "down_proj, gate_proj, k_proj" in str(e.value)


def test_only_the_named_layers_get_one():
    policy = random_policy("qwen2")
    add_adapters(policy.model, LoraConfig(targets=["q_proj"]), 0)
    assert all(".q_proj." in name for name in adapter_tensors(policy.model))


# Low precision: what is saved is what was trained.


def bfloat16_policy(**settings):
    """A base in bfloat16 and adapters moved by five steps of 1e-5, as AdamW's first steps are."""
    policy = random_policy("qwen2", seed=1, scale=0.1, hidden=64, dtype=torch.bfloat16, **settings)
    add_adapters(policy.model, LoraConfig(rank=16, alpha=32.0), seed=5)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in adapter_tensors(policy.model).items():
            if "lora_B" in name:
                signs = torch.randn(parameter.shape, generator=generator).sign()
                parameter.add_(5e-5 * signs)
    return policy


def kept_share(state, policy):
    """How much of the update is there, along its own direction, over all adapted weights."""
    along = size = 0.0
    for name, layer in policy.model.named_modules():
        if hasattr(layer, "lora_A"):
            update = layer.get_delta_weight("default").double()
            moved = state[f"{name}.weight"].double() - layer.base_layer.weight.double()
            along += float((moved * update).sum())
            size += float(update.square().sum())
    return along / size


def test_adapters_of_a_bfloat16_base_are_float32():
    policy = bfloat16_policy()
    assert {t.dtype for t in adapter_tensors(policy.model).values()} == {torch.float32}
    assert scores(policy.model).dtype == torch.float32


def test_a_saved_model_keeps_the_whole_update_and_a_bfloat16_one_would_not(tmp_path):
    policy = bfloat16_policy(tie_word_embeddings=True)
    save_policy(policy, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()  # by the type it says it has
    assert plain.dtype == torch.float32
    assert kept_share(plain.state_dict(), policy) == pytest.approx(1.0, abs=1e-3)
    rounded = {name: t.bfloat16() for name, t in merged_state(policy.model).items()}
    assert kept_share(rounded, policy) < 0.3  # as it was saved, and sampled from
    assert plain.get_output_embeddings().weight is plain.get_input_embeddings().weight


def test_merged_in_place_it_is_the_model_that_would_be_saved(tmp_path):
    policy = bfloat16_policy()
    save_policy(policy, tmp_path)
    expected = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    merge_in_place(policy)
    assert not has_adapters(policy.model)
    assert policy.dtype == torch.float32
    got = policy.model.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
def test_a_head_that_was_trained_apart_is_saved_apart(architecture, in_place, tied, tmp_path):
    policy = random_policy(architecture, seed=1, scale=0.1, tie_word_embeddings=tied)
    base = scores(policy.model)
    add_adapters(policy.model, LoraConfig(rank=2, alpha=4.0, targets=["lm_head"]), seed=0)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapter_tensors(policy.model).values():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    trained = scores(policy.model)
    assert trained.requires_grad
    assert (trained - base).abs().max() > 0.01  # the head's adapter is not passed over
    if in_place:
        merge_in_place(policy)
        assert policy.model.config.tie_word_embeddings is False  # for what reads it in memory
    save_policy(policy, tmp_path)
    if not in_place:
        assert policy.model.config.tie_word_embeddings is tied  # as it was
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert plain.config.tie_word_embeddings is False
    assert torch.allclose(scores(plain), trained, atol=1e-5)


def test_a_tied_head_stays_tied(tmp_path):
    policy = random_policy("qwen2", seed=1, tie_word_embeddings=True)
    add_adapters(policy.model, CONFIG, seed=0)
    save_policy(policy, tmp_path / "beside")
    merge_in_place(policy)
    save_policy(policy, tmp_path / "merged")
    for folder in ("beside", "merged"):
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / folder)
        assert plain.config.tie_word_embeddings is True
        assert plain.get_output_embeddings().weight is plain.get_input_embeddings().weight
