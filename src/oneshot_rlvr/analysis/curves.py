"""Curves over steps: accuracy, entropy, length and the rest, one tidy row a step.

Joins what the trainer logged (exact over all rollouts) with what the texts say. Columns in, columns
out; a column that a run lacks is nan.
"""

from __future__ import annotations

import pandas as pd

# Column -> the metrics key it comes from.
LOGGED = {
    "accuracy": "train/accuracy",
    "reward": "train/reward",
    "entropy_nats": "train/entropy_nats",
    "tokens_mean": "train/tokens_mean",
    "truncated_share": "train/truncated_share",
    "boxed_share": "train/boxed_share",
    "kl": "train/kl",
    "tokens": "train/tokens",
}


def curves(metrics: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """metrics: a run's; steps: of `rollouts.read_rollouts`, or empty.

    Accuracy is the exact share of right rollouts where rollouts are recorded. Columns: step, those
    of LOGGED, characters_mean, gibberish_share, WORD_per_100 for every word.
    """
    found = pd.DataFrame({"step": metrics["step"]})
    for column, key in LOGGED.items():
        found[column] = metrics[key] if key in metrics else float("nan")
    if not len(steps):
        return found
    told = pd.DataFrame(
        {
            "step": steps["step"],
            "characters_mean": steps["characters"],
            "gibberish_share": steps["gibberish"]
            / steps["looked_at"].where(steps["looked_at"] > 0),
            **{
                f"{name.removeprefix('word:').replace(' ', '_')}_per_100": 100
                * steps[name]
                / steps["rollouts"]
                for name in steps.columns
                if name.startswith("word:")
            },
        }
    )
    exact = pd.Series(
        (steps["correct"] / steps["rollouts"]).to_numpy(), index=steps["step"].to_numpy()
    )
    joined = found.merge(told, on="step", how="outer").sort_values("step", ignore_index=True)
    recorded = joined["step"].map(exact)
    joined["accuracy"] = recorded.fillna(joined["accuracy"])
    return joined


def pairs(frame: pd.DataFrame, column: str) -> list[tuple[int, float]]:
    """(step, value) of a column where it is a number."""
    if column not in frame:
        return []
    kept = frame[["step", column]].dropna()
    return [(int(s), float(v)) for s, v in zip(kept["step"], kept[column], strict=True)]
