"""What accuracy cost: against rollouts, generated tokens and examples; and pass@k.

Held-out accuracy while arms trained, from their validations; tokens with and without what it cost
to choose the examples. Records in, rows out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from oneshot_rlvr.errors import DataError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.summary import MOST_K
from oneshot_rlvr.study.claims import difference
from oneshot_rlvr.study.gather import Gathered
from oneshot_rlvr.study.spec import BASE
from oneshot_rlvr.study.statistics import spread
from oneshot_rlvr.study.tasks import RUN


def efficiency(gathered: Gathered) -> list[dict[str, Any]]:
    """A row an arm and validated step: accuracy with interval, rollouts and tokens up to there.

    `total_*` counts what choosing the arm's examples cost as well. Tokens are means over seeds.
    """
    over_seeds = gathered.file.study.intervals == "seeds and questions"
    rows = []
    for arm in gathered.file.arms.values():
        runs = [Run(task.folder / RUN) for task in gathered.arm_tasks(arm.name) if task.trains]
        steps = [{s for name, s in run.evaluations() if name == "validation"} for run in runs]
        for step in sorted(set.intersection(*steps)) if steps else []:
            frames = [run.samples("validation", step, ["example_id", "correct"]) for run in runs]
            shares = [f.groupby("example_id", sort=True)["correct"].mean() for f in frames]
            if len({tuple(share.index) for share in shares}) > 1:
                continue
            counts = min(int(f.groupby("example_id").size().min()) for f in frames)
            values = np.stack([share.to_numpy(dtype=float) for share in shares])
            told = spread(values, counts, over_seeds=over_seeds)
            rollouts = step * arm.recipe.derived()["rollouts_per_step"]
            tokens = float(np.mean([_tokens(run, step) for run in runs]))
            low, high = told.interval()
            rows.append(
                {
                    "arm": arm.name,
                    "step": step,
                    "value": told.value,
                    "low": low,
                    "high": high,
                    "rollouts": rollouts,
                    "tokens": tokens,
                    "total_rollouts": rollouts + arm.config.selection_rollouts,
                    "total_tokens": tokens + arm.config.selection_tokens,
                }
            )
    return rows


def _tokens(run: Run, step: int) -> float:
    metrics = run.metrics()
    if "train/tokens" not in metrics:
        return 0.0
    return float(metrics.loc[metrics["step"].between(1, step), "train/tokens"].sum())


def budgets(gathered: Gathered) -> list[dict[str, Any]]:
    """What each arm really took: examples, rollouts and tokens a run, and what it differs in."""
    rows = []
    for arm in gathered.file.arms.values():
        runs = [Run(task.folder / RUN) for task in gathered.arm_tasks(arm.name) if task.trains]
        steps = arm.recipe.train.steps
        rows.append(
            {
                "arm": arm.name,
                "examples": len(runs[0].info["examples"]) if runs else None,
                "rollouts": arm.recipe.derived()["rollouts_total"] if arm.trains else 0,
                "tokens": float(np.mean([_tokens(run, steps) for run in runs])) if runs else None,
                "selection_rollouts": arm.config.selection_rollouts,
                "selection_tokens": arm.config.selection_tokens,
                "differs": {key: list(values) for key, values in arm.differs.items()},
            }
        )
    return rows


def ks(samples: int) -> list[int]:
    """1, 2, 4 ... as far as there are answers, at most 256."""
    return [2**n for n in range(MOST_K.bit_length()) if 2**n <= min(samples, MOST_K)]


def pass_at_k(gathered: Gathered) -> Iterator[dict[str, Any]]:
    """Rows of base and arms for every benchmark of several answers a question; the base in the
    arms' own way, at every k the same: its strongest may be greedy, which has no k but 1."""
    study = gathered.file.study
    for benchmark, config in study.benchmarks.items():
        if config.samples < 2:
            continue
        for arm in (BASE, *study.arms):
            for k in ks(config.samples):
                try:
                    found = gathered.values(arm, benchmark, f"pass@{k}", own_way=True)
                except (RunError, DataError):
                    break
                over = study.intervals == "seeds and questions"
                told = difference(found, None, over_seeds=over)
                low, high = told.interval()
                yield {
                    "arm": arm, "benchmark": benchmark, "k": k, "value": told.value,
                    "low": low, "high": high, "way": found.way,
                }  # fmt: skip
