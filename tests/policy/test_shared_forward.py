"""The shared forward pass in lanes and pieces against the padded computation of the whole."""

import random

import pytest
import torch
from torch import nn

from oneshot_rlvr.policy import blocks, logprobs, sequence_logprobs, shared_forward
from oneshot_rlvr.policy.random_model import random_policy


@pytest.fixture(autouse=True)
def two_lanes_and_small_pieces(monkeypatch):
    monkeypatch.setattr(shared_forward, "_PIECE_TOKENS", 24)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def rows(seed=0):
    r = random.Random(seed)
    prompts = [(1, 2, 3, 4)] * 9 + [(9, 8, 7)] * 3 + [(1, 2, 3, 4), (5,)]
    return prompts, [tuple(r.randrange(259) for _ in range(r.randint(1, 12))) for _ in prompts]


def gradients(model, seed=0):
    prompts, responses = rows()
    model.zero_grad()
    scores = sequence_logprobs(model, prompts, responses, 0.7, pad_id=0)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(2, *scores.logprobs_N_T.shape, generator=generator)
    (weights[0] * scores.logprobs_N_T + weights[1] * scores.entropy_N_T).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


MODELS = [
    ("qwen2", {}),
    ("qwen2", {"tie_word_embeddings": True, "kv_heads": 4}),
    ("qwen3", {"head_dim": 16}),
    ("llama", {"kv_heads": 1}),
    ("llama", {"attention_bias": True, "mlp_bias": True}),  # biases that `blocks` leaves alone
]


@pytest.mark.parametrize(("architecture", "settings"), MODELS)
def test_gradients_are_those_of_the_padded_computation(monkeypatch, architecture, settings):
    model = random_policy(architecture, seed=2, scale=0.1, **settings).model
    torch.manual_seed(0)
    for parameter in model.parameters():  # so that no norm weight is 1 and no bias 0
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    shared = gradients(model)
    monkeypatch.setattr(logprobs, "unsupported", lambda model: "told not to")
    padded = gradients(model)
    scale = max(float(g.norm()) for g in padded.values())
    for name in padded:
        assert (shared[name] - padded[name]).norm() < 1e-5 * scale, name


def test_compiled_layers_and_those_of_torch_have_the_same_gradients(monkeypatch):
    model = random_policy("qwen3", seed=2, scale=0.1, head_dim=24, heads=6, kv_heads=2).model
    compiled = gradients(model)
    monkeypatch.setattr(blocks, "compiles", lambda layer, x: False)
    plain = gradients(model)
    scale = max(float(g.norm()) for g in plain.values())
    for name in plain:
        assert (compiled[name] - plain[name]).norm() < 1e-5 * scale, name


def test_the_same_call_gives_the_same_bits():
    model = random_policy("qwen2", seed=2, scale=0.1).model
    first, second = gradients(model), gradients(model)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_frozen_parameters_get_no_gradient_and_the_others_theirs():
    model = random_policy("qwen2", seed=2, scale=0.1).model
    full = gradients(model)
    model.model.embed_tokens.weight.requires_grad_(False)
    prompts, responses = rows()
    model.zero_grad()
    scores = sequence_logprobs(model, prompts, responses, 0.7, pad_id=0)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, *scores.logprobs_N_T.shape, generator=generator)
    (weights[0] * scores.logprobs_N_T + weights[1] * scores.entropy_N_T).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.allclose(parameter.grad, full[name], atol=1e-6 * float(full[name].norm()))
        else:
            assert parameter.grad is None


def test_without_gradients_the_values_are_the_same():
    model = random_policy("qwen2", seed=2).model
    prompts, responses = rows()
    with_graph = sequence_logprobs(model, prompts, responses, 1.0, pad_id=0).logprobs_N_T
    with torch.no_grad():
        without = sequence_logprobs(model, prompts, responses, 1.0, pad_id=0).logprobs_N_T
    assert not without.requires_grad
    assert torch.equal(with_graph.detach(), without)


def test_pieces_hold_every_row_once_and_keep_to_their_budget():
    lengths = [5, 9, 1, 12, 9, 3, 3, 8]
    responses = [(1,) * length for length in lengths]
    for padded in (True, False):
        pieces = shared_forward._pieces(0, range(8), responses, 2, padded)
        assert sorted(n for piece in pieces for n in piece.rows) == list(range(8))
        for piece in pieces:
            own = [lengths[n] - 1 for n in piece.rows]
            assert piece.reads == ([max(own)] * len(own) if padded else own)
            assert len(piece.rows) == 1 or sum(piece.reads) <= 24


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_blocks_are_the_layers_own_computation(dtype):
    policy = random_policy("qwen2", dtype=dtype, scale=0.1)
    decoder = logprobs.Decoder(policy.model)
    layer = decoder.layers[0]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(7, 32, dtype=dtype, generator=generator, requires_grad=True)
    mixed = torch.randn(7, 32, dtype=dtype, generator=generator, requires_grad=True)
    weight = torch.randn(7, 32, dtype=dtype, generator=generator)
    wanted = [x, mixed, *layer.parameters()]

    def gradients_of(out):
        return torch.autograd.grad((out * weight).sum(), wanted, allow_unused=True)

    ours = gradients_of(blocks.outputs(layer, x, mixed))
    theirs = gradients_of(decoder.after_attention(layer, x, mixed))
    assert sum(g is not None for g in ours) == sum(g is not None for g in theirs) == 7
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=1e-5)


def test_layers_that_are_more_than_linear_maps_are_left_alone():
    layer = random_policy("qwen2").model.model.layers[0]
    x = torch.zeros(1, 32)
    assert blocks.plain(layer, x)
    assert not blocks.plain(layer, x.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not blocks.plain(layer, x)
    layer.self_attn.q_proj = nn.Sequential(layer.self_attn.q_proj)
    assert not blocks.plain(layer, x)
