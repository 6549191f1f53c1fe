"""Doubts that are told before a run, and the floor that goes with rewards finer than verdicts."""

import math

import pytest
import torch

from oneshot_rlvr.algorithms.advantages import group_normalized
from oneshot_rlvr.config import load_recipe, packaged_recipes, parse_recipe
from oneshot_rlvr.config.advice import advice
from oneshot_rlvr.errors import ConfigError

LORA = {"model": {"lora": {"rank": 4}}}


@pytest.mark.parametrize("name", ["reinforce", "rloo"])
def test_several_updates_without_a_ratio_are_doubted(name):
    (said,) = advice(
        parse_recipe({"algorithm": {"name": name}, "train": {"updates_per_rollout": 4}})
    )
    assert said.startswith(f"{name} makes 4 updates")
    assert advice(parse_recipe({"algorithm": {"name": name}})) == []
    clipped = {"algorithm": {"name": "dr_grpo"}, "train": {"updates_per_rollout": 4}}
    assert advice(parse_recipe(clipped)) == []


def test_adapters_with_a_whole_models_rate_are_told_the_rate_to_try():
    (said,) = advice(parse_recipe(LORA))
    assert "optimizer.learning_rate is 1e-06" in said
    assert "try 1e-05" in said
    assert advice(parse_recipe({**LORA, "optimizer": {"learning_rate": 1e-5}})) == []
    assert advice(parse_recipe({})) == []


def test_no_shipped_recipe_is_doubted():
    names = packaged_recipes()
    assert len(names) > 20
    assert {name: advice(load_recipe(name)) for name in names} == {name: [] for name in names}


@pytest.mark.parametrize(
    ("tables", "floor"),
    [
        ({}, 0.0),
        ({"reward": {"length_penalty": 0.1}}, 8**-0.5),
        ({"reward": {"format_penalty": 0.1}, "rollouts": {"group_size": 4}}, 0.5),
        ({"algorithm": {"kl_place": "reward"}}, 8**-0.5),
        ({"algorithm": {"kl_place": "reward", "kl_coefficient": 0.0}}, 0.0),
        ({"algorithm": {"name": "dapo"}}, 8**-0.5),
        ({"algorithm": {"name": "dapo", "overlong_buffer_share": 0.0}}, 0.0),
        ({"algorithm": {"name": "dr_grpo"}, "reward": {"length_penalty": 0.1}}, 0.0),
        ({"algorithm": {"std_floor": 0.0}, "reward": {"length_penalty": 0.1}}, 0.0),
        ({"algorithm": {"std_floor": 0.2}}, 0.2),
    ],
)
def test_rewards_that_differ_by_less_than_a_verdict_have_a_floor(tables, floor):
    assert parse_recipe(tables).std_floor() == pytest.approx(floor)


def test_the_floor_is_the_least_std_of_verdicts_and_holds_noise_down():
    floor = parse_recipe({"reward": {"length_penalty": 0.1}}).std_floor()
    one_right = torch.tensor([[1.0] + [0.0] * 7], dtype=torch.float64)
    assert one_right.std().item() == pytest.approx(floor)
    # A saturated group whose rewards differ by a length penalty of 0.001 at most.
    noise = 1 - 0.001 * torch.rand(1, 8, generator=torch.Generator().manual_seed(0)).double()
    assert group_normalized(noise, 1e-6).abs().max() > 1.4
    assert group_normalized(noise, 1e-6, floor).abs().max() < 0.002


def test_a_floor_of_nothing_can_be_said_to_every_algorithm_and_another_only_to_those_with_a_std():
    assert parse_recipe({"algorithm": {"name": "rloo", "std_floor": 0.0}}).std_floor() == 0
    with pytest.raises(ConfigError, match=r"std_floor is 0\.1, which rloo has no use for"):
        parse_recipe({"algorithm": {"name": "rloo", "std_floor": 0.1}})
    assert math.isclose(parse_recipe({"algorithm": {"std_floor": 0.1}}).std_floor(), 0.1)
