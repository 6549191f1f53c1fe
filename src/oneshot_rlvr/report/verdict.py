"""The page's first words: the headline of one run or several, and one sentence on what the numbers
allow and what they do not.

Decided by what was measured alone: whether intervals leave 0 out, whether there are seeds, whether
there is a control arm. Not here: how it was measured (`words`).
"""

from __future__ import annotations

import math

from oneshot_rlvr.report import words
from oneshot_rlvr.report.arms import Arm, Runs
from oneshot_rlvr.report.data import setting
from oneshot_rlvr.report.words import interval, percent, points


def headline(runs: Runs) -> str:
    """The page's first line."""
    if runs.alone is not None:
        return words.headline(runs.alone)
    evaluation = runs.evaluation
    measured = [(arm, arm.overall(evaluation)) for arm in runs.arms] if evaluation else []
    told = [
        (arm, change)
        for arm, change in measured
        if change is not None and change.before is not None and change.after is not None
    ]
    if not told:
        return f"{len(runs.runs)} runs, not measured before and after"
    if len(runs.arms) == 1:
        change = told[0][1]
        assert change.before is not None  # as picked above
        assert change.after is not None
        return (
            f"From {percent(change.before.value)} to {percent(change.after.value)} on "
            f"{_questions(evaluation)}, the mean of {len(runs.runs)} seeds"
        )
    first = told[0][1].before
    assert first is not None
    ends = [f"{percent(change.after.value)} ({arm.name})" for arm, change in told if change.after]
    return f"From {percent(first.value)} to {_joined(ends)} on {_questions(evaluation)}"


def lede(runs: Runs) -> str:
    """What was done, in a sentence."""
    if runs.alone is not None:
        return words.lede(runs.alone)
    arms = [
        f"{arm.name} ({arm.seeds} {'seed' if arm.seeds == 1 else 'seeds'})" for arm in runs.arms
    ]
    said = words.lede(runs.first)
    if len(runs.arms) == 1:
        return f"{said} {len(runs.runs)} runs of this recipe, which differ in their seed."
    return f"{said} The arms of this page: {_joined(arms)}."


def verdict(runs: Runs) -> str:
    """What the numbers allow to say, and what they do not; one sentence, two for several arms."""
    evaluation = runs.evaluation
    first = runs.arms[0]
    change = first.overall(evaluation) if evaluation else None
    if change is None or change.before is None or change.after is None:
        if any(words.test_to_come(run) for run in runs.runs):
            return (
                "These records do not say yet whether it helped: the questions of the test are "
                "asked when the run ends, of the model before training and after."
            )
        return (
            "These records do not say whether it helped: that needs the same held-out questions "
            "answered before and after training."
        )
    limits = _limits(runs, first, evaluation or "")
    if change.difference is None:
        return (
            "Before and after were not measured on the same questions, so the numbers show no "
            f"change{_but(limits)}."
        )
    if math.isnan(change.difference.low):
        return f"One question alone gives no interval, so the numbers show no change{_but(limits)}."
    over = "seeds" if first.seeds > 1 else "questions"
    bounds = f"95% interval {interval(change.difference, signed=True)} points, over {over}"
    if change.difference.low <= 0 <= change.difference.high:
        said = f"The interval of the difference includes 0 ({bounds}): no change is shown"
    else:
        way = "gain" if change.difference.value > 0 else "loss"
        whose = "" if len(runs.arms) == 1 else f" with {first.name}"
        said = (
            f"The numbers show a {way} of {points(abs(change.difference.value))[1:]} points{whose} "
            f"on {_questions(evaluation)} ({bounds})"
        )
    return f"{said}{_but(limits)}.{_arms_compared(runs, evaluation or '')}"


def _limits(runs: Runs, first: Arm, evaluation: str) -> list[str]:
    """What the numbers do not allow."""
    limits = []
    if first.seeds == 1:
        limits.append("how another seed would have gone (there is one run of it)")
    if not any(arm.control for arm in runs.arms) and len(runs.arms) == 1:
        limits.append("that the reward was what helped (there is no control arm)")
    if evaluation == "validation":
        limits.append("how it does on questions that were not watched while training (no test)")
    if first.control:
        limits.append(f"anything of an outcome reward (this is the control arm {first.control})")
    if setting(runs.first.recipe, "model.path") == "tiny":
        limits.append("what a real model would gain (model and questions were made together)")
    if any(run.status != "finished" for run in runs.runs):
        limits.append("where it ends (it is not finished)")
    return limits


def _but(limits: list[str]) -> str:
    return f"; they do not say {_joined(limits, 'or')}" if limits else ""


def _arms_compared(runs: Runs, evaluation: str) -> str:
    told = []
    for versus in runs.differences():
        if versus.evaluation != evaluation:
            continue
        bounds = interval(versus.difference, signed=True)
        if not bounds:
            told.append(f"from {versus.other} no interval can be given")
        elif versus.clear:
            told.append(
                f"from {versus.other} it differs by {points(versus.difference.value)} points "
                f"({bounds}, over {versus.over})"
            )
        else:
            told.append(
                f"a difference from {versus.other} is not shown, the interval includes 0 ({bounds},"
                f" over {versus.over})"
            )
    if not told:
        return (
            " The arms were not measured on the same questions and are not compared."
            if len(runs.arms) > 1
            else ""
        )
    text = "; ".join(told)
    controlled = any(arm.control for arm in runs.arms)
    unheld = "" if controlled else "; none of the arms is a control of the reward"
    return f" {runs.arms[0].name[0].upper()}{runs.arms[0].name[1:]}: {text}{unheld}."


def _questions(evaluation: str | None) -> str:
    if evaluation == "test":
        return "held\N{NON-BREAKING HYPHEN}out questions"
    return f"{evaluation} questions"


def _joined(items: list[str], last: str = "and") -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"
