"""`RunData`: everything the page and its figures read of one run, loaded once.

Pure data with a few look-ups. A piece that a run does not have (yet) is empty or None, never an
error: reports are made of unfinished runs too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from oneshot_rlvr.analysis.comparison import Comparison, compare
from oneshot_rlvr.analysis.saturation import after_saturation, saturation_step
from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.manifest import told
from oneshot_rlvr.report.reading import Reading, choose


@dataclass(frozen=True)
class RunData:
    """One run as columns. `summaries` maps (evaluation, step) to records.summary's shape."""

    info: Mapping[str, Any]
    status: str = "running"
    result: Mapping[str, Any] | None = None
    metrics: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"step": []}))
    timings: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"step": []}))
    summaries: Mapping[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)
    comparison: Comparison | None = None
    after_saturation: pd.DataFrame = field(default_factory=lambda: after_saturation(None, {}))
    readings: Sequence[Reading] = ()
    damage: Sequence[str] = ()
    """What is not as it was written, and is left out of all of the above."""

    @classmethod
    def load(cls, run: Run) -> RunData:
        """Read what is recorded so far."""
        metrics = run.metrics()
        readings = choose(run)
        return cls(
            info=run.info,
            status=run.status,
            result=run.result,
            metrics=metrics,
            timings=run.timings(),
            summaries={(name, step): run.summary(name, step) for name, step in run.evaluations()},
            comparison=compare(run),
            after_saturation=_after_saturation(run, metrics),
            readings=readings,
            damage=told(run.damage()),  # last: reading finds some
        )

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe; empty when it was not recorded."""
        recipe = self.info.get("recipe")
        return recipe if isinstance(recipe, Mapping) else {}

    @property
    def examples(self) -> list[Mapping[str, Any]]:
        """The training examples: id, question, answer, verifier, domain, family."""
        examples = self.info.get("examples")
        if isinstance(examples, Mapping):
            examples = [examples]
        return [item for item in examples or [] if isinstance(item, Mapping)]

    @property
    def steps_done(self) -> int:
        """The last step with metrics; 0 before the first."""
        return int(self.metrics["step"].max()) if len(self.metrics) else 0

    @property
    def steps_planned(self) -> int | None:
        """The recipe's number of steps."""
        steps = setting(self.recipe, "train.steps")
        return int(steps) if steps is not None else None

    def training(self, key: str) -> list[tuple[int, float]]:
        """(step, value) of one metric where it is recorded and finite."""
        return _finite_pairs(self.metrics, key)

    def held_out(self, *path: str) -> list[tuple[int, Mapping[str, Any]]]:
        """(step, part) of the validations: `overall` or a path such as ("groups", "math")."""
        parts = []
        for (name, step), summary in sorted(self.summaries.items()):
            part: Any = summary
            for key in path or ("overall",):
                part = part.get(key) if isinstance(part, Mapping) else None
            if name == "validation" and isinstance(part, Mapping):
                parts.append((step, part))
        return parts

    def groups(self) -> list[str]:
        """The groups that the validations tell apart ("math", "other"), if more than one."""
        names = {
            group
            for (name, _), summary in self.summaries.items()
            if name == "validation"
            for group in summary.get("groups", {})
        }
        return sorted(names) if len(names) > 1 else []

    def saturation_step(self) -> int | None:
        """The step at which training accuracy has been 95% for 5 steps; None before that."""
        return saturation_step(self.training("train/accuracy"))


def _finite_pairs(metrics: pd.DataFrame, key: str) -> list[tuple[int, float]]:
    if key not in metrics:
        return []
    columns = zip(metrics["step"], metrics[key], strict=True)
    return [(int(step), float(value)) for step, value in columns if _finite(value)]


def _after_saturation(run: Run, metrics: pd.DataFrame) -> pd.DataFrame:
    """The validations from saturation on (`analysis.saturation`); only their samples are read."""
    saturated = saturation_step(_finite_pairs(metrics, "train/accuracy"))
    samples = {}
    for name, step in run.evaluations():
        if name == "validation" and saturated is not None and step >= saturated:
            try:
                samples[step] = run.samples(name, step, ["example_id", "correct"])
            except RecordsError:
                continue  # the summary stands; only the paired change is left out
    return after_saturation(saturated, samples)


def setting(recipe: Mapping[str, Any], dotted: str) -> Any:
    """A recipe's value by its dotted key; None where it is not set."""
    value: Any = recipe
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
