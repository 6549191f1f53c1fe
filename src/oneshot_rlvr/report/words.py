"""The page's sentences: the headline and what to keep in mind. Numbers in, plain English out.

Every sentence is decided by what the run recorded; nothing claims more than was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from oneshot_rlvr.analysis.comparison import Comparison
from oneshot_rlvr.analysis.signal import no_signal
from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.report.data import RunData, setting


def percent(share: float) -> str:
    """0.4123 -> "41.2%"."""
    return f"{100 * share:.1f}%"


def points(difference: float) -> str:
    """0.323 -> "+32.3", in percentage points, with a true minus sign."""
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """ "38.0 to 44.4", in per cent or points; empty where one unit gives no interval."""
    if math.isnan(estimate.low):
        return ""
    low, high = (
        points(bound) if signed else f"{100 * bound:.1f}" for bound in (estimate.low, estimate.high)
    )
    return f"{low} to {high}"


def model_name(run: RunData) -> str:
    """How the page calls the model."""
    model = run.info.get("model")
    name = model.get("name") if isinstance(model, Mapping) else model
    name = name or setting(run.recipe, "model.path") or "the model"
    return "the embedded tiny model" if name == "tiny" else str(name)


def number_of_examples(run: RunData) -> str:
    """ "one example", "3 examples"."""
    count = len(run.examples)
    if count == 0:
        return "its training examples"
    return "one example" if count == 1 else f"{count} examples"


def headline(run: RunData) -> str:
    """The page's first line: before, after, on how many examples."""
    comparison, examples = run.comparison, number_of_examples(run)
    if comparison is None or not comparison.complete:
        if run.steps_done == 0:
            return "Not a step trained yet" if run.status != "unknown" else "A damaged run"
        if comparison is not None and comparison.overall.before is not None:
            began = percent(comparison.overall.before.value)
            return f"{began} before training on {examples}, not yet measured after"
        if test_to_come(run):
            of = f" of {run.steps_planned:,}" if run.steps_planned else ""
            return f"Step {run.steps_done:,}{of} of training on {examples}, tested when it ends"
        return f"Trained on {examples}, not measured before and after"
    before, after = comparison.overall.before, comparison.overall.after
    assert before is not None  # complete
    assert after is not None
    down = "down " if after.value < before.value else ""
    questions = f"{comparison.name} questions"
    if comparison.name == "test":
        questions = "held\N{NON-BREAKING HYPHEN}out questions"
    return (
        f"From {percent(before.value)} {down}to {percent(after.value)} on {questions}, "
        f"trained on {examples}"
    )


def test_to_come(run: RunData) -> bool:
    """Whether the run has not ended, which is when its test set is asked, before and after."""
    tested = isinstance(setting(run.recipe, "evaluation.test"), Mapping)
    return tested and run.status == "running" and run.result is None


def lede(run: RunData, steps: int | None = None) -> str:
    """What was done, in a sentence; `steps` overrules the recorded number of them."""
    recipe, done = run.recipe, run.steps_done if steps is None else steps
    rows, group = (setting(recipe, f"rollouts.{k}") for k in ("prompts_per_step", "group_size"))
    name = model_name(run)
    text = f"{name[0].upper()}{name[1:]} was trained by reinforcement learning from verifiable "
    text += f"rewards on {number_of_examples(run)}"
    algorithm = setting(recipe, "algorithm.name")
    if algorithm:
        text += f" with {algorithm}"
    text += f" for {done:,} {'step' if done == 1 else 'steps'}"
    if rows and group:
        text += f" of {rows} rows with {group} rollouts each"
    return text + "."


def unfinished(run: RunData) -> str:
    """Says that the run is not finished; empty when it is."""
    if run.status == "finished":
        return ""
    if run.status == "unknown":
        return (
            "Of this run, run.json is not as it was written: recipe, examples, versions and "
            "whether it finished are not known. What follows is what its other records hold."
        )
    planned = f" of {run.steps_planned:,}" if run.steps_planned else ""
    return (
        f"This run is not finished: {run.steps_done:,}{planned} steps are recorded. "
        "It may still be running, or was interrupted; what follows is what it has written so far."
    )


METHOD = (
    "They are 95 % intervals: of a share, Wilson's with an effective number of questions, since "
    "answers to one question resemble each other; of a difference, t over the questions' "
    "differences with two more of one answer's size, one up and one down."
)
"""How the intervals of report and model card are made (estimators.py)."""


