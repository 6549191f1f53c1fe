"""The model card of a run's final checkpoint: README.md in Markdown, as Hugging Face reads it.

The example, before and after with intervals, how that was measured, the recipe, the licence. Text
that a user or a model wrote stands in fences it cannot close.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oneshot_rlvr.analysis.comparison import compare
from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.records import Run
from oneshot_rlvr.report.data import RunData, setting
from oneshot_rlvr.report.facts import recipe_toml
from oneshot_rlvr.report.words import METHOD, interval, lede, percent, points


def model_card(
    run_info: Mapping[str, Any],
    summaries: Mapping[tuple[str, int], Mapping[str, Any]],
    *,
    step: int | None = None,
    difference: Estimate | None = None,
) -> str:
    """The card as Markdown.

    `run_info` is run.json's info; `summaries` maps (evaluation, step) to records.summary's shape,
    step 0 being the base. `step` is the checkpoint's, the latest evaluated one unless given;
    `difference` the accuracy's, paired by question (`run_card` fills in both from the records).
    """
    run = RunData(info=run_info)
    measured = _choose(summaries, step)
    recipe = run.recipe
    steps = step or measured.step or setting(recipe, "train.steps")
    name = setting(recipe, "name") or "run"
    parts = [
        _front_matter(recipe),
        f"# {_plain(name)}",
        _plain(lede(run, steps=steps)),
        _base(recipe, step or measured.step),
        _examples(run),
        _table(measured, difference),
        _how(measured, recipe),
        _use(),
        "## Recipe\n\n" + _fenced(recipe_toml(run), "toml") if recipe else "",
        _licence(recipe),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def run_card(run: Run, step: int | None = None) -> str:
    """The card of a recorded run's checkpoint, with the paired difference."""
    comparison = compare(run, step)
    if comparison is None:
        return model_card(run.info, {}, step=step)
    summaries = {(name, at): run.summary(name, at) for name, at in run.evaluations()}
    return model_card(
        run.info, summaries, step=step or comparison.step, difference=comparison.overall.difference
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    name: str = ""
    step: int | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def _choose(summaries: Mapping[tuple[str, int], Mapping[str, Any]], step: int | None) -> _Measured:
    """The test's two sides where both are there, else the validation's, else what there is."""
    found = []
    for name in ("test", "validation"):
        later = [at for evaluation, at in summaries if evaluation == name and at > 0]
        at = step if step in later else max(later, default=None)
        after = None if at is None else summaries[name, at]
        found.append(_Measured(name, at, summaries.get((name, 0)), after))
    return max(found, key=lambda side: (side.before is not None) + (side.after is not None))


def _front_matter(recipe: Mapping[str, Any]) -> str:
    tags = ["oneshot-rlvr", "rlvr", setting(recipe, "algorithm.name")]
    lines = ["library_name: transformers", "pipeline_tag: text-generation"]
    # A JSON list is a YAML list, and quotes what would otherwise be YAML of its own.
    lines.append(f"tags: {json.dumps([str(tag) for tag in tags if tag])}")
    if setting(recipe, "model.path") == "tiny":
        lines.append("license: apache-2.0")
    return "\n".join(["---", *lines, "---"])


def _base(recipe: Mapping[str, Any], step: int | None) -> str:
    path, revision = setting(recipe, "model.path"), setting(recipe, "model.revision")
    told = [] if path is None else [f"Base model: `{_plain(str(path))}`"]
    if told and revision:
        told[0] += f" at `{_plain(str(revision))}`"
    if step is not None:
        told.append(f"Checkpoint: step {step}")
    return "".join(f"{sentence}. " for sentence in told).rstrip()


def _examples(run: RunData) -> str:
    shown = [
        f"{_fenced(str(example.get('question', '')), 'text')}\n\n"
        f"Gold answer:\n\n{_fenced(str(example.get('answer', '')), 'text')}"
        for example in run.examples[:3]
    ]
    if not shown:
        return ""
    title = "## The training example" + "s" * (len(run.examples) > 1)
    more = len(run.examples) - len(shown)
    return "\n\n".join([title, *shown, *([f"and {more} more."] if more else [])])


def _table(measured: _Measured, difference: Estimate | None) -> str:
    before, after = measured.before, measured.after
    if not before and not after:
        return "## Before and after\n\nNothing held out was measured."
    lines = [
        "## Before and after",
        "",
        "| questions | n | before (95% interval) | after (95% interval) |",
        "|---|---:|---|---|",
    ]
    for name, first, last in _rows(before or {}, after or {}):
        n = (last or first or {}).get("accuracy", {}).get("n", 0)
        lines.append(f"| {_plain(name.replace('_', ' '))} | {n} | {_cell(first)} | {_cell(last)} |")
    if difference is not None:
        bounds = interval(difference, signed=True)
        lines += [
            "",
            f"Difference, paired by question: {points(difference.value)} points"
            + (f" (95% interval {bounds})." if bounds else "."),
        ]
    if before and after:
        lines += ["", _shares(before["overall"], after["overall"])]
    return "\n".join(lines)


def _rows(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any] | None, dict[str, Any] | None]]:
    rows = [("all", before.get("overall"), after.get("overall"))]
    for kind in ("groups", "families"):
        first, last = before.get(kind, {}), after.get(kind, {})
        rows += [(name, first.get(name), last.get(name)) for name in sorted({*first, *last})]
    return rows


