"""`Runs`: the runs of a page, those of one recipe together as the seeds of an arm.

An arm's numbers are its run's own where it has one (intervals over questions), else means over its
seeds with intervals over seeds (`estimators.seeds_interval`, Student t). Arms differ by Welch's t
over seeds where both have two seeds, else paired by question. Not here: files, sentences, figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from oneshot_rlvr.analysis.comparison import Change
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.estimators import (
    Estimate,
    mean_interval,
    paired_interval,
    seeds_interval,
    welch_difference,
)
from oneshot_rlvr.report.data import RunData, setting
from oneshot_rlvr.settings import flat

# Keys that name or watch a run, and no part of what is done.
_NOT_THE_RECIPE = ("name", "note", "tracking", "train.seed", "train.threads", "study")
KINDS = ("groups", "domains", "families")


@dataclass(frozen=True)
class Arm:
    """Runs of one recipe. `name`: what tells it from the other arms of the page."""

    name: str
    runs: tuple[RunData, ...]

    @property
    def seeds(self) -> int:
        """How many runs it has."""
        return len(self.runs)

    @property
    def control(self) -> str:
        """The reward arm where it is no outcome reward; else empty."""
        arm = setting(self.runs[0].recipe, "reward.arm")
        return "" if arm in (None, "outcome") else str(arm)

    def overall(self, evaluation: str) -> Change | None:
        """Before, after and their difference on one evaluation; None where it is not recorded."""
        found = [
            (comparison.overall, _answers(comparison.after or comparison.before))
            for run in self.runs
            for comparison in run.comparisons
            if comparison.name == evaluation
        ]
        return _pooled("all", found) if found else None

    def parts(self, evaluation: str, kind: str) -> list[Change]:
        """The same for every part of a kind: groups, domains, families."""
        found: dict[str, list[tuple[Change, int]]] = {}
        for run in self.runs:
            for comparison in run.comparisons:
                if comparison.name == evaluation:
                    for change in getattr(comparison, kind):
                        summary = comparison.after or comparison.before or {}
                        part = {"overall": summary.get(kind, {}).get(change.name, {})}
                        found.setdefault(change.name, []).append((change, _answers(part)))
        return [_pooled(name, found[name]) for name in sorted(found)]


@dataclass(frozen=True, slots=True)
class Versus:
    """How much further one arm came than another on an evaluation, and over what `n` counts."""

    arm: str
    other: str
    evaluation: str
    difference: Estimate
    over: str

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out; False where there is none."""
        return not math.isnan(self.difference.low) and not (
            self.difference.low <= 0 <= self.difference.high
        )


@dataclass(frozen=True)
class Runs:
    """What a page is about: one run, or several that are grouped into arms."""

    runs: tuple[RunData, ...]

    @classmethod
    def of(cls, *runs: RunData) -> Runs:
        """ConfigError for no run."""
        if not runs:
            raise ConfigError("no run is given; name at least one run's directory")
        return cls(tuple(runs))

    @property
    def first(self) -> RunData:
        """The run that stands for all where they are alike."""
        return self.runs[0]

    @property
    def alone(self) -> RunData | None:
        """The run, where there is but one."""
        return self.runs[0] if len(self.runs) == 1 else None

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Runs by recipe, in the order in which they were named."""
        groups: dict[str, list[RunData]] = {}
        for run in self.runs:
            groups.setdefault(_identity(run), []).append(run)
        members = list(groups.values())
        names = _names([group[0] for group in members])
        return tuple(Arm(n, tuple(group)) for n, group in zip(names, members, strict=True))

    @property
    def evaluation(self) -> str | None:
        """The evaluation that the page is about: the one with the most complete runs."""
        return self.evaluations[0] if self.evaluations else None

    @cached_property
    def evaluations(self) -> list[str]:
        """Every evaluation that is recorded, the page's own first."""
        known: dict[str, int] = {}
        for run in self.runs:
            for place, comparison in enumerate(run.comparisons):
                weight = 2 * comparison.complete + (place == 0)
                known[comparison.name] = known.get(comparison.name, 0) + weight
        return sorted(known, key=lambda name: -known[name])

    def differences(self) -> list[Versus]:
        """Every further arm against the first, on every evaluation that both were measured on."""
        found = []
        for evaluation in self.evaluations:
            for other in self.arms[1:]:
                versus = _versus(self.arms[0], other, evaluation)
                if versus is not None:
                    found.append(versus)
        return found


def _identity(run: RunData) -> str:
    if not run.recipe:
        return f"{run.label} {id(run)}"
    told = flat({k: v for k, v in run.recipe.items() if k not in _NOT_THE_RECIPE})
    kept = {key: value for key, value in told.items() if key not in _NOT_THE_RECIPE}
    return json.dumps(kept, sort_keys=True, default=str)