def measured(comparison: Comparison) -> str:
    """What the numbers are of: set, benchmark, seed, questions, K, temperature."""
    summary = comparison.after or comparison.before or {}
    overall = summary.get("overall", {})
    samples = summary.get("samples", 1)
    temperature = summary.get("temperature")
    how = "" if temperature is None else f" at temperature {temperature:g}"
    how = ", greedily" if temperature == 0 else how
    answers = f"one answer each{how}" if samples == 1 else f"{samples} answers each{how}"
    named = f"benchmark {summary.get('benchmark', 'unknown')}"
    if summary.get("seed") is not None:
        named += f", seed {summary['seed']}"
    return (
        f"{comparison.name} set ({named}): {overall.get('questions', 0):,} questions, {answers} "
        f"(avg@{samples})"
    )


def caveats(run: RunData, seeds: int = 1) -> list[str]:
    """What a sceptic would ask, answered from the records. One paragraph, sentence by sentence.

    `seeds`: how many runs the page shows of the recipe.
    """
    comparison = run.comparison
    sentences = [told] if (told := no_signal(run.metrics)) else []
    if comparison is None:
        sentences.append("Nothing held out was recorded, so this page says nothing about transfer.")
    else:
        sentences += _how_measured(comparison)
        if seeds == 1:
            sentences += _checkpoint(run, comparison)
            sentences += _format(comparison)
    if seeds == 1:
        sentences.append("This is one run with one training seed.")
    if comparison is not None:
        if seeds == 1:
            sentences.append(
                "The intervals cover the choice of questions, not how another seed would have gone."
            )
        sentences.append(METHOD)
        if seeds > 1:
            sentences.append(
                "Where an arm has several seeds, its intervals are Student's t over them; of a "
                "share, never narrower than Wilson's over all answers; of a difference, never "
                "narrower than its seeds' own intervals over questions are on average."
            )
    if setting(run.recipe, "model.path") == "tiny":
        sentences.append(
            "The embedded tiny model and its questions were built for each other: its training "
            "text shows every skill, but rarely. It shows the method at work, not what a real "
            "model would gain."
        )
    arm = setting(run.recipe, "reward.arm")
    if arm not in (None, "outcome"):
        sentences.append(f"The reward was not the outcome: this is the control arm {arm}.")
    return sentences


def _how_measured(comparison: Comparison) -> list[str]:
    sentences = [f"The numbers are from the {measured(comparison)}."]
    if comparison.name == "validation":
        sentences.append(
            "There is no finished test, so they are from the validation set, which was watched "
            "while training; a choice made on it makes them optimistic."
        )
    if not comparison.complete:
        side = "after" if comparison.after is None else "before"
        sentences.append(f"The side {side} training is not measured yet.")
    if comparison.others:
        at = ", ".join(map(str, comparison.others))
        if comparison.name == "test":
            sentences.append(f"The test set was also evaluated at step {at}.")
    return sentences


def _checkpoint(run: RunData, comparison: Comparison) -> list[str]:
    if comparison.step is None:
        return []
    rule = setting(run.recipe, "train.checkpoint_rule")
    told = {
        "final": "the last one, by the rule declared before the run",
        "best_validation": "the best on the validation set, by the rule declared before the run",
    }.get(str(rule), "")
    if run.status != "finished":
        told = "the latest one that is recorded"
    return [f"The checkpoint is step {comparison.step:,}{', ' * bool(told)}{told}."]


def _format(comparison: Comparison) -> list[str]:
    if comparison.before is None or comparison.after is None:
        return []
    before, after = comparison.before["overall"], comparison.after["overall"]
    sentences = [
        f"Answers in a box went from {percent(before['boxed_share'])} to "
        f"{percent(after['boxed_share'])}, answers cut off at the token limit from "
        f"{percent(before['truncated_share'])} to {percent(after['truncated_share'])}."
    ]
    share = comparison.format_share
    if share is not None and abs(share.gain) >= 0.0005:
        sentences.append(
            f"Of the change of {points(share.gain)} points, {points(share.by_boxing)} go with "
            f"boxing more or fewer answers and {points(share.within)} with how often an answer of "
            "either kind is right; this is accounting, not cause."
        )
    return sentences


def duration(seconds: float) -> str:
    """252.4 -> "4 min 12 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def text_of(value: Any) -> str:
    """A recorded value as a table shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value))
    return "" if value is None else str(value)
