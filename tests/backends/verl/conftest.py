"""What several tests of runs on verl ask."""

from __future__ import annotations

import pytest

from oneshot_rlvr.config import parse_recipe
from oneshot_rlvr.records import Run
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example, Rollout


@pytest.fixture(scope="session")
def same_rewards():
    """A check that a run's rewards are those of its recipe's arm and deductions, computed here from
    the recorded texts."""

    def check(run: Run) -> None:
        recipe = parse_recipe(run.info["recipe"])
        examples = {e["id"]: Example(**{**e, "messages": ()}) for e in run.info["examples"]}
        rollouts = run.rollouts().rename(columns={"index": "place"})
        assert len(rollouts)
        with Scorer(recipe.reward, seed=recipe.train.seed) as scorer:
            for step, rows in rollouts.groupby("step"):
                items = [
                    Rollout(
                        r.row, r.place, r.example_id, (), tuple(r.tokens), (), r.text, r.finished
                    )
                    for r in rows.itertuples(index=False)
                ]
                graded = scorer.score(items, examples, int(step))
                # verl keeps rewards in float32.
                wanted = pytest.approx([g.reward for g in graded], abs=1e-7)
                assert rows["reward"].tolist() == wanted

    return check
