"""Rewards that the policy says: beside a slow twin, and in a run."""

import dataclasses

import numpy as np
import pytest
import torch

from oneshot_rlvr import train
from oneshot_rlvr.config import LoraConfig, Recipe
from oneshot_rlvr.policy.logprobs import certainty
from oneshot_rlvr.policy.lora import add_adapters
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.records import Run
from oneshot_rlvr.rewards import ARMS
from oneshot_rlvr.train.forward import Forward
from oneshot_rlvr.train.intrinsic import with_own_rewards
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict

PROMPTS, RESPONSES = [(1, 2, 3), (1, 2, 3), (7,)], [(4, 5), (6,), (9, 8, 4, 1)]


def twin(model, temperature):
    """KL(uniform || p) by its definition, in float64, position by position."""
    rows = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0].double()
        row = []
        for t in range(len(response)):
            p = np.exp((z := logits[len(prompt) - 1 + t].numpy() / temperature) - z.max())
            p /= p.sum()
            row.append(sum((1 / len(p)) * np.log((1 / len(p)) / q) for q in p))
        rows.append(row)
    return rows


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
def test_certainty_is_the_divergence_of_the_uniform_from_the_policy(architecture, wrapped):
    policy = random_policy(architecture, vocabulary=300, scale=0.5)
    if wrapped:
        add_adapters(policy.model, LoraConfig(rank=2), 0)
    got = certainty(policy.model, PROMPTS, RESPONSES, 0.7, pad_id=0)
    for n, row in enumerate(twin(policy.model, 0.7)):
        assert got[n, : len(row)].tolist() == pytest.approx(row, abs=1e-4)
        assert not got[n, len(row) :].any()


def test_a_rollouts_reward_is_the_mean_over_its_tokens_and_only_where_it_is_asked_for():
    policy = random_policy("qwen2", vocabulary=300, scale=0.5)
    recipe = Recipe.model_validate({"rollouts": {"temperature": 0.7, "group_size": 3}})
    graded = [
        Graded(
            Rollout(0, n, "a", prompt, response, (0.0,) * len(response), "", True),
            Verdict(False, Reason.MISMATCH),
            float("nan"),
        )
        for n, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
    ]
    got = with_own_rewards(graded, "self_certainty", Forward(policy, recipe))
    wanted = [np.mean(row) for row in twin(policy.model, 0.7)]
    assert [g.reward for g in got] == pytest.approx(wanted, abs=1e-4)
    given = [dataclasses.replace(g, reward=0.25) for g in graded]
    assert with_own_rewards(given, "outcome", Forward(policy, recipe)) == given


@pytest.mark.parametrize("arm", [name for name in ARMS if not ARMS.load(name).alone])
def test_a_run_under_the_arm_learns_and_repeats_itself(arm, small_recipe, tmp_path):
    recipe = small_recipe({"reward.arm": arm, "train.steps": 2})
    rows = []
    for name in ("a", "b"):
        train(recipe, out=tmp_path / name)
        run = Run(tmp_path / name)
        rows.append(run.rollouts())
    assert rows[0].equals(rows[1])
    rewards = rows[0]["reward"].tolist()
    assert np.isfinite(rewards).all()
    if arm == "self_certainty":
        assert min(rewards) > 0
        assert len(set(rewards)) > len(rewards) // 2
