"""The loss's scale in float16: its arithmetic by hand, and what a run makes of it."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from oneshot_rlvr.config import ModelConfig, OptimizerConfig, parse_recipe
from oneshot_rlvr.errors import ConfigError, ModelError
from oneshot_rlvr.policy.load import load_policy
from oneshot_rlvr.policy.optimizer import make_optimizer
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.train.applying import FIRST_SCALE, GROWTH_INTERVAL, Applying
from oneshot_rlvr.train.checkpoint import load_checkpoint, save_checkpoint
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.types import Example, Graded, Prompt, Reason, Verdict


def made(value=1.0, clip=0.0, scaled=True, dtype=torch.float16):
    weight = nn.Parameter(torch.tensor([value], dtype=dtype))
    config = OptimizerConfig(learning_rate=0.5, weight_decay=0.0)
    optimizer = make_optimizer([weight], config)
    applying = Applying({"gradient_norm": optimizer}, clip, scaled=scaled, device="cpu")
    return weight, optimizer, applying


def update(weight, applying, factor):
    """One update by the loss factor * weight, whose gradient is the factor."""
    applying.backward((weight.float() * factor).sum())
    return applying.apply(factor)


def test_gradients_that_float16_would_lose_arrive_exactly():
    weight, optimizer, applying = made()
    applying.backward((weight.float() * 2.0**-30).sum())  # the least of float16 is 2^-24
    assert weight.grad is None
    assert optimizer.masters[0].grad.item() == 2.0**-30 * FIRST_SCALE
    assert applying.apply(0.0) == {"loss_scale": 2.0**16, "gradient_norm": 2.0**-30}
    # AdamW's first step is the learning rate times g / (|g| + 1e-8).
    assert weight.item() == pytest.approx(1 - 0.5 * 2.0**-30 / (2.0**-30 + 1e-8), abs=1e-3)
    plain_weight, plain, without = made(scaled=False)
    without.backward((plain_weight.float() * 2.0**-30).sum())
    assert plain.masters[0].grad.item() == 0.0


def test_an_overflow_leaves_everything_as_it_was_and_halves_the_scale():
    weight, optimizer, applying = made()
    told = update(weight, applying, 2.0)  # 2 * 65,536 is beyond 65,504
    assert told == {"loss_scale": 2.0**16, "overflowed": 1.0}
    assert applying.scale == 2.0**15
    assert (weight.item(), optimizer.masters[0].item()) == (1.0, 1.0)
    assert optimizer.masters[0].grad is None
    assert not optimizer.state
    told = update(weight, applying, 1.9990234375)  # * 32,768 is 65,504, the greatest of float16
    assert told == {"loss_scale": 2.0**15, "gradient_norm": 1.9990234375}
    assert applying.scale == 2.0**15


def test_the_scale_doubles_after_its_interval_without_overflow():
    weight, _, applying = made()
    update(weight, applying, 2.0)
    for _ in range(GROWTH_INTERVAL - 1):
        update(weight, applying, 1e-3)
    assert applying.scale == 2.0**15
    update(weight, applying, 1e-3)
    assert applying.scale == 2.0**16


def test_the_clip_is_of_the_true_norm():
    weight, optimizer, applying = made(clip=0.25)
    applying.backward((weight.float() * 0.5).sum())
    seen = []
    step = optimizer.step
    optimizer.step = lambda: (seen.append(optimizer.masters[0].grad.item()), step())
    assert applying.apply(0.0)["gradient_norm"] == 0.5
    assert seen == [pytest.approx(0.25, rel=1e-5)]


def test_parts_add_up_in_float32_under_the_scale():
    weight, _, applying = made()
    for _ in range(3):
        applying.backward((weight.float() * 2.0**-20).sum())
    assert applying.apply(0.0)["gradient_norm"] == 3 * 2.0**-20


def test_a_loss_that_is_not_finite_is_no_matter_of_the_scale():
    weight, _, applying = made()
    applying.backward((weight.float() * 1e-3).sum())
    assert applying.apply(math.nan) == {"loss_scale": 2.0**16}
    assert weight.item() == 1.0
    applying.load({**applying.state(), "scale": 1.0})
    applying.backward((weight.float() * 1e6).sum())
    assert "overflowed" not in applying.apply(0.0)  # at a scale of 1 it is the gradient


def test_without_float16_there_is_no_scale():
    weight, _, applying = made(scaled=False, dtype=torch.float32)
    assert applying.scale == 1.0
    assert applying.state() == {}
    assert update(weight, applying, 2.0) == {"gradient_norm": 2.0}


def recipe():
    return parse_recipe(
        {
            "rollouts": {"prompts_per_step": 2, "group_size": 2, "temperature": 1.0},
            "algorithm": {"kl_coefficient": 0.0},
            "optimizer": {"learning_rate": 1e-3},
        }
    )


def graded_by(policy):
    prompts = [Prompt(r, Example(str(r), "", ""), (1, 2, 3, r)) for r in range(2)]
    rollouts = make_engine("auto", policy).generate(
        prompts, 2, Sampling(1.0, 8), StreamKey(0, "half", 0)
    )
    return [
        Graded(r, Verdict(bool(r.index), Reason.CORRECT if r.index else Reason.MISMATCH), r.index)
        for r in rollouts
    ]


def test_a_step_in_float16_scales_tells_and_learns():
    policy = random_policy("qwen2", dtype=torch.float16, scale=0.1)
    trainer = TrainStep(policy, recipe())
    graded = graded_by(policy)
    before = [p.clone() for p in policy.model.parameters()]
    metrics = trainer.update(graded).metrics
    assert metrics["train/loss_scale"] == FIRST_SCALE
    assert metrics["train/overflowed_updates"] == metrics["train/skipped_updates"] == 0
    assert any(
        not torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True)
    )
    wide = random_policy("qwen2", scale=0.1)
    exact = TrainStep(wide, recipe()).update(graded).metrics
    assert metrics["train/gradient_norm"] == pytest.approx(exact["train/gradient_norm"], rel=0.02)
    assert "train/loss_scale" not in exact


def test_overflows_are_counted_apart_and_do_not_end_a_run():
    policy = random_policy("qwen2", dtype=torch.float16, scale=0.1)
    trainer = TrainStep(policy, recipe())
    trainer._applying.load({**trainer._applying.state(), "scale": 2.0**30})
    metrics = trainer.update(graded_by(policy)).metrics
    assert metrics["train/overflowed_updates"] == 1
    assert metrics["train/skipped_updates"] == 0
    assert trainer.skipped_in_a_row == 0
    assert trainer._applying.scale == 2.0**29


def test_the_scale_goes_through_a_checkpoint(tmp_path):
    policy = random_policy("qwen2", dtype=torch.float16, scale=0.1)
    trainer = TrainStep(policy, recipe())
    trainer._applying.load({**trainer._applying.state(), "scale": 512.0, "_growth_tracker": 7})
    trainer.update(graded_by(policy))
    state = trainer._applying.state()
    assert (state["scale"], state["_growth_tracker"]) == (512.0, 8)
    saved = save_checkpoint(tmp_path, 1, trainer)
    assert json.loads(json.dumps(saved.learner)) == saved.learner
    other = TrainStep(random_policy("qwen2", dtype=torch.float16, seed=4), recipe())
    load_checkpoint(saved, other)
    assert other._applying.state() == state
    assert all(
        torch.equal(a, b)
        for a, b in zip(policy.model.parameters(), other.policy.model.parameters(), strict=True)
    )


def test_a_cpu_has_no_use_for_float16_and_says_so_at_once():
    with pytest.raises(ModelError, match=r'"float16" and the device is a CPU, .* "float32"'):
        load_policy(ModelConfig(dtype="float16", device="cpu"))


def test_one_type_of_products():
    with pytest.raises(ConfigError, match=r'dtype is "float16" and model\.autocast "bfloat16"'):
        parse_recipe({"model": {"dtype": "float16", "autocast": "bfloat16"}})
