"""Adapters: what trains, what is saved, and that the base is still there."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from oneshot_rlvr.config import LoraConfig
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.policy import Reference, load_weights, save_policy, sequence_logprobs
from oneshot_rlvr.policy.lora import (
    BaseReference,
    adapter_tensors,
    add_adapters,
    has_adapters,
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
    save_adapter(policy.model, str(tmp_path / "base"), CONFIG, tmp_path / "adapter")
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
