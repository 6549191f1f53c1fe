"""The random share of rollouts without advantage: every token's expected weight is its own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oneshot_rlvr.config import parse_recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import StreamKey
from oneshot_rlvr.train import step as step_module
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.train.subsample import drawn_rows
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict

MOVED = torch.tensor([False, True, False, False, True, False])
WEIGHTS = torch.tensor([[0.1, 0.2], [0.3, 0.0], [0.1, 0.1], [0.2, 0.0], [0.1, 0.4], [0.5, 0.5]])


def key(step, seed=0):
    return StreamKey(seed, "subsample", step)


def test_all_rows_are_drawn_with_their_own_weights_when_nothing_is_left_out():
    drawn = drawn_rows(MOVED, WEIGHTS, 1.0, key(0))
    assert drawn.rows == list(range(6))
    assert torch.equal(drawn.weights_N_T, WEIGHTS)


@given(step=st.integers(0, 1000), share=st.floats(0.01, 1.0))
def test_rows_that_move_are_always_there_unweighed_and_the_others_weigh_as_much_as_all(step, share):
    drawn = drawn_rows(MOVED, torch.ones(6, 2), share, key(step))
    assert {1, 4} <= set(drawn.rows)
    assert drawn.rows == sorted(set(drawn.rows))
    moved = MOVED[drawn.rows]
    assert torch.equal(drawn.weights_N_T[moved], torch.ones(2, 2))
    assert drawn.weights_N_T[~moved].sum().item() == pytest.approx(4 * 2)


def test_the_mean_over_draws_is_every_rows_own_weight():
    draws, total = 6000, torch.zeros(6, 2)
    for step in range(draws):
        drawn = drawn_rows(MOVED, WEIGHTS, 0.5, key(step))
        total[drawn.rows, : drawn.weights_N_T.shape[1]] += drawn.weights_N_T
    # Each idle row is drawn or not, weighed 2 or 0: standard deviation 1 times its weight.
    assert ((total / draws - WEIGHTS).abs() <= 4.5 * WEIGHTS / draws**0.5 + 1e-5).all()


def test_a_draw_follows_from_its_key():
    first = drawn_rows(MOVED, WEIGHTS, 0.5, key(3))
    again = drawn_rows(MOVED, WEIGHTS, 0.5, key(3))
    assert first.rows == again.rows
    assert len({tuple(drawn_rows(MOVED, WEIGHTS, 0.5, key(s)).rows) for s in range(40)}) == 6


def graded(rewards, tokens):
    rollouts = []
    for n, (reward, own) in enumerate(zip(rewards, tokens, strict=True)):
        rollout = Rollout(n // 4, n % 4, "e", (1, 2, 3), own, (-1.0,) * len(own), "", True)
        reason = Reason.CORRECT if reward else Reason.MISMATCH
        rollouts.append(Graded(rollout, Verdict(bool(reward), reason), float(reward)))
    return rollouts


REWARDS = [1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0]
TOKENS = [tuple(range(5 + n, 8 + n + n % 3)) for n in range(12)]


def recipe(share, **algorithm):
    return parse_recipe(
        {
            "rollouts": {"prompts_per_step": 3, "group_size": 4, "max_new_tokens": 8},
            "algorithm": algorithm,
            "train": {"zero_variance_share": share},
        }
    )


def gradient(monkeypatch, policy, share, step, **algorithm):
    """The gradient of one update, and the tokens that were computed for it."""
    found, computed = [], []
    scores = step_module.Forward.scores
    with monkeypatch.context() as patch:
        patch.setattr(
            step_module.Forward,
            "scores",
            lambda self, rollouts, **kw: (
                computed.append(sum(len(r.tokens) for r in rollouts)),
                scores(self, rollouts, **kw),
            )[1],
        )
        trainer = TrainStep(policy, recipe(share, **algorithm))
        trainer.steps_done = step
        patch.setattr(
            trainer._applying,
            "apply",
            lambda loss: (
                found.append(torch.cat([p.grad.flatten() for p in policy.model.parameters()])),
                {},
            )[1],
        )
        trainer.update(graded(REWARDS, TOKENS))
    return found[0], sum(computed)


def test_the_gradient_of_entropy_and_policy_terms_is_unbiased(monkeypatch):
    policy = random_policy("qwen2", hidden=8, layers=1, heads=2, kv_heads=1, intermediate=8)
    terms = {"kl_coefficient": 0.0, "entropy_coefficient": 0.5}
    whole, tokens = gradient(monkeypatch, policy, 1.0, 0, **terms)
    draws = [gradient(monkeypatch, policy, 0.5, step, **terms) for step in range(150)]
    assert all(0.4 * tokens < count < 0.9 * tokens for _, count in draws)
    estimates = torch.stack([g for g, _ in draws])
    error = (estimates.mean(0) - whole).norm()
    spread = (estimates - whole).norm(dim=1).square().mean().sqrt()
    assert spread > 0.01 * whole.norm()  # the draws do differ
    assert error < 2.5 * spread / len(draws) ** 0.5


def test_where_only_the_policy_term_is_on_the_gradient_is_exactly_the_same(monkeypatch):
    policy = random_policy("qwen2", hidden=8, layers=1, heads=2, kv_heads=1, intermediate=8)
    terms = {"kl_coefficient": 0.0, "entropy_coefficient": 0.0}
    whole, _ = gradient(monkeypatch, policy, 1.0, 0, **terms)
    part, _ = gradient(monkeypatch, policy, 0.2, 0, **terms)
    assert torch.equal(whole, part)


def test_a_critic_needs_every_rollout():
    with pytest.raises(ConfigError, match="zero_variance_share"):
        parse_recipe({"algorithm": {"name": "ppo"}, "train": {"zero_variance_share": 0.5}})
