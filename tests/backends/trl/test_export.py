"""`oneshot export --to trl`: nothing of a recipe is lost, and the script really trains."""

import ast
import json
import os
import subprocess
import sys

import pytest

from oneshot_rlvr.backends.trl import coverage
from oneshot_rlvr.backends.trl.export import export, script_text
from oneshot_rlvr.backends.trl.translate import batches, grpo_config, peft_config
from oneshot_rlvr.config import Recipe, load_recipe, packaged_recipes, parse_recipe, recipe_fields
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.examples.schedule import rows_of_step


def recipe_of(**tables):
    return parse_recipe({"examples": {"items": [{"question": "1+1?", "answer": "2"}]}, **tables})


def test_every_key_of_a_recipe_has_its_place():
    keys = [field.key for field in recipe_fields()]
    assert len(keys) > 80
    placed = {key: coverage.place_of(key) for key in keys}
    assert [key for key, place in placed.items() if place is None] == []


def test_every_place_is_of_a_key():
    keys = [field.key for field in recipe_fields()]
    patterns = [*coverage.FILED, *coverage.APART, *coverage.REFUSED, *coverage.TRANSLATED]
    assert len(patterns) == len(set(patterns))
    for pattern in patterns:
        assert any(coverage._covers(pattern, key) for key in keys), pattern


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ({"algorithm": {"advantage_epsilon": 1e-5}}, "advantage_epsilon = 1e-05"),
        ({"algorithm": {"policy_coefficient": 0.0}}, "policy_coefficient = 0.0"),
        ({"algorithm": {"name": "rloo"}}, 'algorithm.name = "rloo"'),
        ({"algorithm": {"name": "dapo", "dynamic_sampling": False}}, "buffer_share = 0.2"),
        ({"rollouts": {"engine": "scripted"}}, 'rollouts.engine = "scripted"'),
        ({"model": {"device": "cuda:1"}}, "CUDA_VISIBLE_DEVICES"),
        ({"algorithm": {"positive_weight": 0.1}}, "positive_weight = 0.1"),
        ({"algorithm": {"negative_weight": 0.1}}, "negative_weight = 0.1"),
        ({"algorithm": {"zero_variance_coefficient": 0.1}}, "zero_variance_coefficient = 0.1"),
        ({"algorithm": {"covariance": "clip"}}, "covariance = 'clip'"),
        ({"algorithm": {"top_entropy_share": 0.2}}, "entropy_coefficient = 0.001 beside"),
        ({"algorithm": {"name": "gspo", "top_entropy_share": 0.2}}, "gspo with algorithm.top"),
        ({"algorithm": {"name": "dr_grpo", "mask_truncated": True}}, 'by "fixed_length"'),
        ({"model": {"lora": {"preset": "without_regret"}}}, "model.lora.rank = 0"),
        ({"train": {"updates_per_rollout": 3}}, "128 rows do not split into 3"),
        ({"rollouts": {"top_p": 0.9}}, "rollouts.top_p = 0.9 (TRL draws from what is left"),
        ({"rollouts": {"top_k": 5}}, "rollouts.top_k = 5"),
        ({"model": {"dtype": "float16", "device": "cpu"}}, "on a CPU, which has no use for it"),
        ({"rollouts": {"min_p": 0.1}}, "rollouts.min_p = 0.1"),
        ({"rollouts": {"autocast": "bfloat16"}}, "rollouts.autocast = 'bfloat16'"),
    ],
)
def test_what_trl_has_no_counterpart_for_is_refused_by_name(tables, named, tmp_path):
    with pytest.raises(ConfigError) as refused:
        export(recipe_of(**tables), tmp_path / "out")
    assert named in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_the_papers_recipe_as_trl_says_it():
    settings = grpo_config(recipe_of())
    told = {
        "num_generations": 8, "max_completion_length": 3072, "temperature": 0.6,
        "loss_type": "dapo", "scale_rewards": "group", "epsilon": 0.2, "epsilon_high": 0.2,
        "beta": 0.001, "entropy_coef": 0.001, "learning_rate": 1e-6, "adam_beta1": 0.9,
        "adam_beta2": 0.999, "weight_decay": 0.01, "max_grad_norm": 1.0, "max_steps": 2000,
        "num_iterations": 1, "save_steps": 20, "shuffle_dataset": False,
    }  # fmt: skip
    assert {key: settings[key] for key in told} == told
    # 16,384 tokens hold 4 of the longest rollouts: 256 micro-batches make the 1,024 of an update.
    assert batches(recipe_of()) == (4, 256, 1)
    assert settings["steps_per_generation"] == settings["gradient_accumulation_steps"] == 256


