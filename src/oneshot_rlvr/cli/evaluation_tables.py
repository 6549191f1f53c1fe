"""What `oneshot evaluate` shows: accuracy, readings, templates, comparisons, answers side by side.

Every number stands in a summary or a comparison; nothing is computed here. Texts of models are
never read as markup. Tables fit 80 columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from oneshot_rlvr.cli.tables import make_console
from oneshot_rlvr.estimators import Difference, Estimate
from oneshot_rlvr.evaluation.comparison import Comparison, Side
from oneshot_rlvr.evaluation.decoding import in_words

if TYPE_CHECKING:
    from oneshot_rlvr.evaluation import EvaluationResult

Part = Mapping[str, Any]

READINGS = ("strict", "lenient")

LOUD_SHARE = 0.05  # of cut-off answers: from here on a line says what they may hide


def print_evaluation(name: str, summary: Part, console: Console | None = None) -> None:
    """One benchmark: accuracy with interval, and the shares that tell how answers look."""
    console = console or make_console()
    _say(console, f"{name}: {setting(summary)}")
    table = Table()
    rows = list(_rows(summary))
    table.add_column("family")
    for column in ("accuracy %", "boxed", "cut off", "loops", "tokens", "n"):
        table.add_column(column, justify="right")
    for key, part, ends in rows:
        tokens = part["tokens_mean"]
        table.add_row(
            Text(key),
            percent(Estimate.from_dict(part["accuracy"])),
            share(part["boxed_share"]),
            share(part["truncated_share"]),
            share(part.get("repeated_share")),
            "" if tokens is None else f"{tokens:.0f}",
            str(part["questions"]),
            end_section=ends,
        )
    console.print(table)
    _print_overall(console, summary)


def _print_overall(console: Console, summary: Part) -> None:
    overall = summary["overall"]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    if "strict" in overall:
        for reading, meaning in (
            ("strict", "strict reading: a box or nothing"),
            ("lenient", "lenient reading: or a stated answer"),
        ):
            table.add_row(meaning, percent(Estimate.from_dict(overall[reading])))
    if "majority" in overall:
        table.add_row(
            f"maj@{summary['samples']}: the most frequent answer is right",
            percent(Estimate.from_dict(overall["majority"])),
        )
    for k, value in overall.get("pass_at_k", {}).items():
        table.add_row(f"pass@{k}: at least one of {k} is right", percent(Estimate.from_dict(value)))
    if "score" in overall:
        table.add_row("mean score: how good the answers are, of 100", share(overall["score"]))
    table.add_row("says that it rechecks", share(overall["recheck_share"]))
    console.print(table)
    reasons = ", ".join(f"{reason} {count}" for reason, count in overall["reasons"].items())
    _say(console, f"verdicts of {overall['samples']} answers: {reasons}")
    if overall["truncated_share"] >= LOUD_SHARE:
        _say(
            console,
            f"{share(overall['truncated_share'])} % of the answers were cut at "
            f"{summary.get('max_new_tokens', 'their most')} tokens: some might have been right.",
        )
    missing = summary.get("missing")
    if missing:
        counted = ", ".join(f"{reason} {count}" for reason, count in missing.items())
        _say(
            console,
            f"{sum(missing.values())} answers never came ({counted}); they stand in no number. "
            "Run the same again to ask only for them.",
        )
        if summary.get("missing_said"):
            _say(console, f"about the last of them: {summary['missing_said']}")


def print_results(results: Mapping[str, Sequence[EvaluationResult]]) -> None:
    """A table a benchmark; the templates of one benchmark in one table."""
    by_benchmark: dict[str, dict[str, Any]] = {}
    for key, some in results.items():
        for number, result in enumerate(some):
            summary = result.summary
            name = str(summary.get("benchmark") or key)  # a file's stem, not its path
            if len(some) > 1:
                print_evaluation(f"{name}, {number + 1} of {len(some)}", summary)
            elif summary.get("prompt", "own") == key.rpartition(":")[2]:
                named = by_benchmark.setdefault(name, {})
                named[summary["prompt"]] = summary
            else:
                print_evaluation(name, summary)
    for benchmark, summaries in by_benchmark.items():
        print_prompts(benchmark, summaries)


def print_prompts(name: str, summaries: Mapping[str, Part], console: Console | None = None) -> None:
    """One benchmark in several templates, and which gave the most."""
    console = console or make_console()
    table = Table()
    table.add_column("template")
    for column in ("accuracy %", "strict", "lenient", "boxed", "cut off"):
        table.add_column(column, justify="right")
    for prompt, summary in summaries.items():
        part = summary["overall"]
        table.add_row(
            Text(prompt),
            percent(Estimate.from_dict(part["accuracy"])),
            *(share(part[name]["value"] if name in part else None) for name in READINGS),
            share(part["boxed_share"]),
            share(part["truncated_share"]),
        )
    first = next(iter(summaries.values()))
    _say(console, f"{name}, {len(summaries)} templates: {setting(first)}")
    console.print(table)
    best = strongest(summaries)
    _say(
        console,
        f"strongest: {best}, {_plain(Estimate.from_dict(summaries[best]['overall']['accuracy']))} %"
        f" (the best of {len(summaries)}, chosen after seeing them: its interval does not know)",
    )


def strongest(summaries: Mapping[str, Part]) -> str:
    """The template of the highest accuracy; the first of equals."""
    return max(summaries, key=lambda name: summaries[name]["overall"]["accuracy"]["value"])


def print_comparison(
    compared: Sequence[Comparison], after: str, before: str, console: Console | None = None
) -> None:
    """A against B, paired by question; over seeds too, where a side has several."""
    console = console or make_console()
    _say(console, f"A: {after}", whole=True)
    _say(console, f"B: {before}", whole=True)
    _say(console, "Right answers in %, A - B in points [95 % interval], n questions in pairs.")
    table = Table()
    table.add_column("benchmark")
    for column in ("A %", "B %", "A - B [95 %]", "p", "n"):
        table.add_column(column, justify="right")
    for one in compared:
        sides = (one.after, one.before)
        lines = [(one.benchmark, [side.accuracy.value for side in sides], one.over_questions)]
        for reading, change in one.readings.items():
            lines.append((f"  {reading}", [side.readings[reading] for side in sides], change))
        for number, (name, shares, change) in enumerate(lines):
            table.add_row(
                Text(name),
                *map(share, shares),
                difference(change),
                p_value(change),
                str(change.n),
                end_section=number == len(lines) - 1 and one.over_seeds is None,
            )
        if one.over_seeds is not None:
            counts = " + ".join(str(len(side.scores_S)) for side in sides)
            told = (difference(one.over_seeds), p_value(one.over_seeds), counts)
            table.add_row("  over seeds", "", "", *told, end_section=True)
    console.print(table)
    for one in compared:
        for label, side in (("A", one.after), ("B", one.before)):
            _say(console, f"{one.benchmark}, {label}: {_of_side(side)}")
        _say(console, f"{one.benchmark}: p by {one.over_questions.test}")
        if one.over_seeds is not None:
            _say(
                console,
                f"{one.benchmark}, over seeds: n counts models of A + of B, p by "
                f"{one.over_seeds.test}",
            )


def _of_side(side: Side) -> str:
    """Accuracy with its interval, how often a question was answered, and each seed's score."""
    seeds = len(side.scores_S)
    if side.over_seeds is None:
        return f"avg@{side.answers} {_plain(side.accuracy)} %"
    scores = ", ".join(f"{100 * score:.1f}" for score in side.scores_S)
    return f"avg@{side.answers // seeds} over {seeds} seeds {_plain(side.over_seeds)} % ({scores})"


