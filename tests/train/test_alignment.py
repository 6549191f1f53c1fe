"""Policy gradients of examples: a float64 twin by autograd and one by finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from oneshot_rlvr.config import LoraConfig, Recipe
from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.selection.gradient import alignment
from oneshot_rlvr.train.alignment import Gradients, Validation, inner, norm, parameters_at
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict

TEMPERATURE = 0.7
PROMPT = (1, 2, 3)
ANSWERS = [((7, 8, 9), 1.0), ((10, 11), 0.0), ((12, 13, 14, 15), 0.0), ((7,), 1.0)]


def recipe(**tables) -> Recipe:
    return Recipe.model_validate({"rollouts": {"temperature": TEMPERATURE}, **tables})


def graded(answers=ANSWERS) -> list[Graded]:
    return [
        Graded(
            Rollout(0, n, "e", PROMPT, tokens, (0.0,) * len(tokens), "", True),
            Verdict(bool(reward), Reason.CORRECT if reward else Reason.MISMATCH),
            reward,
        )
        for n, (tokens, reward) in enumerate(answers)
    ]


def objective(model, answers) -> torch.Tensor:
    """(1 / tokens) sum of advantage times log-probability, from plain forward passes."""
    rewards = [reward for _, reward in answers]
    mean = sum(rewards) / len(rewards)
    std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
    total = torch.zeros((), dtype=torch.float64)
    for tokens, reward in answers:
        logits = model(input_ids=torch.tensor([[*PROMPT, *tokens]])).logits[0] / TEMPERATURE
        logs = logits.log_softmax(-1)
        for t, token in enumerate(tokens):
            total = total + (reward - mean) / (std + 1e-6) * logs[len(PROMPT) - 1 + t, token]
    return total / sum(len(tokens) for tokens, _ in answers)


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
def test_the_last_layers_gradient_agrees_with_a_float64_twin(architecture):
    policy = random_policy(architecture)
    gradients = Gradients.of(policy, recipe(), "last_layer", 0)
    found = gradients.policy_gradient(graded())
    assert found is not None
    wide = random_policy(architecture, dtype=torch.float64)
    wide.model.load_state_dict(policy.model.state_dict())
    own = parameters_at(wide, "last_layer", LoraConfig(), 0)
    parts = torch.autograd.grad(objective(wide.model, ANSWERS), own)
    expected = torch.cat([part.reshape(-1) for part in parts])
    assert len(found) == gradients.size == len(expected)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-6)
    assert norm(found) > 1e-3


def test_adapters_have_the_gradient_of_the_factor_that_is_zero():
    policy = random_policy()
    lora = {"model": {"lora": {"rank": 2, "alpha": 4}}}
    gradients = Gradients.of(policy, recipe(**lora), "adapters", 0)
    found = gradients.policy_gradient(graded())
    assert found is not None
    names = [n for n, p in policy.model.named_parameters() if p.requires_grad]
    assert names
    assert all(".lora_" in name for name in names)
    parts = found.split([p.numel() for p in gradients.parameters])
    for name, part in zip(names, parts, strict=True):
        assert bool(part.any()) is ("lora_B" in name), name
    # A step along one coordinate changes the objective by the gradient (norms are in float32).
    number = max(range(len(parts)), key=lambda n: float(parts[n].abs().max()))
    at, step, changed = int(parts[number].abs().argmax()), 1e-3, []
    wide = policy.model.double()
    with torch.no_grad():
        for sign in (1, -1):
            weight = list(wide.parameters())[
                list(dict(wide.named_parameters())).index(names[number])
            ]
            weight.view(-1)[at] += sign * step
            changed.append(float(objective(wide, ANSWERS)))
            weight.view(-1)[at] -= sign * step
    slope = (changed[0] - changed[1]) / (2 * step)
    assert float(parts[number][at]) == pytest.approx(slope, rel=5e-3)


def test_how_answers_are_split_changes_nothing():
    policy = random_policy()
    whole = Gradients.of(policy, recipe(), "last_layer", 0).policy_gradient(graded())
    small = recipe(train={"micro_batch_tokens": 1})
    parts = Gradients.of(policy, small, "last_layer", 0).policy_gradient(graded())
    assert whole is not None
    assert parts is not None
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_equal_rewards_have_no_gradient(reward):
    policy = random_policy()
    answers = [(tokens, reward) for tokens, _ in ANSWERS]
    assert Gradients.of(policy, recipe(), "last_layer", 0).policy_gradient(graded(answers)) is None


def test_the_validation_sets_mean_and_halves_by_hand():
    policy = random_policy()
    gradients = Gradients.of(policy, recipe(), "last_layer", 0)
    aim = Validation.empty(gradients)
    one, two = gradients.zeros(), gradients.zeros()
    one[0], two[0], two[1] = 2.0, 3.0, 3.0
    for gradient, solved in ((one, 0.5), (two, 0.25), (None, 0.0), (None, 1.0)):
        aim.add(gradient, solved)
    for kind in ("cosine", "inner_product"):
        assert aim.aim(kind)[:2].tolist() == [1.25, 0.75]
    # (0.25 (1, 0) + 0.1875 (1, 1) / sqrt 2) / 4: how long a gradient is does not count.
    share = 0.1875 / math.sqrt(2)
    assert aim.aim("learnability")[:2].tolist() == pytest.approx([(0.25 + share) / 4, share / 4])
    assert aim.agreement == pytest.approx(math.sqrt(0.5))
    assert inner(one, two) == 6
    assert math.isnan(Validation.empty(gradients).agreement)


def test_learnability_is_the_row_mean_of_pairs():
    """LearnAlign's S_ij = V_i V_j cos(g_i, g_j), its mean over j, pair by pair."""
    policy = random_policy()
    gradients = Gradients.of(policy, recipe(), "last_layer", 0)
    draws = torch.Generator().manual_seed(0)
    every = [torch.randn(gradients.size, generator=draws) * 10.0**n for n in range(-1, 4)]
    solved = [0.1, 0.5, 0.9, 0.25, 0.6]
    (own, *others), (p, *rates) = every, solved
    aim = Validation.empty(gradients)
    for gradient, rate in zip(others, rates, strict=True):
        aim.add(gradient, rate)
    pairs = [
        p * (1 - p) * q * (1 - q) * float(torch.cosine_similarity(own.double(), g.double(), dim=0))
        for g, q in zip(others, rates, strict=True)
    ]
    target = aim.aim("learnability")
    found = alignment(
        np.array([inner(own, target)]), np.array([norm(own)]), norm(target), np.array([p]),
        "learnability",
    )  # fmt: skip
    assert found == pytest.approx([sum(pairs) / 4], rel=1e-5)


def test_a_model_without_layers_is_told_to_take_adapters():
    policy = random_policy()
    policy.model = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match="take gradients of adapters instead"):
        parameters_at(policy, "last_layer", LoraConfig(), 0)


def test_gradients_leave_the_model_as_it_was():
    policy = random_policy()
    before = {n: p.detach().clone() for n, p in policy.model.named_parameters()}
    Gradients.of(policy, recipe(), "last_layer", 0).policy_gradient(graded())
    for name, parameter in policy.model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
