"""Inverse-CDF sampling against hand calculations and frequencies."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot_rlvr.rollouts import Sampling
from oneshot_rlvr.rollouts.sampling import sample, truncate

QUARTERS = torch.tensor([[math.log(1.0), math.log(2.0), math.log(1.0)]])  # 1/4, 1/2, 1/4


def draw(logits, uniform, **settings_of):
    sampling = Sampling(**{"temperature": 1.0, "max_new_tokens": 1, **settings_of})
    tokens, logprobs = sample(logits, torch.tensor([uniform], dtype=torch.float64), sampling)
    return int(tokens), float(logprobs)


@pytest.mark.parametrize(
    ("uniform", "token", "probability"),
    [(0.1, 0, 0.25), (0.249, 0, 0.25), (0.251, 1, 0.5), (0.749, 1, 0.5), (0.751, 2, 0.25)],
)
def test_the_token_is_where_the_cumulative_distribution_passes_the_uniform(
    uniform, token, probability
):
    got, logprob = draw(QUARTERS, uniform)
    assert got == token
    assert logprob == pytest.approx(math.log(probability), abs=1e-7)


def test_temperature_divides_the_logits():
    # At temperature 1/2 the weights are squared: 1/6, 4/6, 1/6.
    assert draw(QUARTERS, 0.16, temperature=0.5) == (0, pytest.approx(math.log(1 / 6), abs=1e-6))
    assert draw(QUARTERS, 0.17, temperature=0.5) == (1, pytest.approx(math.log(4 / 6), abs=1e-6))


def test_greedy_takes_the_best_token_and_reports_the_models_own_logprob():
    assert draw(QUARTERS, 0.99, temperature=0) == (1, pytest.approx(math.log(0.5), abs=1e-7))


def test_an_impossible_token_is_never_drawn_even_at_the_ends():
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]])
    assert draw(logits, 2.0**-53)[0] == 1
    assert draw(logits, 1 - 2.0**-53)[0] == 3


def test_top_k_keeps_k_tokens_and_renormalises():
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]])
    kept = truncate(logits, top_k=2).isfinite()
    assert kept.tolist() == [[False, True, False, True]]
    weight = math.exp(3) / (math.exp(3) + math.exp(2))
    assert draw(logits, 0.01, top_k=2) == (1, pytest.approx(math.log(weight), abs=1e-6))


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, 1), (0.5, 1), (0.6, 2), (0.8, 2), (0.81, 3)])
def test_top_p_keeps_the_smallest_set_that_reaches_the_mass(top_p, kept):
    logits = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()
    assert int(truncate(logits, top_p=top_p).isfinite().sum()) == kept


def test_frequencies_follow_the_distribution():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 6, generator=generator)
    uniforms = torch.rand(200_000, dtype=torch.float64, generator=generator)
    tokens, _ = sample(logits.expand(200_000, -1), uniforms, Sampling(0.7, 1))
    expected = (logits[0].double() / 0.7).softmax(-1)
    measured = torch.bincount(tokens, minlength=6) / 200_000
    assert torch.allclose(measured.double(), expected, atol=5e-3)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 40), width=st.integers(1, 70))
def test_a_row_is_drawn_the_same_alone_and_in_any_batch(seed, rows, width):
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(rows, width, generator=generator)
    uniforms = torch.rand(rows, dtype=torch.float64, generator=generator).clamp_min(1e-9)
    sampling = Sampling(0.8, 1, top_p=0.95)
    tokens, logprobs = sample(logits, uniforms, sampling)
    order = torch.randperm(rows, generator=generator)
    shuffled_tokens, shuffled_logprobs = sample(logits[order], uniforms[order], sampling)
    assert torch.equal(shuffled_tokens, tokens[order])
    assert torch.equal(shuffled_logprobs, logprobs[order])
    n = rows // 2
    token, logprob = sample(logits[n : n + 1], uniforms[n : n + 1], sampling)
    assert (int(token), float(logprob)) == (int(tokens[n]), float(logprobs[n]))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"temperature": -1.0}, {"max_new_tokens": 0}, {"top_p": 0.0}, {"top_k": -1}),
        *({"min_p": 1.5}, {"repetition_penalty": 0.0}, {"stop": ("",)}),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="wanted"):
        Sampling(**{"temperature": 1.0, "max_new_tokens": 1, **wrong})
