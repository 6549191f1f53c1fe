"""What runs recorded -> arrays (seeds, questions), with the questions that they are of.

Reads answers, validations and metrics; computes shares of answers a question, no interval.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from oneshot_rlvr.analysis.saturation import saturation_step
from oneshot_rlvr.errors import DataError, RunError
from oneshot_rlvr.estimators import pass_at_k_per_question
from oneshot_rlvr.evaluation.store import read_samples
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.summary import rechecks
from oneshot_rlvr.study.file import StudyFile
from oneshot_rlvr.study.spec import ALIGNED_BASE, BASE, OVER_TIME, OWN_BASE, is_of
from oneshot_rlvr.study.statistics import FloatArray
from oneshot_rlvr.study.tasks import RUN, Answers, Task

IMPROVES = ("accuracy", "strict", "lenient", "score")
"""Statistics of which more is better, so that the base's strongest way is known."""

_MEANT = {ALIGNED_BASE: "format_only", OWN_BASE: BASE}
"""Whose runs stand behind a name."""

_COLUMNS = ("example_id", "group", "domain", "family", "answer", "correct", "strict", "lenient",
            "score", "boxed", "finished")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Values:
    """One statistic of one arm: an entry is a question's mean over its K `answers`.

    `seeds`: those of the rows; empty for the base and other arms without training, which have one
    row. `way`: how the base was asked.
    """

    values_S_Q: FloatArray
    questions: tuple[str, ...]
    seeds: tuple[int, ...]
    answers: int
    way: str = ""


@dataclass(slots=True)
class Gathered:
    """All tasks of a study: those that are done are read when they are asked for."""

    file: StudyFile
    tasks: Sequence[Task]
    _all_done: list[Task] = field(init=False)
    _frames: dict[Path, pd.DataFrame] = field(default_factory=dict)
    _values: dict[Any, Values] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._all_done = [task for task in self.tasks if task.done]

    def arm_tasks(self, arm: str) -> list[Task]:
        """Those of an arm that are done, by seed."""
        return [task for task in self._all_done if task.arm == arm]

    def not_done(self, arm: str) -> tuple[int, int]:
        """How many runs of an arm (1 of the base) are not done, and of how many."""
        name = _MEANT.get(arm, arm)
        total = sum(task.arm == name for task in self.tasks)
        return total - len(self.arm_tasks(name)), total

    def values(
        self,
        arm: str,
        benchmark: str,
        statistic: str,
        only: Mapping[Any, str] | None = None,
        *,
        own_way: bool = False,
    ) -> Values:
        """One statistic of an arm, of the base or of the aligned base; of the base in its strongest
        way, or with `own_way` in the benchmark's own, as the arms are asked.

        RunError where no run of it is done; DataError where its runs answered different questions,
        or none is left.
        """
        own_way = arm == OWN_BASE or (own_way and arm == BASE)
        key = (arm, benchmark, statistic, tuple(sorted((only or {}).items())), own_way)
        if key not in self._values:
            asked = benchmark, statistic, only or {}
            if arm in (BASE, OWN_BASE):
                self._values[key] = self._base(*asked, own_way)
            else:
                self._values[key] = self._arm(_MEANT.get(arm, arm), *asked)
        return self._values[key]

    def _arm(self, arm: str, benchmark: str, statistic: str, only: Mapping[Any, str]) -> Values:
        rows: list[FloatArray] = []
        seeds: list[int | None] = []
        ids: tuple[str, ...] | None = None
        answers = 0
        for task in self._done(arm):
            if statistic in OVER_TIME:
                found = _over_time(Run(task.folder / RUN), statistic)
                if found is None:  # never saturated
                    continue
                frame_ids, row, count = found
            else:
                (one,) = (a for a in task.answers if a.benchmark == benchmark)
                frame_ids, row, count = self._row(one, statistic, only)
            if ids is not None and frame_ids != ids:
                raise DataError(
                    f"{arm}, {benchmark}: its seeds answered different questions; they cannot be "
                    "compared. Start another study with --new."
                )
            ids, answers = frame_ids, count if not rows else min(answers, count)
            rows.append(row)
            seeds.append(task.seed)
        if not rows or ids is None:
            raise RunError(f"no seed of {arm} has {statistic}: none saturated.")
        kept = tuple(seed for seed in seeds if seed is not None)
        return Values(np.stack(rows), ids, kept, answers)

    def _base(
        self, benchmark: str, statistic: str, only: Mapping[Any, str], own_way: bool
    ) -> Values:
        """Of what is better when it is more, the strongest way; else the benchmark's own."""
        best: Values | None = None
        ways = self.base_ways(benchmark)
        for one in ways[:1] if own_way else ways:
            most = re.fullmatch(r"pass@(\d+)", statistic)
            if most and int(most[1]) > one.config.samples:
                continue
            ids, row, count = self._row(one, statistic, only)
            found = Values(row[None, :], ids, (), count, one.way)
            better = statistic in IMPROVES or bool(most)
            if best is None or (better and found.values_S_Q.mean() > best.values_S_Q.mean()):
                best = found
        assert best is not None
        return best

    def base_ways(self, benchmark: str) -> list[Answers]:
        """How the base was asked, the benchmark's own way first."""
        return [
            one for task in self._done(BASE) for one in task.answers if one.benchmark == benchmark
        ]

    def way_accuracy(self, one: Answers) -> Values:
        """The base's accuracy in one way."""
        ids, row, count = self._row(one, "accuracy", {})
        return Values(row[None, :], ids, (), count, one.way)

    def _done(self, arm: str) -> list[Task]:
        done = self.arm_tasks(arm)
        if not done:
            raise RunError(f"no run of {arm} is done.")
        return done

    def _row(
        self, one: Answers, statistic: str, only: Mapping[Any, str]
    ) -> tuple[tuple[str, ...], FloatArray, int]:
        frame = self._frame(one.file)
        for column, value in only.items():
            frame = frame[[is_of(str(found), value) for found in frame[column]]]
            if frame.empty:
                raise DataError(f"{one.benchmark} has no question of {column} {value!r}.")
        return _by_question(frame, statistic)

    def _frame(self, file: Path) -> pd.DataFrame:
        if file not in self._frames:
            rows = read_samples(file)
            frame = pd.DataFrame({name: [row.get(name) for row in rows] for name in _COLUMNS})
            frame["recheck"] = [rechecks(row["text"]) for row in rows]
            frame["truncated"] = ~frame["finished"].astype(bool)
            frame["tokens"] = [row.get("tokens") or 0 for row in rows]
            self._frames[file] = frame
        return self._frames[file]