def print_probe(name: str, summary: Part, console: Console | None = None) -> None:
    """The contamination probe of one benchmark."""
    console = console or make_console()
    done = Estimate.from_dict(summary["completed"])
    _say(
        console,
        f"{name}: {_plain(done)} % of {summary['questions']} questions are finished word by word "
        f"from their first 60 %; on average {share(summary['matched_share_mean'])} % of the hidden "
        "words before the first that differs.",
    )
    if summary["left_out"]:
        _say(console, f"  {summary['left_out']} questions of under 5 words were left out.")
    if summary["ids"]:
        shown = ", ".join(summary["ids"][:5]) + (" ..." if len(summary["ids"]) > 5 else "")
        _say(console, f"  finished: {shown}")


def print_answers(
    question: str,
    answers: Mapping[str, Sequence[tuple[str, bool]]],
    console: Console | None = None,
) -> None:
    """Answers of each side in a column of its own."""
    console = console or make_console()
    _say(console, question)
    table = Table(show_lines=True, expand=True)
    for side in answers:
        table.add_column(Text(side), ratio=1, overflow="fold")
    for row in zip(*answers.values(), strict=True):
        table.add_row(*(_answer(text, finished) for text, finished in row))
    console.print(table)


def _answer(text: str, finished: bool) -> Text:
    shown = Text(printable(text).strip() or "(empty)")
    if not finished:
        shown.append("\n[cut off]", style="dim")
    return shown


def printable(text: str) -> str:
    """A model's text without what steers a terminal (escape codes, carriage returns, bells)."""
    return "".join(
        c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def setting(summary: Part) -> str:
    """How answers were drawn, in words."""
    temperature = summary["temperature"]
    how = "greedy" if temperature == 0 else f"temperature {temperature:g}"
    more = in_words(summary.get("decoding"))
    how += f", {more}" if more else ""
    return f"avg@{summary['samples']}, {how}, seed {summary['seed']}; shares in % [95 % interval]"


def percent(estimate: Estimate) -> str:
    """12.5 [3.5, 36.0], escaped for rich."""
    return _plain(estimate).replace("[", r"\[")


def _plain(estimate: Estimate) -> str:
    value, low, high = 100 * estimate.value, 100 * estimate.low, 100 * estimate.high
    return f"{value:.1f}" + ("" if math.isnan(low) else f" [{low:.1f}, {high:.1f}]")


def difference(change: Difference) -> str:
    """+12.5 [+3.5, +20.1], in points, escaped for rich."""
    value, low, high = 100 * change.value, 100 * change.low, 100 * change.high
    return f"{value:+.1f}" + ("" if math.isnan(low) else rf" \[{low:+.1f}, {high:+.1f}]")


def p_value(change: Difference) -> str:
    """0.034, <0.001, or - where there is none."""
    if math.isnan(change.p_value):
        return "-"
    return "<0.001" if change.p_value < 0.001 else f"{change.p_value:.3f}"


def share(value: float | None) -> str:
    """A share in %."""
    return "" if value is None else f"{100 * value:.1f}"


def _rows(summary: Part) -> Iterator[tuple[str, Part, bool]]:
    """(name, part, whether a rule follows): families, then groups, then all of it."""
    for section in ("families", "groups"):
        parts = dict(summary.get(section) or {})
        for number, (name, part) in enumerate(parts.items(), start=1):
            yield (f"all {name}" if section == "groups" else name), part, number == len(parts)
    yield "overall", summary["overall"], False


def _say(console: Console, text: str, *, whole: bool = False) -> None:
    """One line; `whole`: it holds a path, which may be copied only if no line is broken."""
    console.print(Text(printable(text)), soft_wrap=whole)
