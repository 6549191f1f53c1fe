"""Gradient checkpointing and autocast: what they change and what they must not."""

import pytest
import torch

from oneshot_rlvr.policy import recompute, sequence_logprobs
from oneshot_rlvr.policy.critic import Critic
from oneshot_rlvr.policy.head import token_scores
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.policy.recompute import recomputes, set_recompute

PROMPTS, RESPONSES = [(1, 2, 3)] * 3 + [(4, 5)], [(7, 8), (9,), (3, 2, 1), (4, 4, 4)]


def gradient(model):
    model.zero_grad()
    scores = sequence_logprobs(model, PROMPTS, RESPONSES, 0.7, pad_id=0)
    (scores.logprobs_N_T.sum() + scores.entropy_N_T.sum()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "gpt2", "gemma2"])
def test_recomputed_layers_give_the_same_gradients(architecture):
    plain, other = (random_policy(architecture, seed=2, scale=0.1).model for _ in range(2))
    set_recompute(other, "other")
    assert torch.allclose(gradient(other), gradient(plain), rtol=1e-5, atol=1e-6)
    assert not any(module.training for module in other.modules())


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
def test_every_layer_runs_again_in_the_backward_pass(architecture, monkeypatch):
    model = random_policy(architecture, seed=2, scale=0.1).model
    runs = []
    norms = [m for n, m in model.named_modules() if n.endswith(("input_layernorm", "ln_1"))]
    assert len(norms) == 2
    if architecture == "qwen2":
        from oneshot_rlvr.policy import shared_forward

        plain = shared_forward._attention_inputs
        monkeypatch.setattr(
            shared_forward, "_attention_inputs", lambda *a: (runs.append(1), plain(*a))[1]
        )
    else:
        for norm in norms:
            norm.register_forward_hook(lambda *a: runs.append(1))
    gradient(model)
    runs.clear()  # the first pass also tried whether the head is plain
    gradient(model)
    once = len(runs)
    set_recompute(model, "model")
    gradient(model)
    assert len(runs) == 3 * once  # and once more in the backward pass


def test_without_gradients_nothing_is_recomputed():
    model = random_policy("qwen2").model
    set_recompute(model, "model")
    assert recomputes(model)
    with torch.no_grad():
        assert not recomputes(model)


def test_generation_is_left_alone():
    model = random_policy("gpt2").model
    expected = model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=5, do_sample=False)
    set_recompute(model, "model")
    got = model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=5, do_sample=False)
    assert torch.equal(got, expected)


def test_less_is_kept_for_the_backward_pass():
    def kept(model):
        total = 0

        def pack(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            sequence_logprobs(model, [(1,) * 20] * 4, [(2,) * 30] * 4, 1.0, pad_id=0)
        return total

    model = random_policy("qwen2", layers=6, hidden=32, intermediate=128).model
    before = kept(model)
    set_recompute(model, "model")
    assert kept(model) < before / 2


class TestAutocast:
    @pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
    def test_products_are_narrow_scores_wide_and_near(self, architecture):
        model = random_policy(architecture, seed=2, scale=0.1).model
        exact = sequence_logprobs(model, PROMPTS, RESPONSES, 0.7, pad_id=0)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = sequence_logprobs(model, PROMPTS, RESPONSES, 0.7, pad_id=0)
        assert narrow.logprobs_N_T.dtype == torch.float32
        gap = (narrow.logprobs_N_T - exact.logprobs_N_T).abs().max()
        assert 1e-5 < gap < 0.05

    def test_gradients_reach_the_wide_weights_and_are_near(self):
        model = random_policy("qwen2", seed=2, scale=0.1).model
        exact = gradient(model)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            scores = sequence_logprobs(model, PROMPTS, RESPONSES, 0.7, pad_id=0)
        (scores.logprobs_N_T.sum() + scores.entropy_N_T.sum()).backward()
        narrow = torch.cat([p.grad.flatten() for p in model.parameters()])
        assert narrow.dtype == torch.float32
        assert (narrow - exact).norm() < 0.05 * exact.norm()

    def test_the_head_makes_the_same_products_forward_and_backward(self):
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn(9, 4, generator=generator).requires_grad_()
        weight = torch.randn(11, 4, generator=generator).requires_grad_()
        tokens = torch.arange(9)
        with torch.autocast("cpu", torch.bfloat16):
            got, _ = token_scores(hidden, weight, None, tokens, 0.6)
        got.sum().backward()
        narrow = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight)]
        expected, _ = token_scores(*narrow, None, tokens, 0.6)
        expected.sum().backward()
        # The sums' order may be another, and gradients are products too.
        assert torch.allclose(got, expected, atol=1e-5)
        for ours, theirs in ((hidden, narrow[0]), (weight, narrow[1])):
            off = (ours.grad - theirs.grad.float()).norm()
            assert off < 2.0**-8 * theirs.grad.float().norm()

    def test_values_stay_wide(self):
        critic = Critic(random_policy("qwen2").model, shared=False)
        with torch.autocast("cpu", torch.bfloat16):
            assert critic.values(PROMPTS, RESPONSES, 0).dtype == torch.float32


def test_a_model_that_cannot_is_refused():
    from oneshot_rlvr.errors import ModelError

    with pytest.raises(ModelError, match="knows no gradient checkpointing"):
        set_recompute(torch.nn.Linear(2, 2), "tiny thing")
    assert recompute.recomputes(torch.nn.Linear(2, 2)) is False
