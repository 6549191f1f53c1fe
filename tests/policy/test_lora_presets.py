"""Adapters as "LoRA without regret" has them: every linear layer, a rank for the data, rate x10."""

import pytest
import torch

from oneshot_rlvr.config import parse_recipe
from oneshot_rlvr.config.advice import advice
from oneshot_rlvr.errors import ConfigError, ModelError
from oneshot_rlvr.policy.lora import adapter_tensors, add_adapters, rank_for
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.train.footprint import Shape, described, with_rank

QWEN = Shape(
    parameters=1_543_714_304, layers=28, hidden=1536, intermediate=8960, heads=12, kv_heads=2,
    head_width=128, vocabulary=151_936, weight_bytes=4,
)  # fmt: skip


def recipe(**lora):
    return parse_recipe({"model": {"lora": lora}})


@pytest.mark.parametrize(
    ("rollouts", "numbers", "rank"),
    [(1, 10, 1), (20, 10, 1), (21, 10, 2), (40, 10, 2), (41, 10, 4), (10**9, 10, 256)],
)
def test_a_rank_is_the_least_power_of_two_that_holds_a_bit_a_rollout(rollouts, numbers, rank):
    assert rank_for(rollouts, numbers) == rank


def test_the_papers_run_needs_rank_one():
    # 2,048,000 rollouts; a layer reads and writes 41,216 numbers, 28 of them hold 2.3 Mbit.
    found = with_rank(recipe(preset="without_regret"), QWEN).model.lora
    assert (found.rank, found.alpha, found.targets, found.rate_factor) == (1, 32.0, None, 10.0)


def test_what_is_counted_is_what_the_adapters_have():
    policy = random_policy("qwen2")
    shape = Shape.of(policy.model.config, 0, 4)
    add_adapters(policy.model, recipe(rank=1).model.lora, seed=0)
    from oneshot_rlvr.train.footprint import _numbers_of_rank_one

    numbers = sum(t.numel() for t in adapter_tensors(policy.model).values())
    assert _numbers_of_rank_one(shape) == numbers


def test_rank_one_is_a_rank():
    policy = random_policy("llama")
    add_adapters(policy.model, recipe(rank=1).model.lora, seed=0)
    assert {min(t.shape) for t in adapter_tensors(policy.model).values()} == {1}


def test_keys_that_are_given_win_and_the_rate_is_told_resolved():
    given = parse_recipe(
        {
            "model": {"lora": {"preset": "without_regret", "rank": 8, "rate_factor": 15.0}},
            "optimizer": {"learning_rate": 2e-6},
        }
    )
    assert with_rank(given, QWEN) == given
    assert given.learning_rate() == pytest.approx(3e-5)
    assert parse_recipe({"optimizer": {"learning_rate": 2e-6}}).learning_rate() == 2e-6
    again = parse_recipe(given.model_dump(mode="json"))  # what a run writes is read as it was
    assert again == given


def test_with_the_factor_no_rate_is_doubted():
    assert advice(recipe(preset="without_regret")) == []
    (said,) = advice(recipe(rank=4))
    assert "or model.lora.rate_factor=10" in said


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({"preset": "regret"}, "without_regret"),
        ({"preset": "without_regret", "targets": ["q_proj"]}, "every linear layer"),
        ({"rank": 0, "targets": ["q_proj"]}, "Give a rank, 1 or more"),
        ({"rank": -1}, "rank"),
        ({"rate_factor": 0.0}, "rate_factor"),
    ],
)
def test_values_that_cannot_work_are_one_clear_error(lora, said):
    with pytest.raises(ConfigError, match=said) as refused:
        recipe(**lora)
    assert len(str(refused.value).splitlines()) == 1


def test_a_model_that_cannot_be_read_is_one_clear_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    wanted = parse_recipe({"model": {"path": str(tmp_path), "lora": {"rank": 0}}})
    with pytest.raises(ModelError):
        with_rank(wanted)


def test_an_unresolved_rank_reaches_no_adapter():
    with pytest.raises(ConfigError, match="rank is 0 here"):
        add_adapters(random_policy("qwen2").model, recipe(rank=0).model.lora, seed=0)


def test_a_dry_run_tells_the_rank():
    told = described(recipe(preset="without_regret"))
    (line,) = [line for line in told if line.startswith("adapters:")]
    assert "for 2,048,000 rollouts of one bit each" in line
    assert torch.get_default_dtype() == torch.float32
