"""Training with bfloat16 products on a CPU: near double precision, the same every time, or refused.

A bfloat16 number has 8 bits: rounding is off by at most 2^-9, a product of two by about 2^-8, and a
model of L layers has about 5 L + 1 products in a row. Their errors are of either sign, so that
together they grow with the root of their number.
"""

import copy
import math

import pytest
import torch

from oneshot_rlvr.config import parse_recipe
from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.kernels import narrow
from oneshot_rlvr.policy import head
from oneshot_rlvr.policy.head import token_scores
from oneshot_rlvr.policy.logprobs import sequence_logprobs
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.train.step import TrainStep

has_them = pytest.mark.skipif(
    not narrow.instructions(), reason="this CPU multiplies no bfloat16 numbers"
)
LAYERS = 3
RELATIVE = 2.0**-8 * math.sqrt(5 * LAYERS + 1)

PROMPTS = [(1, 2, 3), (1, 2, 3), (4, 5), tuple(range(40)), (1, 2, 3), (4, 5)]
RESPONSES = [(7, 8), tuple(range(50, 90)), (9,), tuple(range(3, 60)), (1, 1, 2), (6, 5, 4)]


def policy_of(architecture, **settings):
    """Of ordinary widths, none of which is a whole tile."""
    made = random_policy(
        architecture, layers=LAYERS, hidden=120, heads=6, kv_heads=2, head_dim=20,
        intermediate=200, scale=0.05, **settings,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if name.endswith(("bias", "norm.weight")):  # zeros and ones as they are made
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made


def scored(model, asked):
    """Scores and gradients of both of them."""
    with torch.autocast("cpu", torch.bfloat16, enabled=asked):
        scores = sequence_logprobs(model, PROMPTS, RESPONSES, 0.7, pad_id=0)
    out = scores.logprobs_N_T.sum() + 0.5 * scores.entropy_N_T.sum()
    parameters = dict(model.named_parameters())
    grads = torch.autograd.grad(out, list(parameters.values()))
    return scores, dict(zip(parameters, grads, strict=True))


@has_them
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("architecture", "settings"),
    [("qwen2", {}), ("qwen3", {}), ("llama", {"tie_word_embeddings": True, "vocabulary": 1100})],
)
def test_scores_and_gradients_are_near_those_in_double_precision(
    architecture, settings, threads, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    model = policy_of(architecture, **settings).model
    exact, exact_grads = scored(copy.deepcopy(model).double(), False)
    ours, grads = scored(model, True)
    assert ours.logprobs_N_T.dtype == torch.float32
    for name in ("logprobs_N_T", "entropy_N_T"):
        gap = getattr(ours, name).double() - getattr(exact, name)
        assert 1e-6 < gap.abs().mean() < RELATIVE, name
    for name, wanted in exact_grads.items():
        assert grads[name].dtype == torch.float32
        off = (grads[name].double() - wanted).norm() / wanted.norm()
        # The gradient of keys' biases is zero but for rounding.
        assert off < 2 * RELATIVE or wanted.norm() < 1e-9, (name, off)


@has_them
def test_the_same_bits_every_time():
    model = policy_of("qwen2").model
    (ours, grads), (again, others) = (scored(model, True) for _ in range(2))
    assert torch.equal(ours.logprobs_N_T, again.logprobs_N_T)
    assert all(torch.equal(grads[name], others[name]) for name in grads)


@has_them
def test_the_head_is_as_near_whatever_its_lanes_and_without_a_gradient_for_one_of_both(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 24, generator=generator) for n in (70, 1300))
    bias, tokens = torch.randn(1300, generator=generator), torch.arange(70) * 18
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(head, "lane_count", lambda device, threads=threads: threads)
        leaves = [x.clone().requires_grad_() for x in (hidden, weight, bias)]
        with torch.autocast("cpu", torch.bfloat16):
            logprobs, entropy = token_scores(*leaves, tokens, 0.6)
        found.append([logprobs, entropy, *torch.autograd.grad((logprobs + entropy).sum(), leaves)])
    narrow_leaves = [x.bfloat16().double().requires_grad_() for x in (hidden, weight)]
    exact = [*narrow_leaves, bias.double().requires_grad_()]
    wanted = list(token_scores(*exact, tokens, 0.6))
    wanted += torch.autograd.grad(sum(wanted).sum(), exact)
    for ours in found:
        for a, b in zip(ours[:2], wanted[:2], strict=True):
            assert (a.double() - b).abs().max() < 1e-4
        for a, b in zip(ours[2:], wanted[2:], strict=True):
            assert (a.double() - b).norm() < 2.0**-8 * b.norm()
    with torch.autocast("cpu", torch.bfloat16):
        frozen = token_scores(leaves[0], weight, None, tokens, 0.6)[0].sum()
        still = token_scores(hidden, leaves[1], None, tokens, 0.6)[0].sum()
    assert torch.autograd.grad(frozen, leaves[0])[0].isfinite().all()
    assert torch.autograd.grad(still, leaves[1])[0].isfinite().all()


@has_them
def test_a_model_that_diverged_is_seen_to_have():
    model = policy_of("qwen2").model
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = torch.nan
    ours, _ = scored(model, True)
    assert ours.logprobs_N_T[0, :2].isnan().all()


@has_them
def test_no_autocast_and_double_precision_stay_as_they_are():
    model = policy_of("qwen2").model
    plain, _ = scored(model, False)
    exact, _ = scored(copy.deepcopy(model).double(), False)
    assert (plain.logprobs_N_T - exact.logprobs_N_T).abs().max() < 1e-4


@pytest.mark.parametrize("can", ["", "avx512_bf16"])
def test_training_is_refused_on_a_cpu_without_the_instructions(can, monkeypatch):
    monkeypatch.setattr(narrow, "instructions", lambda: can)
    recipe = parse_recipe({"model": {"autocast": "bfloat16"}, "algorithm": {"kl_coefficient": 0}})
    if can:
        TrainStep(random_policy("qwen2"), recipe)
        return
    with pytest.raises(ModelError) as refused:
        TrainStep(random_policy("qwen2"), recipe)
    said = str(refused.value)
    assert said.startswith('model.autocast is "bfloat16" and this CPU has no instructions')
    assert said.endswith("leave model.autocast out.")
    assert said.count(". ") == 0
