"""Options for one-example runs in whole runs: they go from end to end, and on after a stop."""

from __future__ import annotations

import pytest

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.records import Run

UPDATES = {"train.updates_per_rollout": 2, "train.epochs": 2}
PRACTICES = {
    "rl-zvp": {"algorithm.zero_variance_coefficient": 0.1, "algorithm.positive_weight": 0.5},
    "clip-cov": {
        "algorithm.covariance": "clip", "algorithm.covariance_share": 0.1,
        "algorithm.covariance_low": 0.01, "algorithm.dual_clip": 3.0, **UPDATES,
    },
    "kl-cov": {
        "algorithm.covariance": "kl", "algorithm.covariance_share": 0.1,
        "algorithm.negative_weight": 0.5, **UPDATES,
    },
    "uncertain and finished": {
        "algorithm.top_entropy_share": 0.2, "algorithm.mask_truncated": True,
        "train.updates_per_rollout": 2,
    },
    "adapters": {
        "model.lora": {"preset": "without_regret", "alpha": 4.0},
        "algorithm.zero_variance_coefficient": 0.1, "optimizer.learning_rate": 0.001,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PRACTICES)
def test_a_stopped_run_goes_on_to_the_same_bits(
    name, small_recipe, tmp_path, watcher, assert_same_run
):
    recipe = small_recipe(PRACTICES[name])
    run(recipe, out=tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, out=tmp_path / "run", progress=watcher(after=3))
    run(recipe, out=tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "straight", tmp_path / "run")


TINY = {
    "rollouts.prompts_per_step": 2, "rollouts.max_new_tokens": 64, "train.steps": 2,
    "train.updates_per_rollout": 2, "train.threads": 1, "reward.workers": 0,
    "evaluation.validation": None, "evaluation.test": None,
}  # fmt: skip
TOGETHER = {
    "all but KL-Cov": (
        {
            "algorithm.zero_variance_coefficient": 0.1, "algorithm.top_entropy_share": 0.5,
            "algorithm.mask_truncated": True, "algorithm.covariance": "clip",
            "algorithm.covariance_low": 0.0, "algorithm.dual_clip": 3.0,
            "algorithm.negative_weight": 1.5,
        },
        ("zero_variance_shaped", "masked_truncated", "covariance", "top_entropy", "dual_clip"),
    ),
    "KL-Cov and adapters": (
        {
            "algorithm.covariance": "kl", "algorithm.covariance_share": 0.01,
            "algorithm.positive_weight": 0.1, "model.lora": {"preset": "without_regret"},
        },
        ("covariance",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOGETHER)
def test_the_embedded_world_runs_with_them_and_repeats(name, tmp_path):
    from oneshot_rlvr.config import load_recipe

    settings, told = TOGETHER[name]
    for out in ("one", "two"):
        run(load_recipe("tiny_one_shot", {**TINY, **settings}), out=tmp_path / out)
    for file in ("metrics.jsonl", "final/model.safetensors"):
        one, two = (tmp_path / out / file for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), file
    logged = Run(tmp_path / "one").metrics()
    for key in told:
        assert logged[f"train/{key}_share"].between(0, 1).all()
    assert (logged["train/gradient_norm"] > 0).all()


def test_a_rank_from_the_data_is_a_number_in_the_runs_own_recipe(small_recipe, tmp_path):
    recipe = small_recipe({"model.lora": {"preset": "without_regret"}})
    run(recipe, out=tmp_path / "run")
    lora = Run(tmp_path / "run").info["recipe"]["model"]["lora"]
    assert lora["rank"] == 1  # 64 rollouts
    metrics = Run(tmp_path / "run").metrics()
    assert set(metrics["optimizer/learning_rate"]) == {0.1}  # ten times the recipe's