def _cell(part: Mapping[str, Any] | None) -> str:
    if not part:
        return "not measured"
    accuracy = Estimate.from_dict(part["accuracy"])
    bounds = interval(accuracy)
    return percent(accuracy.value) + (f" ({bounds})" if bounds else "")


def _shares(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    told = [
        f"{words} {percent(before[key])} → {percent(after[key])}"
        for key, words in (
            ("boxed_share", "answers in a box"),
            ("truncated_share", "answers cut off"),
            ("recheck_share", "answers that recheck themselves"),
        )
    ]
    return f"Format: {', '.join(told)}."


def _how(measured: _Measured, recipe: Mapping[str, Any]) -> str:
    summary = measured.after or measured.before
    if not summary:
        return ""
    samples, temperature = summary.get("samples", 1), summary.get("temperature")
    text = (
        f"The {measured.name} set (benchmark "
        f"{_plain(str(summary.get('benchmark', 'unknown')))}, seed {summary.get('seed')}): "
        f"{summary['overall']['questions']:,} questions, {samples} answers each, temperature "
        f"{temperature}. Accuracy is avg@{samples}; intervals are over questions, of one training "
        f"run. {METHOD}"
    )
    rule = setting(recipe, "train.checkpoint_rule")
    if rule:
        text += f" The checkpoint rule, declared before the run, was `{_plain(str(rule))}`."
    if measured.name == "validation":
        text += " The validation set was watched while training, so its numbers are optimistic."
    return f"## How it was measured\n\n{text}"


def _use() -> str:
    code = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'path = "."  # this directory\n'
        "tokenizer = AutoTokenizer.from_pretrained(path)\n"
        "model = AutoModelForCausalLM.from_pretrained(path)"
    )
    return "## Use\n\n" + _fenced(code, "python")


def _licence(recipe: Mapping[str, Any]) -> str:
    if setting(recipe, "model.path") == "tiny":
        return "## Licence\n\nApache-2.0, as the embedded tiny model it was trained from."
    return (
        "## Licence\n\nThe weights derive from the base model named above; its licence applies. "
        "The training code, oneshot-rlvr, is Apache-2.0."
    )


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than every run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _plain(text: str) -> str:
    """One line without what Markdown tables, code spans or HTML would take for their own."""
    return re.sub(r"[`|<>\r\n]+", " ", text)
