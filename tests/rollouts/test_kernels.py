"""The compiled loops against the tensor operations that they stand for."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from oneshot_rlvr.policy.decoder import Decoder
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, kernels
from oneshot_rlvr.rollouts.attention import CompiledAttention, Prefix, ProductAttention
from oneshot_rlvr.rollouts.own_keys import OwnKeys
from oneshot_rlvr.rollouts.plan import PackedPlan, PlainPlan
from oneshot_rlvr.rollouts.sampling import _sample, sample


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
    assert not kernels.draw(logits.numpy(), np.full(3, 0.5), np.float32(1.0), tokens, logprobs)


@pytest.mark.parametrize("settings", [{}, {"kv_heads": 1}, {"kv_heads": 4}, {"hidden": 96}])
def test_attention_is_that_of_matrix_products(settings):
    decoder = Decoder(random_policy("qwen2", **settings).model)
    lengths = torch.tensor([7, 1, 12])
    kv, size = decoder.kv_heads, decoder.head_size
    torch.manual_seed(0)
    prefix = Prefix(
        [torch.randn(kv, 3, 12, size) for _ in range(2)],
        [torch.randn(kv, 3, 12, size) for _ in range(2)],
        lengths,
        torch.zeros(3, 5),
    )
    which = torch.tensor([0, 0, 1, 2, 2, 2])
    read = {}
    for kind in (CompiledAttention, ProductAttention):
        torch.manual_seed(1)
        attention, own = kind(decoder), OwnKeys(prefix.keys[0], 2, 6)
        attention.arrange(prefix, which)
        read[kind] = []
        for _ in range(40):  # past the first room
            own.begin(6)
            attention.begin(own)
            for layer in range(2):
                qkv = 3 * torch.randn(6, decoder.heads + 2 * kv, size)
                read[kind].append(attention(layer, qkv, own))
    torch.testing.assert_close(read[CompiledAttention], read[ProductAttention], atol=2e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
def test_a_packed_plan_gives_what_the_plain_one_gives(architecture):
    decoder = Decoder(random_policy(architecture).model)
    x = torch.randn(9, decoder.model.config.hidden_size)
    mixed = torch.randn(9, decoder.heads * decoder.head_size)
    with torch.inference_mode():
        packed, plain = PackedPlan(decoder, 9), PlainPlan(decoder)
        torch.testing.assert_close(packed.inputs(0, x), plain.inputs(0, x))
        torch.testing.assert_close(packed.finish(0, x, mixed), plain.finish(0, x, mixed))
        torch.testing.assert_close(packed.logits(x), plain.logits(x))


def test_a_model_that_diverged_is_seen_to_have():
    policy = random_policy("qwen2")
    decoder = Decoder(policy.model)
    with torch.no_grad():
        decoder.layers[0].self_attn.k_proj.weight[0, 0] = math.nan
    attention = CompiledAttention(decoder)
    kv, size = decoder.kv_heads, decoder.head_size
    one = torch.ones(kv, 1, 3, size)
    prefix = Prefix([one], [one], torch.tensor([3]), torch.zeros(1, 5))
    own = OwnKeys(one, 1, 4)
    attention.arrange(prefix, torch.zeros(4, dtype=torch.int64))
    own.begin(4)
    attention.begin(own)
    with torch.inference_mode():
        qkv = PackedPlan(decoder, 4).inputs(0, torch.randn(4, decoder.model.config.hidden_size))
        read = attention(0, qkv, own).view(4, kv, -1)
    assert read[:, 0].isnan().all()  # the head whose keys are not numbers
    assert read[:, 1].isfinite().all()


def test_engines_on_other_types_do_without(monkeypatch):
    from oneshot_rlvr.rollouts import StreamKey, make_engine
    from oneshot_rlvr.types import Example, Prompt

    policy = random_policy("qwen2")
    double = dataclasses.replace(policy, model=policy.model.double(), dtype=torch.float64)
    monkeypatch.setattr(kernels, "attend", None)
    asked = [Prompt(0, Example("0", "", ""), (1, 2, 3))]
    rollouts = make_engine("shared_prefix", double).generate(
        asked, 3, Sampling(1.0, 5), StreamKey(0, "test", 0)
    )
    assert len(rollouts) == 3


def test_kernels_work_where_nothing_can_be_kept_on_disk():
    script = (
        "import numpy as np\n"
        "from numba.core import caching\n"
        "caching.CompileResultCacheImpl._locator_classes = []\n"
        "from oneshot_rlvr.rollouts import kernels\n"
        "assert kernels.norm.stats.cache_path is None\n"
        "out = np.empty((1, 2), np.float32)\n"
        "kernels.norm(np.array([[3.0, 4.0]], np.float32), np.float32(0), out)\n"
        "assert np.allclose(out, np.array([3, 4]) / 12.5**0.5), out\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