def _by_question(frame: pd.DataFrame, statistic: str) -> tuple[tuple[str, ...], FloatArray, int]:
    """Question ids with golds, one value each, and the fewest answers."""
    groups = frame.groupby("example_id", sort=True)
    match = re.fullmatch(r"pass@(\d+)", statistic)
    counts = groups.size()
    golds = groups["answer"].first()
    ids = tuple(f"{name} = {golds[name]}" for name in counts.index)
    if match is not None:
        rights = groups["correct"].sum()
        least = int(counts.min())
        matrix = np.zeros((len(counts), least))
        for number, name in enumerate(counts.index):
            # The unbiased estimate needs the number of right answers only; all have K.
            matrix[number, : int(rights[name])] = 1
        return ids, pass_at_k_per_question(matrix, int(match[1])), least
    column = {"accuracy": "correct"}.get(statistic, statistic)
    values = frame[column]
    if values.isna().any():
        raise DataError(f"these answers have no {statistic}: they are read in one way only.")
    means = values.astype(float).groupby(frame["example_id"]).mean()
    return ids, means.loc[counts.index].to_numpy(dtype=float), int(counts.min())


def _over_time(run: Run, statistic: str) -> tuple[tuple[str, ...], FloatArray, int] | None:
    """Change of held-out accuracy, by question: after saturation, or after the best checkpoint.

    post_saturation: at the end minus at the first validation after saturation; None without one.
    over_fitting: at the end minus at the best validation, where the best is chosen on the other
    half of the questions: chosen on the same ones, it would flatter itself.
    """
    steps = sorted(step for name, step in run.evaluations() if name == "validation")
    if not steps:
        raise RunError(f"{run.directory} has no validations, of which {statistic} is made.")
    frames = {step: _by_question(run.samples("validation", step), "accuracy") for step in steps}
    ids, last, answers = frames[steps[-1]]
    if statistic == "post_saturation":
        metrics = run.metrics()
        pairs = zip(metrics["step"], metrics["train/accuracy"], strict=True)
        saturated = saturation_step([(int(s), float(a)) for s, a in pairs if s > 0])
        later = [step for step in steps if saturated is not None and step >= saturated]
        return (ids, last - frames[later[0]][1], answers) if later else None
    half = np.arange(len(ids)) % 2 == 0
    changes = np.empty(len(ids))
    for choose, measure in ((half, ~half), (~half, half)):
        best = max(steps, key=lambda step: frames[step][1][choose].mean())
        changes[measure] = (last - frames[best][1])[measure]
    return ids, changes, answers


def both_sides(one: Values, other: Values) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Two arms with the seeds that both have, in the same order; DataError for other questions."""
    if one.questions != other.questions:
        raise DataError(
            f"{len(one.questions)} and {len(other.questions)} questions that are not the same "
            "cannot be compared. Start another study with --new."
        )
    if not one.seeds or not other.seeds:
        return one.values_S_Q, other.values_S_Q, one.seeds or other.seeds
    shared = tuple(seed for seed in one.seeds if seed in other.seeds)
    if not shared:
        raise DataError("the arms have no seed in common.")
    rows = [[side.seeds.index(seed) for seed in shared] for side in (one, other)]
    return one.values_S_Q[rows[0]], other.values_S_Q[rows[1]], shared
