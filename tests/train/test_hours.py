"""Hours of a run: counted by hand, and from the cost model, which is asked rightly."""

from __future__ import annotations

import pytest

from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.train import cost_model
from oneshot_rlvr.train.footprint import Shape
from oneshot_rlvr.train.hours import (
    evaluated_answers,
    from_measured,
    model_shape,
    on_place,
    place_named,
    work_of,
)

# Qwen2.5-Math-1.5B: its config.json, and the parameters that its weights hold.
QWEN = Shape(1_543_714_304, 28, 1536, 8960, 12, 2, 128, 151_936, 2)


def paper(**changes):
    return load_recipe("paper_qwen25_math_1p5b_pi1", changes)


def test_answers_of_all_evaluations_by_hand():
    recipe = load_recipe("tiny_one_shot")  # 100 steps, validated every 20; K = 4 and 8
    counted = {"validation": 100, "test": 400}

    def count(config):
        return counted["validation" if config.samples == 4 else "test"]

    # Base, after 20, 40, 60, 80 and 100; the test of base and result.
    assert evaluated_answers(recipe, count) == 6 * 100 * 4 + 2 * 400 * 8
    never = load_recipe("tiny_one_shot", {"train.eval_every": 0, "evaluation.test": None})
    assert evaluated_answers(never, count) == 2 * 100 * 4


def test_a_measured_step_and_its_evaluations_by_hand():
    recipe = load_recipe("tiny_one_shot", {"train.steps": 50})  # 128 rollouts a step
    found = from_measured(recipe, step=0.6, sampling=0.256, mean=40.0, answers=1000)
    assert found.evaluating == pytest.approx(1000 * 0.256 / 128)
    assert found.run == pytest.approx(50 * 0.6 + 2.0)


@pytest.mark.parametrize("shape", cost_model.SHAPES.values(), ids=lambda shape: shape.name)
def test_the_shape_handed_over_has_the_models_own_parameters(shape):
    read = Shape(
        shape.parameters, shape.layers, shape.width, shape.inner, shape.heads, shape.kv_heads,
        shape.head_size, shape.vocabulary, 2,
    )  # fmt: skip
    handed = model_shape(read, shape.name)
    assert handed.parameters == shape.parameters
    assert handed.tied is shape.tied


def test_hours_are_those_of_the_page_of_scaling():
    """The same numbers as the table in docs/scaling.md takes."""
    recipe = paper(**{"model.gradient_checkpointing": True})
    work = work_of(recipe, 800, prompt=120)
    assert work == cost_model.Work(128, 8, 120, 800, 3072)
    expected = cost_model.step_seconds(cost_model.QWEN_1P5B, cost_model.A100, 8, work)
    found = on_place(recipe, QWEN, place_named("A100:8"), 800, 0, prompt=120)
    assert found.step == pytest.approx(expected["step"])
    assert found.run == pytest.approx(recipe.train.steps * expected["step"])


def test_longer_answers_more_epochs_and_a_smaller_gpu_take_longer():
    place = place_named("H100")
    usual = on_place(paper(), QWEN, place, 800, 0).step
    assert on_place(paper(), QWEN, place, 3072, 0).step > 1.5 * usual
    assert on_place(paper(), QWEN, place_named("L4"), 800, 0).step > 3 * usual
    twice = paper(**{"train.epochs": 2, "train.updates_per_rollout": 2})
    assert on_place(twice, QWEN, place, 800, 0).step > usual
    evaluated = on_place(paper(), QWEN, place, 800, 1024)
    assert 0 < evaluated.evaluating < usual


@pytest.mark.parametrize("text", ["h100", "H100", "H100:1", "RTX 4090"])
def test_a_gpu_has_its_name_in_any_case(text):
    assert place_named(text).gpu in (cost_model.H100, cost_model.RTX4090)
    assert place_named(text).count == 1


@pytest.mark.parametrize("text", ["H1000", "H100:0", "H100:x", "", "A100:8:8"])
def test_a_gpu_that_is_not_known_is_refused_with_those_that_are(text):
    with pytest.raises(ConfigError, match=r"Known: A100, H100, H200, .* as in H100:8"):
        place_named(text)


def test_a_model_that_leaves_no_room_says_so():
    seventy = Shape(70_000_000_000, 80, 8192, 28672, 64, 8, 128, 128_256, 2)
    with pytest.raises(ConfigError, match="leaves no room for an answer on a L4 24 GB"):
        on_place(paper(), seventy, place_named("L4"), 800, 0)
