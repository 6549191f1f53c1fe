"""What is cut off a distribution: as transformers, compiled loops and a slow twin do it."""

import itertools
import math

import numpy as np
import pytest
import torch
from transformers.generation import logits_process as theirs

from oneshot_rlvr.kernels.drawing import draw, rules_of
from oneshot_rlvr.policy.truncation import Cut, truncate, truncate_around
from oneshot_rlvr.rollouts import Sampling
from oneshot_rlvr.rollouts.sampling import _sample, penalised, sample, seen_in

CUTS = [
    {"top_k": 1}, {"top_k": 7}, {"top_k": 10**6}, {"top_p": 0.3}, {"top_p": 0.95}, {"min_p": 0.1},
    {"min_p": 1.0}, {"top_k": 20, "top_p": 0.95}, {"top_k": 5, "top_p": 0.6, "min_p": 0.2},
    {"top_p": 0.9, "min_p": 0.02}, {"top_p": 1e-6}, {"top_k": 3, "min_p": 0.5},
]  # fmt: skip


def logits_of(kind, rows=60, vocabulary=300, dtype=torch.float32):
    generator = torch.Generator().manual_seed(7)
    logits = 3 * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)
    if kind == "ties":  # a few values only, each many times
        logits = logits.round()
    if kind == "holes":
        logits[::2, ::3] = -math.inf
        logits[:, 5] = 0.0
    return logits.to(dtype)


def as_transformers(logits, top_k=0, top_p=1.0, min_p=0.0):
    """Its warpers in the order in which generate() has them, one token to keep."""
    warpers = [
        *([theirs.TopKLogitsWarper(top_k, min_tokens_to_keep=1)] if top_k else []),
        *([theirs.TopPLogitsWarper(top_p, min_tokens_to_keep=1)] if top_p < 1 else []),
        *([theirs.MinPLogitsWarper(min_p, min_tokens_to_keep=1)] if min_p else []),
    ]
    for warper in warpers:
        logits = warper(None, logits)
    return logits


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("kind", ["smooth", "ties", "holes"])
def test_what_is_kept_and_its_probabilities_are_transformers(kind, cut):
    logits = logits_of(kind, dtype=torch.float64)
    kept, expected = truncate(logits, **cut), as_transformers(logits.clone(), **cut)
    if kind == "ties" and "top_p" in cut:
        # Its sort is not stable: of equals it keeps as many, and not always the same ones.
        kept, expected = kept.sort(-1).values, expected.sort(-1).values
    assert torch.equal(kept.isfinite(), expected.isfinite())
    torch.testing.assert_close(kept.softmax(-1), expected.softmax(-1), rtol=1e-12, atol=0)
    assert kept.isfinite().any(1).all()


def test_ties_at_the_border_by_hand():
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]])
    assert truncate(logits, top_k=2).isfinite().tolist() == [[True, True, True, True, False]]
    quarters = torch.zeros(1, 4)
    # Half of the mass is two of four equals: the last two.
    assert truncate(quarters, top_p=0.5).isfinite().tolist() == [[False, False, True, True]]
    assert truncate(quarters, min_p=1.0).isfinite().all()


def test_min_p_is_a_share_of_the_best_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.1, 0.15]], dtype=torch.float64).log()
    assert truncate(logits, min_p=0.29).isfinite().tolist() == [[True, True, False, True]]
    # Of what top-p left: the nucleus of 0.7 is the first two.
    assert truncate(logits, top_p=0.7, min_p=0.29).isfinite().tolist() == [
        [True, True, False, False]
    ]


def twin(row, uniform, temperature, top_k=0, top_p=1.0, min_p=0.0):
    """A token and its log-probability in float64, token by token; and the kept ones."""
    z = [float(x) / temperature for x in row]
    order = sorted(range(len(z)), key=lambda i: (-z[i], -i))
    if top_k:
        order = [i for i in order if z[i] >= z[order[min(top_k, len(order)) - 1]]]
    weights = {i: math.exp(z[i] - z[order[0]]) for i in order}
    total, ahead, kept = sum(weights.values()), 0.0, []
    for i in order:
        if ahead < top_p * total or not kept:
            kept.append(i)
        ahead += weights[i]
    kept = sorted(i for i in kept if weights[i] >= min_p)
    mass, reached, token = sum(weights[i] for i in kept), 0.0, kept[-1]
    for i in kept:
        reached += weights[i]
        if reached > uniform * mass:
            token = i
            break
    return token, math.log(weights[token] / mass), set(kept)


