"""docs/one_shot_in_one_file.py, which knows no class of the package, trains as the package does."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

import oneshot_rlvr
from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.records import Run
from oneshot_testing import load_file

FILE = Path(__file__).parents[1] / "docs" / "one_shot_in_one_file.py"
STEPS, ROWS = 5, 4
# Of seeds 0 to 6 the one whose draws stay furthest from where two tokens meet (1.6e-5 of the
# probability), so that no processor's rounding turns one token into its neighbour.
SEED = 6


@pytest.fixture(scope="module")
def twin() -> ModuleType:
    return load_file(FILE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The packaged recipe, shorter and with fewer rows, held-out sets left out."""
    overrides = {
        "train.steps": STEPS,
        "rollouts.prompts_per_step": ROWS,
        "train.threads": 1,
        "train.seed": SEED,
        "evaluation.validation": None,
        "evaluation.test": None,
    }
    out = tmp_path_factory.mktemp("twin") / "run"
    return Run(oneshot_rlvr.train("tiny_one_shot", overrides=overrides, out=out).directory)


def test_it_draws_the_same_answers_and_finds_the_same_losses_for_five_steps(twin, run):
    metrics = run.metrics().set_index("step")
    happened = list(twin.train(STEPS, rows=ROWS, seed=SEED))
    assert list(metrics.index) == [now["step"] for now in happened] == [1, 2, 3, 4, 5]
    for now in happened:
        step = now["step"]
        drawn = [tuple(tokens) for tokens in run.rollouts([step])["tokens"]]
        assert drawn == [tuple(tokens) for tokens in now["answers"]], f"step {step}"
        package = {name: metrics.loc[step, f"train/{name}"] for name in
                   ("loss", "policy_loss", "kl", "entropy_nats", "reward")}  # fmt: skip
        assert {name: now[name] for name in package} == pytest.approx(package, rel=0, abs=1e-5)
        norm = metrics.loc[step, "train/gradient_norm"]
        assert now["gradient_norm"] == pytest.approx(norm, rel=1e-3)
    # Rewards that differ, so that there was something to learn from.
    assert all(0 < now["reward"] < 1 for now in happened)


def test_its_settings_are_those_of_the_recipe(twin):
    recipe = load_recipe("tiny_one_shot")
    algorithm, optimizer, rollouts = recipe.algorithm, recipe.optimizer, recipe.rollouts
    (item,) = recipe.examples.items
    assert (item["question"], item["answer"]) == (twin.QUESTION, twin.GOLD)
    assert (rollouts.prompts_per_step, rollouts.group_size) == (twin.ROWS_P, twin.GROUP_G)
    assert (rollouts.max_new_tokens, rollouts.temperature) == (twin.MAX_TOKENS_T, twin.TEMPERATURE)
    assert (algorithm.name, algorithm.clip_low, algorithm.clip_high) == (
        "grpo", twin.CLIP, twin.CLIP,
    )  # fmt: skip
    assert algorithm.kl_coefficient == twin.KL_COEFFICIENT
    assert algorithm.entropy_coefficient == twin.ENTROPY_COEFFICIENT
    assert (optimizer.learning_rate, optimizer.betas) == (twin.LEARNING_RATE, twin.BETAS)
    assert (optimizer.weight_decay, optimizer.gradient_clip) == (
        twin.WEIGHT_DECAY, twin.GRADIENT_CLIP,
    )  # fmt: skip


def test_it_is_short_and_imports_nothing_of_the_package():
    text = FILE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    imported = [
        name
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    ]  # fmt: skip
    assert "torch" in imported
    assert not [name for name in imported if name.startswith("oneshot_rlvr")]
