"""The paper's recipe on its published example, with models of ten million random weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.policy import save_policy
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.records import Run

PAPER = Path(__file__).parents[2] / "recipes/paper_qwen25_math_1p5b_pi1.toml"

# The recipe, shrunk: 2 rows of 2 short rollouts, 2 steps, 2 questions of MATH-500.
SMALL = {
    "train.steps": 2,
    "train.threads": 1,
    "rollouts.prompts_per_step": 2,
    "rollouts.group_size": 2,
    "rollouts.max_new_tokens": 8,
    "evaluation.test.questions": 2,
}


def model(architecture: str, folder: Path) -> tuple[Path, int]:
    """A model directory and its number of parameters.

    Most are embeddings, beyond the tokenizer's ids: as in published models, and quick.
    """
    policy = random_policy(
        architecture, hidden=256, layers=2, heads=8, kv_heads=2, intermediate=1024, scale=0.02,
        vocabulary=1 << 14,
    )  # fmt: skip
    size = sum(p.numel() for p in policy.model.parameters())
    assert 9e6 < size < 11e6
    return save_policy(policy, folder / architecture), size


def check(out: Path, size: int) -> None:
    """Two steps on the one example, tested before and after on MATH-500, and a model."""
    from transformers import AutoModelForCausalLM

    told = Run(out)
    assert told.status == "finished"
    (example,) = told.info["examples"]  # 128 equal rows of the file are one example
    assert example["answer"] == "12.8"
    assert example["question"].startswith("The pressure \\( P \\) exerted by wind")
    assert told.info["model"]["parameters"] == size
    rollouts = told.rollouts()
    assert len(rollouts) == 2 * 2 * 2
    assert set(rollouts["example_id"]) == {example["id"]}
    assert told.metrics()["step"].tolist() == [1, 2]
    assert told.metrics()["train/kl"].notna().all()
    assert told.evaluations() == [("test", 0), ("test", 2)]
    samples = told.samples("test", 2)
    assert samples["example_id"].nunique() == len(samples) == 2
    assert samples["domain"].str.contains("Algebra|Precalculus").all()  # MATH's own subjects
    weights = AutoModelForCausalLM.from_pretrained(out / "final")
    assert sum(p.numel() for p in weights.parameters()) == size


def test_a_llama_trains_on_the_published_example(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("ONESHOT_DATA_DIR", str(data_dir))
    directory, size = model("llama", tmp_path)
    overrides = {
        **SMALL,
        "model.path": str(directory),
        "examples.path": str(data_dir / "one_shot_rlvr/pi1_r128.parquet"),
    }
    run(load_recipe(PAPER, overrides), out=tmp_path / "run")
    check(tmp_path / "run", size)


def test_the_tiny_model_trains_on_the_published_example(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("ONESHOT_DATA_DIR", str(data_dir))
    overrides = {
        **SMALL,
        "model.path": "tiny",
        "examples.path": str(data_dir / "one_shot_rlvr/pi1_r128.parquet"),
    }
    run(load_recipe(PAPER, overrides), out=tmp_path / "run")
    assert Run(tmp_path / "run").metrics()["train/gradient_norm"].gt(0).all()
    check(tmp_path / "run", Run(tmp_path / "run").info["model"]["parameters"])


def test_a_qwen2_trains_on_the_published_example_from_the_command_line(data_dir, tmp_path):
    directory, size = model("qwen2", tmp_path)
    flags = {
        **SMALL,
        "model.path": directory,
        "examples.path": data_dir / "one_shot_rlvr/pi1_r128.parquet",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from oneshot_rlvr.cli import main; raise SystemExit(main())"),
            *("train", PAPER, "--out", tmp_path / "run"),
            *(word for key, value in flags.items() for word in (f"--{key}", str(value))),
        ],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    check(tmp_path / "run", size)
    assert f"Model:  {tmp_path / 'run/final'}" in done.stdout
    assert "step 2/2" in done.stderr
    assert "Loading weights" not in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run/report.html").stat().st_size > 100_000


@pytest.mark.parametrize("name", ["pi1", "pi13"])
def test_the_papers_recipes_are_one_example_in_128_rows(name):
    recipe = load_recipe(PAPER.with_name(f"paper_qwen25_math_1p5b_{name}.toml"))
    assert recipe.derived()["rollouts_per_step"] == 1024
    assert recipe.derived()["optimizer_steps"] == 2000