@pytest.mark.parametrize("cut", [{}, *CUTS], ids=str)
@pytest.mark.parametrize(("kind", "temperature"), [("smooth", 1.0), ("smooth", 0.6), ("ties", 0.5)])
def test_compiled_draws_are_those_of_a_float64_twin(kind, temperature, cut):
    logits = logits_of(kind, rows=200)
    uniforms = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tokens, logprobs = np.zeros(200, np.int64), np.zeros(200)
    rules = rules_of(temperature, **cut)
    assert draw(logits.numpy(), uniforms.numpy(), rules, tokens, logprobs)
    exact = [twin(row, u, temperature, **cut) for row, u in zip(logits, uniforms, strict=True)]
    # A uniform on a border of two tokens may fall either way in float32.
    same = [t == e for t, (e, _, _) in zip(tokens, exact, strict=True)]
    assert sum(same) >= 199
    for token, logprob, (twins, expected, kept) in zip(tokens, logprobs, exact, strict=True):
        assert token in kept
        if token == twins:
            assert logprob == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("kind", ["smooth", "ties", "holes"])
def test_compiled_loops_and_tensor_operations_draw_the_same(kind, cut):
    logits = logits_of(kind, rows=300, vocabulary=1000)
    uniforms = torch.rand(300, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    sampling = Sampling(0.8, 1, **cut)
    tokens, logprobs = sample(logits, uniforms, sampling)
    wanted, wanted_logprobs = _sample(logits, uniforms, sampling)
    assert tokens.tolist() == wanted.tolist()
    assert logprobs.tolist() == pytest.approx(wanted_logprobs.tolist(), abs=1e-5)


def test_every_kept_token_is_drawn_as_often_as_it_weighs():
    logits = torch.tensor([[0.0, 2.0, 1.0, -1.0, 1.5, 0.5]])
    uniforms = (torch.arange(60_000, dtype=torch.float64) + 0.5) / 60_000
    sampling = Sampling(1.0, 1, top_p=0.8, top_k=5)
    tokens, _ = sample(logits.expand(60_000, -1), uniforms, sampling)
    expected = truncate(logits, top_p=0.8, top_k=5).softmax(-1)[0]
    assert int((expected > 0).sum()) == 3
    shares = torch.bincount(tokens, minlength=6) / 60_000
    assert torch.allclose(shares, expected, atol=2e-5)


@pytest.mark.parametrize("vocabulary", [1, 63, 64, 65, 3000])
def test_greedy_is_the_first_best_token_with_the_models_own_log_probability(vocabulary):
    logits = logits_of("ties", vocabulary=vocabulary)
    uniforms = torch.full((60,), 0.9, dtype=torch.float64)
    tokens, logprobs = sample(logits, uniforms, Sampling(0.0, 1, top_k=1, top_p=0.5))
    assert torch.equal(tokens, logits.argmax(-1))
    own = logits.double().log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    assert logprobs.tolist() == pytest.approx(own.tolist(), abs=1e-5)


def test_a_flat_distribution_over_a_large_vocabulary_is_cut_exactly():
    logits = torch.zeros(2, 150_000)
    uniforms = torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64)
    tokens, logprobs = sample(logits, uniforms, Sampling(1.0, 1, top_p=0.5))
    assert tokens.tolist() == [75_000, 149_999]
    assert logprobs.tolist() == pytest.approx([-math.log(75_000)] * 2, abs=1e-6)


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_the_penalty_on_repetition_is_transformers(penalty):
    logits = logits_of("smooth", rows=3)
    prompts = [(1, 2, 3, 3), (4, 250), (0,)]
    ours = penalised(logits, seen_in(prompts, 300), penalty)
    processor = theirs.RepetitionPenaltyLogitsProcessor(penalty)
    for row, prompt in enumerate(prompts):
        ids = torch.tensor([prompt])
        assert torch.equal(ours[row : row + 1], processor(ids, logits[row : row + 1].clone()))


def test_a_token_that_was_drawn_stays_though_rounding_moved_the_border():
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    kept = truncate_around(logits, torch.tensor([0, 2]), Cut(top_k=1))
    assert kept.isfinite().tolist() == [[True, False, False], [True, False, True]]


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("top_k", "top_p"), itertools.product([None, 1, 7, 300], [None, 0.3, 0.95])
)
@pytest.mark.parametrize("kind", ["smooth", "ties"])
def test_what_is_kept_is_vllms(kind, top_k, top_p):
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch

    logits = logits_of(kind, dtype=torch.float64).float()
    k = None if top_k is None else torch.full((60,), top_k, dtype=torch.int32)
    p = None if top_p is None else torch.full((60,), top_p)
    expected = apply_top_k_top_p_pytorch(logits.clone(), k, p)
    kept = truncate(logits, top_k=top_k or 0, top_p=top_p or 1.0)
    if kind == "ties":
        kept, expected = kept.sort(-1).values, expected.sort(-1).values
    # vLLM adds up in float32: a token whose border is that near may fall either way.
    assert (kept.isfinite() != expected.isfinite()).sum() <= 1
    torch.testing.assert_close(kept.softmax(-1), expected.softmax(-1), rtol=0, atol=2e-3)
