"""Killed again and again, at any line, a run ends with the bytes of an undisturbed one.

That one may have been the first on its machine, which compiled the loops.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oneshot_rlvr.config import Recipe, to_toml
from oneshot_rlvr.records import Run

PROGRAM = Path(__file__).with_name("kill_and_resume.py")
VARIANTS = {
    # KL and entropy are on in every one of them.
    "GRPO, two updates a step": {},
    "PPO, a critic of its own": {"algorithm.name": "ppo", "algorithm.critic": "own"},
}


def twelve_steps(recipe: Recipe, overrides: dict) -> Recipe:
    tables = recipe.model_dump(mode="json")
    tables["train"] |= {"steps": 12, "save_every": 2, "eval_every": 4}
    for key, value in overrides.items():
        table, leaf = key.split(".")
        tables[table][leaf] = value
    return Recipe.model_validate(tables)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(overrides, id=name, marks=pytest.mark.slow if overrides else ())
        for name, overrides in VARIANTS.items()
    ],
)
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(stateful, tmp_path, overrides):
    recipe = twelve_steps(stateful, overrides)
    assert recipe.algorithm.kl_coefficient > 0
    assert recipe.algorithm.entropy_coefficient > 0
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    command = [sys.executable, str(PROGRAM), str(tmp_path / "recipe.toml"), str(tmp_path), "7"]
    # No loop is compiled yet, as on a machine where nothing has run: the first run compiles, the
    # others read what it kept.
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=env)
    assert done.returncode == 0, done.stderr
    deaths = json.loads(done.stdout)
    assert len(deaths) == 8
    assert all(death and not death.startswith("error") for death in deaths), deaths
    assert {"half of a checkpoint", "half of a line"} < set(deaths)
    first, straight, killed = (tmp_path / name for name in ("first", "straight", "killed"))
    files = ["metrics.jsonl", "final/model.safetensors"]
    files += [f"rollouts/step-{step:06d}.parquet" for step in range(1, 13)]
    files += [f"checkpoints/step-000012/{name}.safetensors" for name in ("optimizer", "random")]
    for name in files:
        assert (straight / name).read_bytes() == (killed / name).read_bytes(), name
        assert (first / name).read_bytes() == (killed / name).read_bytes(), name
    assert list((tmp_path / "cache").rglob("*.nbc"))
    assert Run(killed).rollout_steps() == list(range(1, 13))
    steps = [json.loads(line)["step"] for line in (killed / "metrics.jsonl").open()]
    assert steps == list(range(1, 13))
    assert Run(killed).result == Run(straight).result
    assert not list(killed.rglob("*.part"))
