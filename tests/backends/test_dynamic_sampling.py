"""Dynamic sampling in a whole run: rows of equal rewards ask another prompt, or it is refused."""

from __future__ import annotations

import json

import pytest

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.examples.schedule import rows_of_step
from oneshot_rlvr.records import Run
from oneshot_rlvr.selection.sources import from_run

COLUMNS = ("row", "example_id", "tokens", "correct", "reward", "advantage")
HARD, EASY = "zzz", "a"


@pytest.fixture
def recipe(small_recipe) -> Recipe:
    """Two examples that the model answers now and then, and one that it never does."""
    items = [
        {"id": name, "question": f"Say {name}.", "answer": name, "verifier": "exact_match",
         "extraction": "lenient"}
        for name in (EASY, HARD, "b")
    ]  # fmt: skip
    changes = {"examples.items": items, "rollouts.prompts_per_step": 3, "evaluation.test": None}
    return small_recipe({**changes, "evaluation.validation": None, "algorithm.name": "dapo"})


def test_one_prompt_is_refused_before_anything_is_written(small_recipe, tmp_path):
    with pytest.raises(ConfigError, match=r"has only one. Set algorithm\.dynamic_sampling=false"):
        run(small_recipe({"algorithm.name": "dapo"}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    alone = small_recipe({"algorithm.name": "dapo", "algorithm.dynamic_sampling": False})
    assert run(alone, out=tmp_path / "run").summary["step"] == 4


def test_rows_of_equal_rewards_are_asked_with_another_prompt(recipe, tmp_path):
    run(recipe, out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    replaced = 0
    for line in lines:
        table = Run(tmp_path / "run").rollout_table(line["step"], [*COLUMNS, "sampling", "learned"])
        every = table.to_pandas()
        rows = every[every["learned"]]
        assert len(rows) == 3 * 8
        assert_all_is_recorded(line, every)
        planned = [("a", HARD, "b")[e] for e in rows_of_step(3, 3, line["step"], 0)]
        asked = rows.groupby("row")["example_id"].first().tolist()
        moved = [one != other for one, other in zip(planned, asked, strict=True)]
        replaced += sum(moved)
        assert line["train/resampled_rows"] >= sum(moved)
        assert (line["train/discarded_tokens"] > 0) == (line["train/resampled_rows"] > 0)
        assert moved[planned.index(HARD)]  # it is never solved, so another took its place
    assert replaced >= len(lines)


def assert_all_is_recorded(line, every) -> None:
    """Accuracy is of first answers, tokens are of all, and what was replaced has no advantage."""
    first, replaced = every[every["sampling"] == 1], every[~every["learned"]]
    assert len(first) == 3 * 8
    assert line["train/accuracy"] == first["correct"].mean()
    assert line["train/tokens"] == every["tokens"].map(len).sum()
    assert line["train/discarded_tokens"] == replaced["tokens"].map(len).sum()
    assert not replaced["advantage"].any()
    assert (replaced.groupby(["row", "sampling"])["reward"].nunique() == 1).all()


def test_histories_have_the_visits_that_were_replaced(recipe, tmp_path):
    run(recipe, out=tmp_path / "run")
    history = from_run(Run(tmp_path / "run"))
    hard = history.ids.index(HARD)
    assert history.visits_E[hard] == 4  # at every step, and never solved
    assert history.never_solved_E()[hard]


def test_what_took_a_place_is_the_same_after_a_resume(recipe, tmp_path, watcher):
    run(recipe, out=tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, out=tmp_path / "run", progress=watcher(after=3))
    run(recipe, out=tmp_path / "run", resume=True)
    one, other = (tmp_path / name for name in ("straight", "run"))
    for name in ("metrics.jsonl", "final/model.safetensors", "rollouts/step-000004.parquet"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
