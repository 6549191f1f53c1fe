"""`RunData`: everything the page and its figures read of one run, loaded once.

Pure data with a few look-ups. A piece that a run does not have (yet) is empty or None, never an
error: reports are made of unfinished and of damaged runs too. Not here: single rollouts and answers
(`report.reader`), several runs (`arms`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from oneshot_rlvr.analysis import formats, reflection
from oneshot_rlvr.analysis.comparison import Comparison, compare_each
from oneshot_rlvr.analysis.saturation import after_saturation, saturation_step
from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.manifest import told

if TYPE_CHECKING:
    from oneshot_rlvr.selection import History

CONTEXT_STEPS = 24
"""Steps, evenly spaced, whose rollouts are searched for words of self-reflection in context."""


@dataclass(frozen=True)
class RunData:
    """One run as columns. `summaries` maps (evaluation, step) to records.summary's shape."""

    info: Mapping[str, Any]
    status: str = "running"
    result: Mapping[str, Any] | None = None
    metrics: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"step": []}))
    timings: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"step": []}))
    summaries: Mapping[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()
    """One an evaluation; the first is the one that the page is about."""
    shares: Mapping[str, pd.Series] = field(default_factory=dict)
    """Evaluation -> share of right answers after training, by question."""
    after_saturation: pd.DataFrame = field(default_factory=lambda: after_saturation(None, {}))
    format_gain: pd.DataFrame = field(default_factory=pd.DataFrame)
    contexts: pd.DataFrame = field(default_factory=pd.DataFrame)
    rollout_steps: Sequence[int] = ()
    pool: History | None = None
    """How often each example of the pool was solved, where it is known."""
    damage: Sequence[str] = ()
    """What is not as it was written, and is left out of all of the above."""
    directory: Path | None = None
    label: str = "run"

    @classmethod
    def load(cls, run: Run, *, label: str = "", pool: History | None = None) -> RunData:
        """Read what is recorded so far."""
        metrics = run.metrics()
        comparisons = compare_each(run)
        steps = run.rollout_steps()
        return cls(
            info=run.info,
            status=run.status,
            result=run.result,
            metrics=metrics,
            timings=run.timings(),
            summaries={(name, step): run.summary(name, step) for name, step in run.evaluations()},
            comparisons=comparisons,
            shares=_shares(run, comparisons),
            after_saturation=_after_saturation(run, metrics),
            format_gain=_format_gain(run, comparisons),
            contexts=_contexts(run, steps),
            rollout_steps=steps,
            pool=pool,
            damage=told(run.damage()),  # last: reading finds some
            directory=run.directory,
            label=label or run.directory.name or "run",
        )

    @property
    def comparison(self) -> Comparison | None:
        """The comparison that the run supports best; None when nothing held out is recorded."""
        return self.comparisons[0] if self.comparisons else None

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe; empty when it was not recorded."""
        recipe = self.info.get("recipe")
        return recipe if isinstance(recipe, Mapping) else {}

    @property
    def seed(self) -> int | None:
        """The training seed, where the recipe tells one."""
        seed = setting(self.recipe, "train.seed")
        return seed if isinstance(seed, int) else None

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


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items with even gaps, first and last among them; all where there are fewer."""
    if len(items) <= count:
        return list(items)
    if count <= 1:
        return list(items[:count])
    places = [round(i * (len(items) - 1) / (count - 1)) for i in range(count)]
    return [items[place] for place in dict.fromkeys(places)]


def _finite_pairs(metrics: pd.DataFrame, key: str) -> list[tuple[int, float]]:
    if key not in metrics:
        return []
    columns = zip(metrics["step"], metrics[key], strict=True)
    return [(int(step), float(value)) for step, value in columns if _finite(value)]


def _shares(run: Run, comparisons: Sequence[Comparison]) -> dict[str, pd.Series]:
    found = {}
    for comparison in comparisons:
        if comparison.step is not None:
            samples = _samples(run, comparison.name, comparison.step, ["example_id", "correct"])
            if samples is not None:
                found[comparison.name] = samples.groupby("example_id")["correct"].mean()
    return found


def _after_saturation(run: Run, metrics: pd.DataFrame) -> pd.DataFrame:
    """The validations from saturation on (`analysis.saturation`); only their samples are read."""
    saturated = saturation_step(_finite_pairs(metrics, "train/accuracy"))
    samples = {}
    for name, step in run.evaluations():
        if name == "validation" and saturated is not None and step >= saturated:
            read = _samples(run, name, step, ["example_id", "correct"])
            if read is not None:  # else the summary stands; only the paired change is left out
                samples[step] = read
    return after_saturation(saturated, samples)


def _format_gain(run: Run, comparisons: Sequence[Comparison]) -> pd.DataFrame:
    first = comparisons[0] if comparisons else None
    if first is None or not first.complete or first.step is None:
        return pd.DataFrame(columns=list(formats.FORMAT_COLUMNS))
    columns = ["example_id", "correct", "boxed"]
    sides = []
    for step in (0, first.step):
        read = _samples(run, first.name, step, [*columns, "strict", "lenient"])
        if read is None:  # written before samples held both readings
            read = _samples(run, first.name, step, columns)
        if read is None:
            return pd.DataFrame(columns=list(formats.FORMAT_COLUMNS))
        sides.append(read)
    return formats.format_gain(*sides)


def _samples(run: Run, name: str, step: int, columns: list[str]) -> pd.DataFrame | None:
    try:
        return run.samples(name, step, columns)
    except RecordsError:
        return None


def _contexts(run: Run, steps: Sequence[int]) -> pd.DataFrame:
    """Where words of self-reflection stood: of evenly spaced steps, however long the run is."""
    found: list[dict[str, object]] = []
    for step in evenly(steps, CONTEXT_STEPS):
        table = run.rollout_table_if_whole(step, ["text"])
        if table is not None:
            found += reflection.count(step, table["text"], reflection.PATTERNS)[1]
    return reflection.spread(pd.DataFrame(found, columns=list(reflection.CONTEXT_COLUMNS)))


def setting(recipe: Mapping[str, Any], dotted: str) -> Any:
    """A recipe's value by its dotted key; None where it is not set."""
    value: Any = recipe
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
