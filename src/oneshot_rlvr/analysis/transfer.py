"""Cross-domain transfer: trained on x, tested on y, from one run or many.

One row a run and tested part (a domain, or a family), the change paired by question; and the matrix
of their means. Several runs trained on the same x give an interval over runs, one alone its own
over questions. Columns in, columns out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from oneshot_rlvr.analysis.comparison import Comparison
from oneshot_rlvr.estimators import mean_interval

CHANGE_COLUMNS = (
    "run", "trained_on", "tested_on", "before", "after", "change", "low", "high", "questions",
)  # fmt: skip
CELL_COLUMNS = ("trained_on", "tested_on", "change", "low", "high", "runs")
OVERALL = "all"
NAMED_KEYS = 2
"""Of the keys in which recipes differ, those that a training is named by."""


def trained_on(examples: Iterable[Mapping[str, Any]], by: str = "domain") -> str:
    """What a run was trained on: the domains (or families) of its examples, joined by +."""
    names = sorted({str(example.get(by) or "unnamed") for example in examples})
    return "+".join(names) if names else "unnamed"


def changes(run: str, trained: str, comparison: Comparison, by: str = "domain") -> pd.DataFrame:
    """One row a tested part of one run, the last of them over all questions."""
    parts = comparison.domains if by == "domain" else comparison.families
    rows = []
    for change in [*parts, comparison.overall]:
        name = OVERALL if change is comparison.overall else change.name
        difference = change.difference
        rows.append(
            {
                "run": run,
                "trained_on": trained,
                "tested_on": name,
                "before": math.nan if change.before is None else change.before.value,
                "after": math.nan if change.after is None else change.after.value,
                "change": math.nan if difference is None else difference.value,
                "low": math.nan if difference is None else difference.low,
                "high": math.nan if difference is None else difference.high,
                "questions": 0 if difference is None else difference.n,
            }
        )
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))


def told_apart(found: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The changes with runs of different recipes as trainings of their own.

    settings: run -> its dotted recipe keys (those that make no other arm left out). Runs that were
    trained on the same and differ in a key are named with it: an outcome run and its control under
    a random reward are no two seeds of one thing.
    """
    trained = dict(zip(found["run"], found["trained_on"], strict=True))
    names = {}
    for what in dict.fromkeys(trained.values()):
        runs = [run for run, on in trained.items() if on == what]
        keys = list(dict.fromkeys(key for run in runs for key in settings.get(run, {})))
        differ = [
            key for key in keys if len({repr(settings.get(run, {}).get(key)) for run in runs}) > 1
        ]
        for run in runs:
            words = [f"{key} = {settings.get(run, {}).get(key)}" for key in differ[:NAMED_KEYS]]
            more = [f"and {len(differ) - NAMED_KEYS} more"] if len(differ) > NAMED_KEYS else []
            names[run] = f"{what} ({', '.join(words + more)})" if differ else what
    return found.assign(trained_on=found["run"].map(names))


def cells(found: pd.DataFrame) -> pd.DataFrame:
    """Trained on x, tested on y: the mean change over runs. Rows without a change are left out.

    The interval over runs is cut to -1 and 1: a difference of two shares is never outside, though
    two runs alone would let Student's t reach beyond.
    """
    rows: list[dict[str, object]] = []
    measured = found.dropna(subset=["change"])
    for (x, y), group in measured.groupby(["trained_on", "tested_on"], sort=False):
        if len(group) == 1:
            low, high = float(group["low"].iloc[0]), float(group["high"].iloc[0])
        else:
            interval = mean_interval(group["change"].to_numpy())
            low, high = max(interval.low, -1.0), min(interval.high, 1.0)  # of shares
        rows.append(
            {
                "trained_on": x,
                "tested_on": y,
                "change": float(group["change"].mean()),
                "low": low,
                "high": high,
                "runs": len(group),
            }
        )
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS))


def matrix(found: pd.DataFrame) -> pd.DataFrame:
    """The cells' changes as a matrix: a row a training, a column a test, "all" last."""
    wide = cells(found).pivot(index="trained_on", columns="tested_on", values="change")
    tested = [name for name in found["tested_on"].unique() if name in wide.columns]
    last = [OVERALL] if OVERALL in tested else []
    return wide[[*(name for name in tested if name != OVERALL), *last]]
