"""Sampling with bfloat16 products: near double precision, alone as together, or refused."""

import copy
import math

import pytest
import torch

from oneshot_rlvr.config import RolloutsConfig, parse_recipe
from oneshot_rlvr.errors import ConfigError, ModelError
from oneshot_rlvr.kernels import narrow
from oneshot_rlvr.policy.logprobs import sequence_logprobs
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.types import Example, Prompt

has_them = pytest.mark.skipif(
    not narrow.instructions(), reason="this CPU multiplies no bfloat16 numbers"
)
NARROW = RolloutsConfig(autocast="bfloat16")
LAYERS = 3
# 8 bits: a product is off by about 2^-8; there are 5 a layer and the logits, errors of either sign.
RELATIVE = 2.0**-8 * math.sqrt(5 * LAYERS + 1)


def prompts(*lengths):
    return [
        Prompt(row, Example(str(row), "", ""), tuple((7 * row + i) % 250 for i in range(length)))
        for row, length in enumerate(lengths)
    ]


def policy_of(architecture, **settings):
    return random_policy(
        architecture, layers=LAYERS, hidden=120, heads=6, kv_heads=2, head_dim=20,
        intermediate=200, scale=0.05, **settings,
    )  # fmt: skip


@has_them
@pytest.mark.parametrize(
    ("architecture", "settings"),
    [("qwen2", {}), ("qwen3", {}), ("llama", {"attention_bias": True, "mlp_bias": True})],
)
@pytest.mark.parametrize("group", [1, 17, 40])
def test_log_probabilities_are_near_those_in_double_precision(architecture, settings, group):
    policy = policy_of(architecture, **settings)
    engine = make_engine("auto", policy, NARROW)
    asked = prompts(3, 40)
    rollouts = engine.generate(asked, group, Sampling(0.8, 40), StreamKey(0, "test"))
    exact = sequence_logprobs(
        copy.deepcopy(policy.model).double(), [r.prompt_tokens for r in rollouts],
        [r.tokens for r in rollouts], 0.8, pad_id=0,
    ).logprobs_N_T  # fmt: skip
    gaps = torch.cat(
        [
            (torch.tensor(r.logprobs, dtype=torch.float64) - row[: len(r.tokens)]).abs()
            for r, row in zip(rollouts, exact, strict=True)
        ]
    )
    assert 1e-6 < gaps.mean() < RELATIVE
    assert gaps.max() < 6 * RELATIVE


@has_them
def test_a_rollout_is_the_same_whatever_is_decoded_beside_it(monkeypatch):
    policy = policy_of("qwen2")
    engine = make_engine("shared_prefix", policy, NARROW)
    asked, sampling = prompts(3, 40), Sampling(1.0, 30)
    together = engine.generate(asked, 40, sampling, StreamKey(0, "test"))
    again = engine.generate(asked, 40, sampling, StreamKey(0, "test"))
    few = engine.generate(asked, 3, sampling, StreamKey(0, "test"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    lanes = engine.generate(asked, 40, sampling, StreamKey(0, "test"))
    for row in range(2):
        for index in range(40):
            one = together[40 * row + index]
            for other in (again[40 * row + index], lanes[40 * row + index]):
                assert (one.tokens, one.logprobs) == (other.tokens, other.logprobs)
            if index < 3:
                alone = few[3 * row + index]
                assert (one.tokens, one.logprobs) == (alone.tokens, alone.logprobs)


@has_them
def test_weights_are_read_at_every_call():
    policy = policy_of("qwen2")
    engine, key = make_engine("auto", policy, NARROW), StreamKey(0, "test")
    before = engine.generate(prompts(5), 4, Sampling(1.0, 10), key)
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(3.0)
    after = engine.generate(prompts(5), 4, Sampling(1.0, 10), key)
    assert [r.tokens for r in before] != [r.tokens for r in after]


@has_them
def test_weights_that_diverged_are_told():
    policy = policy_of("qwen2")
    with torch.no_grad():
        policy.model.model.layers[1].mlp.up_proj.weight[3] = torch.nan
    engine = make_engine("auto", policy, NARROW)
    with pytest.raises(ModelError, match="logits are not finite"):
        engine.generate(prompts(5), 4, Sampling(1.0, 10), StreamKey(0, "test"))


def test_a_cpu_without_the_instructions_refuses(monkeypatch):
    monkeypatch.setattr(narrow, "instructions", lambda: "")
    with pytest.raises(ModelError, match="this CPU has no instructions") as refused:
        make_engine("auto", random_policy("qwen2"), NARROW)
    assert str(refused.value).endswith("leave rollouts.autocast out.")


@pytest.mark.parametrize("name", ["hf", "auto"])
def test_engines_without_such_products_refuse(name, monkeypatch):
    monkeypatch.setattr(narrow, "instructions", lambda: "avx512_bf16")
    policy = random_policy("gpt2")
    with pytest.raises(ConfigError, match='engine "hf", which has no such products'):
        make_engine(name, policy, NARROW)
    make_engine(name, policy, RolloutsConfig())


def test_models_that_the_loops_do_not_know_refuse(monkeypatch):
    monkeypatch.setattr(narrow, "instructions", lambda: "avx512_bf16")
    policy = random_policy("qwen2", dtype=torch.bfloat16)
    with pytest.raises(ModelError, match="none that the compiled loops sample from"):
        make_engine("shared_prefix", policy, NARROW)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"lora": {"rank": 4}}, "model.lora is set"),
        ({"dtype": "bfloat16"}, 'model.dtype "bfloat16"'),
    ],
)
def test_recipes_that_cannot_work_are_refused(model, said):
    with pytest.raises(ConfigError, match=said):
        parse_recipe({"model": model, "rollouts": {"autocast": "bfloat16"}})
