"""The table of metrics: what a step's rollouts say, and that the docs show the table as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oneshot_rlvr.train.metrics import METRICS, TIMINGS, checked, rollout_metrics, to_markdown
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict

DOCS = Path(__file__).parents[2] / "docs/metrics.md"


def graded(text: str, reason: Reason, reward: float, tokens: int, *, finished: bool) -> Graded:
    rollout = Rollout(0, 0, "e", (1,), (7,) * tokens, (0.0,) * tokens, text, finished)
    return Graded(rollout, Verdict(reason is Reason.CORRECT, reason), reward)


STEP = [
    graded(r"so \boxed{4}", Reason.CORRECT, 1.0, 3, finished=True),
    graded(r"wait, let me recheck: \boxed{5}", Reason.MISMATCH, 0.0, 6, finished=True),
    graded(r"it is \boxed{", Reason.NO_ANSWER, 0.0, 8, finished=False),
    graded("4, I think", Reason.NO_ANSWER, 0.5, 3, finished=True),
]


def test_a_steps_rollouts_by_hand():
    metrics = rollout_metrics(STEP)
    reasons = {key: value for key, value in metrics.items() if "/reason/" in key}
    assert {key: value for key, value in metrics.items() if key not in reasons} == {
        "train/accuracy": 0.25,
        "train/score": 0.25,
        "train/score_best": 1.0,
        "train/reward": 0.375,
        "train/boxed_share": 0.5,
        "train/recheck_share": 0.25,
        "train/truncated_share": 0.25,
        "train/tokens": 20.0,
        "train/tokens_mean": 5.0,
    }
    counted = {"correct": 0.25, "mismatch": 0.25, "no_answer": 0.5}
    assert {key.removeprefix("train/reason/"): v for key, v in reasons.items() if v} == counted


def test_every_reason_is_told_every_step():
    told = rollout_metrics(STEP[:1])
    assert [key for key in told if "/reason/" in key] == [f"train/reason/{r}" for r in Reason]


def test_what_a_steps_rollouts_say_is_declared():
    assert checked(rollout_metrics(STEP), METRICS) == rollout_metrics(STEP)


def test_a_metric_that_is_not_declared_is_refused():
    with pytest.raises(KeyError, match="train/acuracy is not declared"):
        checked({"train/accuracy": 1.0, "train/acuracy": 1.0}, METRICS)


def test_the_docs_show_the_table_as_it_is():
    command = [sys.executable, "-m", "oneshot_rlvr.train.metrics"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == to_markdown()
    assert DOCS.read_text(encoding="utf-8") == printed
    assert all(f"| `{key}` |" in printed for key in [*METRICS, *TIMINGS])


def test_no_cell_breaks_the_tables():
    for declared in (METRICS, TIMINGS):
        for key, cells in declared.items():
            assert all(cell and "|" not in cell and "\n" not in cell for cell in (key, *cells))