def _names(runs: Sequence[RunData]) -> list[str]:
    """What tells recipes apart: a control's reward, else the keys that differ, else their names."""
    if len(runs) == 1:
        return [str(setting(runs[0].recipe, "name") or runs[0].label)]
    recipes = [flat(run.recipe) for run in runs]
    keys = list(dict.fromkeys(key for recipe in recipes for key in recipe))
    differ = [
        key
        for key in keys
        if key not in _NOT_THE_RECIPE
        and not key.startswith("tracking.")
        and len({json.dumps(recipe.get(key), default=str) for recipe in recipes}) > 1
    ]
    names = []
    for run, recipe in zip(runs, recipes, strict=True):
        told = [f"{_leaf(key)} {_short(recipe.get(key))}" for key in differ[:2]]
        if differ == ["reward.arm"]:
            told = [f"{recipe.get('reward.arm')} reward"]
        names.append(", ".join(told) or str(recipe.get("name") or run.label))
    if len(set(names)) < len(names) or any(len(name) > 60 for name in names):
        own = [str(recipe.get("name") or "") for recipe in recipes]
        names = own if all(own) and len(set(own)) == len(own) else [run.label for run in runs]
    return names


def _leaf(key: str) -> str:
    """The last word of a key that says what it is: algorithm.name is the algorithm."""
    return key.removesuffix(".name").rpartition(".")[2]


def _short(value: Any) -> str:
    if isinstance(value, list):
        ids = [item.get("id") for item in value if isinstance(item, Mapping)]
        return ", ".join(map(str, ids)) if ids and all(ids) else f"{len(value)} items"
    return "none" if value is None else str(value)


def _answers(summary: Mapping[str, Any] | None) -> int:
    overall = (summary or {}).get("overall", {})
    return max(1, int(overall.get("samples") or 1))


def _pooled(name: str, found: Sequence[tuple[Change, int]]) -> Change:
    changes = [change for change, _ in found]
    answers = min(count for _, count in found)
    differences = [c.difference for c in changes if c.difference is not None]
    if len(differences) > 1:
        difference: Estimate | None = _over_seeds(differences)
    else:
        difference = differences[0] if differences else None
    return Change(
        name,
        _share([c.before for c in changes], answers),
        _share([c.after for c in changes], answers),
        difference,
    )


def _over_seeds(differences: Sequence[Estimate]) -> Estimate:
    """The mean difference of seeds with Student's t over them, and never narrower than their own
    intervals over questions are on average: two seeds of a few questions agree by chance, and t
    alone would then be sure of their difference to the last digit."""
    found = mean_interval([each.value for each in differences])
    known = [each for each in differences if not math.isnan(each.low)]
    if math.isnan(found.low) or not known:
        return found
    below = sum(each.value - each.low for each in known) / len(known)
    above = sum(each.high - each.value for each in known) / len(known)
    low, high = min(found.low, found.value - below), max(found.high, found.value + above)
    return Estimate(found.value, max(-1.0, low), min(1.0, high), found.n)


def _share(estimates: Sequence[Estimate | None], answers: int) -> Estimate | None:
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return None
    # Seeds share their base model: the same answers, not as many measurements.
    if all(estimate.value == known[0].value for estimate in known):
        return known[0]
    return seeds_interval([estimate.value for estimate in known], answers)


def _versus(arm: Arm, other: Arm, evaluation: str) -> Versus | None:
    sides = [
        [run.shares[evaluation] for run in side.runs if evaluation in run.shares]
        for side in (arm, other)
    ]
    if not all(sides):
        return None
    if min(len(side) for side in sides) > 1:
        means = [[float(shares.mean()) for shares in side] for side in sides]
        found = welch_difference(means[1], means[0])
        estimate = Estimate(found.value, found.low, found.high, found.n)
        return Versus(arm.name, other.name, evaluation, estimate, "seeds")
    questions = sides[0][0].index
    if any(set(shares.index) != set(questions) for side in sides for shares in side):
        return None
    ours, theirs = (
        np.mean([shares.loc[questions].to_numpy(dtype=float) for shares in side], axis=0)
        for side in sides
    )
    samples = min(_per_question(run, evaluation) for run in (*arm.runs, *other.runs))
    return Versus(
        arm.name,
        other.name,
        evaluation,
        paired_interval(theirs, ours, samples=samples if len(questions) > 1 else None),
        "questions",
    )


def _per_question(run: RunData, evaluation: str) -> int:
    for comparison in run.comparisons:
        if comparison.name == evaluation and comparison.after is not None:
            return max(1, int(comparison.after.get("samples") or 1))
    return 1
