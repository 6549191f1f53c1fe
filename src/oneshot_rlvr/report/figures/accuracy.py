"""Training accuracy against held-out accuracy over steps: the picture of 1-shot RLVR.

Training accuracy is the exact share of right rollouts on the training example; held-out accuracy
is avg@K on the validation set. What is gained on held-out questions after the training example is
solved is shaded: post-saturation generalization. After arXiv 2504.20571, figure 2.
A run without validations shows what its test set said before and after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures.style import (
    HELD_OUT,
    TRAINING,
    column,
    legend,
    lines,
    row,
    seeds_told,
    series,
)
from oneshot_rlvr.report.words import interval, percent

_Y = "right answers (%)"


def draw(runs: Runs) -> alt.LayerChart | None:
    """The chart, with a rule where training accuracy has been 95% for 5 steps."""
    rows = _alone(runs.alone) if runs.alone is not None else _several(runs)
    held_out = any(_held_out(run) for run in runs.runs)
    description = "The share of right answers on the training example, over every rollout of a step"
    description += ", and on held-out questions that the model is never trained on." * held_out
    description += "." * (not held_out)
    if held_out and not any(run.held_out() for run in runs.runs):
        description += " No validation is recorded: these were asked before and after only."
    if held_out and runs.alone is not None:
        description += " The band is a 95% interval over questions."
    description += seeds_told(runs)
    extra = []
    first = runs.first
    saturated = first.saturation_step() if len(runs.arms) == 1 and len(runs.runs) == 1 else None
    if saturated is not None:
        extra.append(_rule(saturated))
        description += (
            f" The dashed line marks step {saturated}, from where training accuracy had been at "
            "least 95% for 5 steps: what is learned after it, is learned from a solved problem."
        )
        since = [(step, part) for step, part in first.held_out() if step >= saturated]
        if len(since) > 1:
            extra.insert(0, _gain(since))
            description += " Shaded: the change of held-out accuracy since then."
    return lines(
        rows,
        title="Training and held-out accuracy" if held_out else "Training accuracy",
        description=description,
        y=_Y,
        percent=True,
        wide=True,
        extra=extra,
        colours=[arm.name for arm in runs.arms] if len(runs.arms) > 1 else None,
    )


def _alone(run: RunData) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {**row(step, TRAINING, value), "told": percent(value)}
        for step, value in run.training("train/accuracy")
    ]
    parts = {HELD_OUT: _held_out(run)}
    parts |= {f"{HELD_OUT}: {group}": run.held_out("groups", group) for group in run.groups()}
    for name, points in parts.items():
        for step, part in points:
            accuracy = Estimate.from_dict(part["accuracy"])
            told = f"{percent(accuracy.value)} (95% interval {interval(accuracy)})"
            # One band only: three that overlap hide the lines they belong to.
            bounds = {"low": accuracy.low, "high": accuracy.high} if name == HELD_OUT else {}
            rows.append({**row(step, name, accuracy.value, **bounds), "told": told})
    return rows


def _held_out(run: RunData) -> list[tuple[int, Mapping[str, Any]]]:
    """(step, part) of the validations; where there are none, of the test before and after."""
    found = run.held_out()
    tested = run.comparison
    if found or tested is None:
        return found
    sides = ((0, tested.before), (tested.step, tested.after))
    return [(at, side["overall"]) for at, side in sides if at is not None and side is not None]


def _several(runs: Runs) -> list[dict[str, object]]:
    """Seeds of one arm in the two colours of the sources; arms in theirs, training dashed."""
    sources = {
        TRAINING: lambda run: run.training("train/accuracy"),
        HELD_OUT: lambda run: [
            (step, float(part["accuracy"]["value"])) for step, part in _held_out(run)
        ],
    }
    rows: list[dict[str, object]] = []
    for source, read in sources.items():
        found = series(runs, source, read)
        if len(runs.arms) > 1:
            found = [{**item, "source": source} for item in found]
            for item in found:
                if "of" in item:
                    item["of"] = f"{item['of']} ({source})"
        rows += found
    return rows


def _rule(saturated: int) -> alt.Chart:
    return (
        alt.Chart(alt.InlineData(values=[{"step": saturated}]))
        .mark_rule(strokeDash=[4, 4], clip=True)
        .encode(x=alt.X(column("step"), title="rollout step"))
    )


def _gain(since: Sequence[tuple[int, Mapping[str, Any]]]) -> alt.Chart:
    """Between held-out accuracy at saturation, and what it became."""
    start = since[0][1]["accuracy"]["value"]
    rows = [
        {"step": step, "from": start, "to": part["accuracy"]["value"], "series": HELD_OUT}
        for step, part in since
    ]
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_area(opacity=0.3, clip=True)
        .encode(
            x=alt.X(column("step"), title="rollout step"),
            y=alt.Y(column("from"), title=_Y),
            y2=alt.Y2(column("to").partition(":")[0]),
            # The legend of the lines, in full colour: the layers share one.
            color=alt.Color(column("series", "N"), legend=legend()),
        )
    )
