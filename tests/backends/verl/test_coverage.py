"""Every key of a recipe is translated, filed, ours, or refused where it is not at its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oneshot_rlvr.backends.verl import coverage
from oneshot_rlvr.backends.verl.coverage import place_of, refuse_what_has_no_counterpart
from oneshot_rlvr.backends.verl.inputs import target_for
from oneshot_rlvr.backends.verl.translate import Places, environment, translate
from oneshot_rlvr.config import parse_recipe, recipe_fields
from oneshot_rlvr.config import recipe as recipe_module
from oneshot_rlvr.errors import ConfigError

PLACES = Places(Path("/d/t.parquet"), Path("/d/v.parquet"), Path("/d/reward.json"), Path("/d/out"))
NO_VALIDATION = Places(PLACES.training, None, PLACES.spec, PLACES.records)
VALIDATION = {"evaluation.validation.benchmark": "tiny"}
SAMPLED = {**VALIDATION, "evaluation.validation.temperature": 0.6}
DAPO = {"algorithm.name": "dapo", "algorithm.overlong_buffer_share": 0.0}

CLIP_COV = {"algorithm.covariance": "clip"}
KL_COV = {"algorithm.covariance": "kl", "train.updates_per_rollout": 4}

# Another value of every translated key, and what else the recipe must say for it to be one.
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "name": ("other", {}),
    "model.path": ("org/model", {}),
    "model.dtype": ("float32", {}),
    "model.trust_remote_code": (True, {}),
    "model.chat_template": ("none", {}),
    "model.autocast": ("bfloat16", {"model.dtype": "float32"}),
    "model.gradient_checkpointing": (True, {}),
    "model.template_arguments": ({"enable_thinking": False}, {}),
    "model.device": ("cpu", {}),
    "model.lora": ({"rank": 4}, {}),
    "model.lora.rank": (4, {"model.lora.alpha": 32.0}),
    "model.lora.alpha": (64.0, {"model.lora.rank": 16}),
    "model.lora.targets": (["q_proj"], {"model.lora.rank": 16}),
    "reward.workers": (3, {}),
    "rollouts.engine": ("hf", {}),
    "rollouts.prompts_per_step": (64, {}),
    "rollouts.group_size": (4, {}),
    "rollouts.max_prompt_tokens": (2048, {}),
    "rollouts.max_new_tokens": (100, {}),
    "rollouts.temperature": (1.0, {}),
    "algorithm.name": ("rloo", {}),
    "algorithm.clip_low": (0.1, {}),
    "algorithm.clip_high": (0.3, {}),
    "algorithm.averaging": ("sequence", {}),
    "algorithm.kl_coefficient": (0.01, {}),
    "algorithm.kl_estimator": ("k1", {"algorithm.name": "ppo"}),
    "algorithm.kl_place": ("reward", {"algorithm.name": "ppo"}),
    "algorithm.entropy_coefficient": (0.0, {}),
    "algorithm.gamma": (0.9, {"algorithm.name": "ppo"}),
    "algorithm.gae_lambda": (0.9, {"algorithm.name": "ppo"}),
    "algorithm.critic_learning_rate": (1e-4, {"algorithm.name": "ppo"}),
    "algorithm.value_clip": (0.2, {"algorithm.name": "ppo"}),
    "algorithm.dynamic_sampling": (False, DAPO),
    "optimizer.learning_rate": (1e-5, {}),
    "optimizer.betas": ([0.9, 0.99], {}),
    "optimizer.weight_decay": (0.1, {}),
    "optimizer.gradient_clip": (0.0, {}),
    "optimizer.warmup_steps": (5, {}),
    "train.steps": (7, {}),
    "train.updates_per_rollout": (2, {}),
    "train.epochs": (2, {"train.updates_per_rollout": 2}),
    "train.micro_batch_tokens": (32768, {}),
    "train.seed": (3, {}),
    "train.save_every": (5, {}),
    "train.eval_every": (5, VALIDATION),
    "train.checkpoint_rule": ("best_validation", {**VALIDATION, "train.eval_every": 7}),
    "train.threads": (3, {}),
    "evaluation.validation": ({"benchmark": "tiny"}, {}),
    "evaluation.validation.samples": (4, {**VALIDATION, "evaluation.validation.temperature": 0.6}),
    "evaluation.validation.temperature": (0.6, VALIDATION),
    "evaluation.validation.top_p": (0.9, SAMPLED),
    "evaluation.validation.top_k": (9, SAMPLED),
    "backend.nodes": (2, {}),
    "backend.gpus_per_node": (8, {}),
    "backend.tensor_parallel": (2, {}),
    "rollouts.vllm.memory_share": (0.3, {}),
    "rollouts.vllm.sleep": (False, {}),
    "rollouts.vllm.cache_gibibytes": (3.0, {"model.device": "cpu"}),
    "rollouts.vllm.dtype": ("float32", {}),
    "rollouts.vllm.max_sequences": (8, {}),
    "rollouts.vllm.eager": (True, {}),
    "train.keep_checkpoints": (5, {}),
    "tracking.trackers": (["wandb"], {}),
    "tracking.project": ("mine", {}),
    "algorithm.sampler_correction": ("none", {}),
    "algorithm.sampler_cap": (5.0, {}),
    "algorithm.sampler_floor": (0.5, {"algorithm.sampler_correction": "token_mask"}),
    "algorithm.dual_clip": (3.0, {}),
    "algorithm.covariance": ("clip", {}),
    "algorithm.covariance_share": (0.01, CLIP_COV),
    "algorithm.covariance_low": (0.5, CLIP_COV),
    "algorithm.covariance_high": (9.0, CLIP_COV),
    "algorithm.covariance_coefficient": (0.1, KL_COV),
    "model.lora.preset": ("without_regret", {"model.lora.rank": 4}),
    "model.lora.rate_factor": (10.0, {"model.lora.rank": 4}),
}  # fmt: skip


def recipe_of(values: dict[str, Any]):
    data: dict[str, Any] = {}
    for key, value in values.items():
        *tables, leaf = key.split(".")
        here = data
        for table in tables:
            here = here.setdefault(table, {})
        here[leaf] = value
    return parse_recipe(data)


def translated(values: dict[str, Any]) -> dict[str, Any]:
    recipe = recipe_of(values)
    places = PLACES if recipe.evaluation.validation else NO_VALIDATION
    target = target_for(recipe, places)
    return translate(recipe, target) | environment(recipe, target)


@pytest.fixture(autouse=True)
def every_key_available(monkeypatch):
    """Also those that the local backend does not have yet: verl has them."""
    monkeypatch.setattr(recipe_module, "_NOT_YET", {}, raising=False)


KEYS = [field.key for field in recipe_fields()]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_place(key):
    assert place_of(key) is not None, (
        f"{key} is new: say in backends/verl/coverage.py what verl makes of it"
    )


def test_the_tables_name_keys_that_exist_and_reasons():
    tables = {**coverage.FILED, **coverage.OURS, **coverage.REFUSED}
    known = {*KEYS, "evaluation.validation", "evaluation.test", "model.lora"}
    for pattern in (*coverage.TRANSLATED, *tables):
        stem = pattern.rstrip("*").rstrip(".")
        assert any(k == stem or k.startswith(f"{stem}") for k in known), pattern
    assert all(tables.values())


def test_every_translated_key_has_a_change_to_try():
    assert set(CHANGES) == coverage.TRANSLATED


@pytest.mark.parametrize("key", sorted(CHANGES))
def test_a_changed_key_changes_what_verl_is_told(key):
    value, beside = CHANGES[key]
    assert translated({**beside, key: value}) != translated(beside)


# A value that is not the default, of every key that is refused.
UNHEARD: dict[str, tuple[Any, dict[str, Any]]] = {
    "model.revision": ("abc", {}),
    "algorithm.policy_coefficient": (0.5, {}),
    "algorithm.advantage_epsilon": (1e-4, {}),
    "algorithm.std_floor": (0.1, {}),
    "algorithm.positive_weight": (0.1, {}),
    "algorithm.negative_weight": (0.1, {}),
    "algorithm.zero_variance_coefficient": (0.1, {}),
    "algorithm.top_entropy_share": (0.2, {}),
    "algorithm.mask_truncated": (True, {}),
    "algorithm.reference_refresh_every": (5, {}),
    "algorithm.entropy_target": (0.3, {}),
    "algorithm.entropy_rate": (0.1, {}),
    "algorithm.entropy_coefficient_max": (0.5, {}),
    "algorithm.value_coefficient": (0.5, {"algorithm.name": "ppo"}),
    "algorithm.overlong_buffer_share": (0.3, {}),
    "algorithm.overlong_penalty": (0.4, {}),
    "rollouts.top_p": (0.9, {}),
    "rollouts.top_k": (9, {}),
    "rollouts.min_p": (0.1, {}),
    "rollouts.autocast": ("bfloat16", {}),
    "train.term_norms_every": (5, {}),
    "train.zero_variance_share": (0.5, {}),
    "evaluation.validation.max_new_tokens": (9, VALIDATION),
    "evaluation.validation.min_p": (0.1, SAMPLED),
    "evaluation.validation.repetition_penalty": (1.1, VALIDATION),
    "evaluation.validation.stop": (["x"], VALIDATION),
    "evaluation.validation.template_arguments": ({"a": 1}, VALIDATION),
}


def test_every_refused_key_is_tried():
    assert set(UNHEARD) == set(coverage.REFUSED)


@pytest.mark.parametrize("key", sorted(UNHEARD))
def test_a_key_without_a_counterpart_is_refused_by_name(key):
    value, beside = UNHEARD[key]
    recipe = recipe_of({**beside, key: value})
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        refuse_what_has_no_counterpart(recipe)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"algorithm.name": "reinforce"}, "algorithm.name"),
        ({"algorithm.name": "ppo", "algorithm.critic": "shared"}, "critic"),
        ({"rollouts.engine": "scripted"}, "rollouts.engine"),
        ({"train.updates_per_rollout": 3}, "updates_per_rollout"),
        ({"backend.gpus_per_node": 3}, "ranks"),
        ({"reward.length_penalty": 0.1}, "std_floor = 0 goes without"),
        ({"model.lora.alpha": 2.5}, "lora.alpha"),
        ({"model.dtype": "float16", "model.device": "cpu"}, "has no use for it"),
        ({"model.lora.preset": "without_regret"}, r"model\.lora\.rank = 0"),
        ({**CLIP_COV, "algorithm.dual_clip": 3.0}, "have no second clip"),
        ({"model.lora.rank": 4, "model.dtype": "bfloat16"}, "too coarse"),
    ],
)
def test_a_value_without_a_counterpart_is_refused_by_name(values, named):
    with pytest.raises(ConfigError, match=named):
        refuse_what_has_no_counterpart(recipe_of(values))


def test_float16_is_products_with_a_scaled_loss_over_float32_weights():
    told = translated({"model.dtype": "float16", "rollouts.engine": "vllm"})
    key = "actor_rollout_ref.actor.fsdp_config"
    assert told[f"{key}.model_dtype"] == "fp32"
    assert told[f"{key}.dtype"] == "float16"
    assert told[f"+{key}.mixed_precision.param_dtype"] == "fp16"
    assert told["actor_rollout_ref.rollout.dtype"] == "float16"


def test_a_validation_is_drawn_as_the_recipe_says():
    told = translated({**SAMPLED, "evaluation.validation.top_p": 0.9})
    key = "actor_rollout_ref.rollout.val_kwargs"
    assert (told[f"{key}.top_p"], told[f"{key}.top_k"]) == (0.9, -1)
    assert (told["actor_rollout_ref.rollout.top_p"], told["actor_rollout_ref.rollout.top_k"]) == (
        1.0,
        -1,
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"algorithm.dual_clip": 3.0}, {"loss_mode": "vanilla", "clip_ratio_c": 3.0}),
        (
            {**CLIP_COV, "algorithm.covariance_share": 0.01, "algorithm.covariance_high": 9.0},
            {
                "loss_mode": "clip_cov", "clip_cov_ratio": 0.01, "clip_cov_lb": 1.0,
                "clip_cov_ub": 9.0,
            },
        ),
        ({**KL_COV}, {"loss_mode": "kl_cov", "kl_cov_ratio": 2e-4, "ppo_kl_coef": 1.0}),
    ],
)  # fmt: skip
def test_what_bounds_the_policys_loss_is_verls_own(values, told):
    said = {key.rpartition(".")[2]: value for key, value in translated(values).items()}
    assert {key: said[key] for key in told} == told


def test_adapters_have_their_own_rate():
    values = {"model.lora.preset": "without_regret", "model.lora.rank": 1}
    said = translated({**values, "optimizer.learning_rate": 1e-6})
    assert said["actor_rollout_ref.actor.optim.lr"] == pytest.approx(1e-5)


def test_a_key_that_is_in_no_table_is_refused(monkeypatch):
    monkeypatch.setattr(coverage, "TRANSLATED", coverage.TRANSLATED - {"rollouts.temperature"})
    with pytest.raises(ConfigError, match=r"rollouts\.temperature = 1\.0"):
        refuse_what_has_no_counterpart(recipe_of({"rollouts.temperature": 1.0}))


def test_the_algorithms_named_are_those_that_are_translated():
    from oneshot_rlvr.backends.verl.translate import ESTIMATORS

    assert set(ESTIMATORS) == set(coverage.ALGORITHMS)
