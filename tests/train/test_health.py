"""Warnings: told once, when they hold, and silent about runs that go well."""

from __future__ import annotations

import pytest

from oneshot_rlvr.train.health import FRUITLESS_STEPS, WINDOW, Health

GOOD = {
    "train/entropy_nats": 0.3, "train/tokens_mean": 50.0, "train/accuracy": 0.4,
    "train/truncated_share": 0.15, "train/skipped_updates": 0.0,
}  # fmt: skip


def after_a_good_start(steps: int, **changed: float | None) -> list[str]:
    """What is said over `steps` steps that follow a window of good ones."""
    health, told = Health(), []
    for step in range(1, WINDOW + 1):
        told += health.observe(step, GOOD)
    assert told == []
    changes = {f"train/{key}": value for key, value in changed.items()}
    for step in range(WINDOW + 1, WINDOW + 1 + steps):
        told += health.observe(step, {**GOOD, **changes})
    return told


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"entropy_nats": 0.005, "accuracy": 1.0}, "entropy has collapsed, 0.3 nats at first"),
        ({"entropy_nats": 0.02, "accuracy": 0.3}, "entropy has collapsed"),
        ({"tokens_mean": 10.0}, "length has collapsed, 50 tokens at first and 10 over the last 5"),
        ({"truncated_share": 0.9}, "60% of the rollouts are cut"),
        ({"skipped_updates": 1.0}, "not finite"),
    ],
)
def test_a_collapse_is_told_once(changed, words):
    told = after_a_good_start(30, **changed)
    assert len(told) == 1
    assert words in told[0]
    assert told[0].startswith("step ")


def test_steps_in_a_row_without_success_are_told():
    assert after_a_good_start(FRUITLESS_STEPS - 1, accuracy=0.0) == []
    (told,) = after_a_good_start(FRUITLESS_STEPS, accuracy=0.0)
    assert told.startswith(f"step {WINDOW + FRUITLESS_STEPS}: no rollout was right in 10 steps")
    # A score is rewarded although nothing is right: an open problem.
    assert after_a_good_start(FRUITLESS_STEPS, accuracy=0.0, reward=0.3) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"entropy_nats": 0.02, "accuracy": 0.97},  # the embedded recipe saturates so
        {"tokens_mean": 20.0},
        {"truncated_share": 0.3},
        {"entropy_nats": None},
        {"entropy_nats": float("nan"), "tokens_mean": float("nan")},
    ],
)
def test_ordinary_runs_are_left_alone(changed):
    assert after_a_good_start(30, **changed) == []


def test_one_bad_step_is_no_collapse():
    health = Health()
    for step in range(1, 30):
        low = step == 12
        assert health.observe(step, {**GOOD, "train/tokens_mean": 1.0 if low else 50.0}) == []


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("train/sampler_gap", 0.2, "0.2 nats apart"),
        ("train/sampler_kl", 0.05, "0.05 nats a token"),
        ("train/sampler_effective_share", 0.5, "worth 50% of their number"),
        ("train/sampler_masked_share", 0.3, "30% of the tokens are masked"),
    ],
)
def test_a_sampler_far_from_the_trainer_is_told_once(key, value, words):
    health = Health()
    fine = {"train/sampler_gap": 0.01, "train/sampler_kl": 1e-4,
            "train/sampler_effective_share": 0.999, "train/sampler_masked_share": 0.0}  # fmt: skip
    told = [text for step in range(20) for text in health.observe(step, {**GOOD, **fine})]
    assert told == []
    bad = {**GOOD, **fine, key: value}
    health = Health()
    told = [text for step in range(20) for text in health.observe(step, bad)]
    (said,) = told
    assert "sampler and trainer disagree" in said
    assert words in said
