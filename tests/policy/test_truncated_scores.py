"""Scores of a cut distribution: those that were sampled, with the gradient of the kept tokens."""

import pytest
import torch

from oneshot_rlvr.policy import sequence_logprobs
from oneshot_rlvr.policy.head import token_scores
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.policy.truncation import Cut, truncate_around
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.types import Example, Prompt

CUTS = [Cut(top_p=0.8), Cut(top_k=4), Cut(min_p=0.1), Cut(0.95, 9, 0.02)]


def drawn(dtype, M=70, D=6, V=40):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(M, D, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(V, D, generator=generator, dtype=torch.float64).to(dtype)
    bias = torch.randn(V, generator=generator, dtype=torch.float64).to(dtype)
    tokens = (hidden @ weight.T + bias).topk(2, -1).indices[:, 1]
    return [x.requires_grad_() for x in (hidden, weight, bias)], tokens


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_and_gradients_are_those_of_the_kept_tokens(dtype, cut):
    (hidden, weight, bias), tokens = drawn(dtype)
    weights = torch.linspace(-1, 1, len(tokens), dtype=dtype)

    def twin(h, w, b):
        logits = (h @ w.T + b) / 0.7
        kept = truncate_around(logits.detach(), tokens, cut).isfinite()
        logs = logits - torch.logsumexp(logits.masked_fill(~kept, -torch.inf), -1, keepdim=True)
        entropy = -torch.where(kept, logs.exp() * logs, torch.zeros_like(logs)).sum(-1)
        return logs.gather(1, tokens[:, None])[:, 0], entropy

    found = token_scores(hidden, weight, bias, tokens, 0.7, cut)
    expected = twin(hidden, weight, bias)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    inputs = (hidden, weight, bias)
    gradients = [
        torch.autograd.grad((weights * logs).sum() + 3 * entropy.sum(), inputs)
        for logs, entropy in (found, expected)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    whole = token_scores(hidden, weight, bias, tokens, 0.7)[0]
    assert (found[0] > whole + 1e-3).any()


def test_a_large_weight_of_the_entropy_meets_no_infinity():
    (hidden, weight, bias), tokens = drawn(torch.float32)
    _, entropy = token_scores(hidden, weight, bias, tokens, 1.0, Cut(top_k=3))
    (1e6 * entropy.sum()).backward()
    assert all(x.grad.isfinite().all() for x in (hidden, weight, bias))


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_the_trainers_scores_are_the_samplers(architecture, cut):
    policy = random_policy(architecture, seed=2)
    prompts = [Prompt(r, Example(str(r), "", ""), (1, 2, 3, r)) for r in range(3)]
    sampling = Sampling(0.8, 20, top_p=cut.top_p, top_k=cut.top_k, min_p=cut.min_p)
    rollouts = make_engine("auto", policy).generate(prompts, 4, sampling, StreamKey(0, "cut"))
    scores = sequence_logprobs(
        policy.model, [r.prompt_tokens for r in rollouts], [r.tokens for r in rollouts], 0.8,
        pad_id=policy.pad_id, cut=cut,
    )  # fmt: skip
    for row, rollout in zip(scores.logprobs_N_T, rollouts, strict=True):
        assert row[: len(rollout.tokens)].tolist() == pytest.approx(rollout.logprobs, abs=2e-4)
    scores.logprobs_N_T.sum().backward()
    assert all(p.grad.isfinite().all() for p in policy.model.parameters() if p.grad is not None)