def test_updates_and_epochs_split_a_step_as_trl_counts_them():
    settings = grpo_config(
        recipe_of(
            algorithm={"name": "dr_grpo"},
            train={"updates_per_rollout": 16, "epochs": 2, "steps": 10, "save_every": 5},
        )
    )
    assert settings["num_iterations"] == 2
    assert settings["steps_per_generation"] == 8 * settings["gradient_accumulation_steps"]
    assert settings["per_device_train_batch_size"] * settings["steps_per_generation"] == 128 * 8
    assert settings["max_steps"] == 160
    assert settings["save_steps"] == 80


@pytest.mark.parametrize(
    ("algorithm", "told"),
    [
        ({"averaging": "sequence"}, {"loss_type": "grpo"}),
        ({"name": "dr_grpo"}, {"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.0}),
        ({"name": "gspo"}, {"loss_type": "grpo", "importance_sampling_level": "sequence"}),
        ({"name": "cispo"}, {"loss_type": "cispo", "epsilon_high": 5.0}),
        (
            {},
            {"delta": None, "top_entropy_quantile": 1.0, "mask_truncated_completions": False},
        ),
        (
            {"dual_clip": 3.0, "mask_truncated": True},
            {"delta": 3.0, "mask_truncated_completions": True},
        ),
        ({"top_entropy_share": 0.2, "entropy_coefficient": 0.0}, {"top_entropy_quantile": 0.2}),
        (
            {"reference_refresh_every": 3, "name": "dr_grpo", "kl_coefficient": 0.1},
            {"sync_ref_model": True, "ref_model_mixup_alpha": 1.0, "ref_model_sync_steps": 3},
        ),
    ],
)
def test_each_algorithm_as_trl_says_it(algorithm, told):
    recipe = recipe_of(algorithm=algorithm)
    coverage.refuse_what_has_no_counterpart(recipe)
    settings = grpo_config(recipe)
    assert {key: settings[key] for key in told} == told


@pytest.mark.parametrize(
    ("model", "products"),
    [({"dtype": "float16"}, "'fp16'"), ({"dtype": "bfloat16"}, "'bf16'"),
     ({"dtype": "float32"}, "None"), ({"dtype": "float32", "autocast": "bfloat16"}, "'bf16'")],
)  # fmt: skip
def test_the_type_of_products_is_named(model, products):
    assert f"PRODUCTS = {products}" in script_text(recipe_of(model=model))


def test_a_templates_arguments_are_trls():
    recipe = recipe_of(model={"template_arguments": {"enable_thinking": False}})
    assert grpo_config(recipe)["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in grpo_config(recipe_of())


def test_rows_lie_in_the_order_of_the_recipe(tmp_path):
    items = [{"id": f"q{n}", "question": f"{n}+1?", "answer": str(n + 1)} for n in range(5)]
    recipe = recipe_of(
        examples={"items": items}, rollouts={"prompts_per_step": 3}, train={"steps": 4, "seed": 7}
    )
    export(recipe, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    expected = [f"q{e}" for step in range(1, 5) for e in rows_of_step(5, 3, step, 7)]
    assert [row["id"] for row in rows] == expected
    assert rows[0]["prompt"][-1]["content"] == items[int(rows[0]["id"][1:])]["question"]


def test_the_script_is_python_whatever_the_name(tmp_path):
    recipe = recipe_of(name='"""\\n"; import os', note='"""')
    tree = ast.parse(script_text(recipe))
    assert {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names} == {
        "json", "sys", "torch",
    }  # fmt: skip


@pytest.mark.trl
def test_trl_takes_the_settings_of_every_recipe_that_is_not_refused(tmp_path):
    from trl import GRPOConfig

    taken, refused = [], []
    for name in packaged_recipes():
        recipe = load_recipe(name)
        try:
            coverage.refuse_what_has_no_counterpart(recipe)
        except ConfigError:
            refused.append(name)
            continue
        settings = {**grpo_config(recipe), "use_cpu": True, "bf16": False}
        config = GRPOConfig(output_dir=str(tmp_path), **settings)
        rows = recipe.rollouts.prompts_per_step * recipe.rollouts.group_size
        assert config.generation_batch_size == rows
        taken.append(name)
    assert "paper_qwen25_math_1p5b_pi1" in taken
    assert "tiny_one_shot" in taken


def test_adapters_have_their_own_rate():
    lora = {"preset": "without_regret", "rank": 1}
    settings = grpo_config(recipe_of(model={"lora": lora}, optimizer={"learning_rate": 1e-6}))
    assert settings["learning_rate"] == pytest.approx(1e-5)


@pytest.mark.trl
def test_trl_takes_what_chooses_tokens(tmp_path):
    from trl import GRPOConfig

    algorithm = {"dual_clip": 3.0, "top_entropy_share": 0.2, "mask_truncated": True,
                 "entropy_coefficient": 0.0}  # fmt: skip
    settings = {**grpo_config(recipe_of(algorithm=algorithm)), "use_cpu": True, "bf16": False}
    config = GRPOConfig(output_dir=str(tmp_path), **settings)
    assert (config.delta, config.top_entropy_quantile) == (3.0, 0.2)
    assert config.mask_truncated_completions


def test_entropies_that_trl_compares_in_smaller_parts_are_named(tmp_path):
    algorithm = {"top_entropy_share": 0.2, "entropy_coefficient": 0.0}
    notes = export(recipe_of(algorithm=algorithm), tmp_path / "out").notes
    assert sum("entropies of a micro-batch" in note for note in notes) == 1


@pytest.mark.trl
def test_lora_settings_are_pefts():
    from peft import LoraConfig

    lora = Recipe.model_validate({"model": {"lora": {"rank": 4}}, "algorithm": {"name": "dr_grpo"}})
    assert LoraConfig(**peft_config(lora)).r == 4


@pytest.mark.trl
def test_the_exported_script_trains(tmp_path):
    recipe = load_recipe(
        "tiny_one_shot",
        {
            "rollouts.prompts_per_step": 2, "rollouts.max_new_tokens": 56, "train.save_every": 1,
            "train.threads": 1, "optimizer.warmup_steps": 4, "reward.workers": 0,
            "algorithm.dual_clip": 3.0,
        },
    )  # fmt: skip
    exported = export(recipe, tmp_path / "first")
    assert exported.command.endswith("train.py")
    moved = (tmp_path / "first").rename(tmp_path / "moved")
    done = subprocess.run(
        [sys.executable, "train.py", "--max_steps", "2"],
        cwd=moved, capture_output=True, text=True, timeout=800,
        env={**os.environ, "TQDM_DISABLE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    state = json.loads((moved / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    first, second = [entry for entry in state["log_history"] if "grad_norm" in entry]
    assert [first["learning_rate"], second["learning_rate"]] == pytest.approx([5e-5, 1e-4])
    for logged in (first, second):
        assert logged["grad_norm"] > 0
        assert 0 < logged["entropy"] < 1
        assert 0 <= logged["reward"] <= 1
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert second["kl"] > 0

    from oneshot_rlvr.config import ModelConfig
    from oneshot_rlvr.policy import load_policy

    base = load_policy(ModelConfig(path=str(moved / "model"))).model.state_dict()
    trained = load_policy(ModelConfig(path=str(moved / "out" / "final"))).model.state_dict()
    changed = [name for name, weight in base.items() if not weight.equal(trained[name])]
    assert changed == list(base)  # decay reaches norms and biases too


@pytest.mark.parametrize(("name", "told"), [("dr_grpo", 1), ("grpo", 0)])
def test_an_entropy_bonus_that_trl_averages_otherwise_is_named(name, told, tmp_path):
    recipe = recipe_of(algorithm={"name": name, "entropy_coefficient": 0.01})
    notes = export(recipe, tmp_path / "out").notes
    assert sum("entropy bonus is a mean over tokens" in note for note in notes) == told


def test_the_kl_term_is_the_recipes_and_not_weighed_by_trls_ratio():
    assert grpo_config(recipe_of())["use_bias_correction_kl"] is False


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"correction": True, "mode": "token_truncate", "clip_max": 2.0, "clip_min": None}),
        ({"sampler_correction": "none"}, {"correction": False}),
        (
            {"sampler_correction": "sequence_mask", "sampler_cap": 3.0, "sampler_floor": 0.2},
            {"correction": True, "mode": "sequence_mask", "clip_max": 3.0, "clip_min": 0.2},
        ),
    ],
)
def test_the_sampler_is_corrected_for_as_the_recipe_says(given, told):
    settings = grpo_config(recipe_of(rollouts={"engine": "vllm"}, algorithm=given))
    prefix = "vllm_importance_sampling_"
    found = {k.removeprefix(prefix): v for k, v in settings.items() if k.startswith(prefix)}
    assert found == told


def test_a_correction_without_vllm_is_refused_by_name(tmp_path):
    recipe = recipe_of(algorithm={"sampler_correction": "token_mask"})
    with pytest.raises(ConfigError, match="sampler_correction"):
        export(recipe, tmp_path / "out")
