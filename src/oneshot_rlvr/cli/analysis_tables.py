"""An analysis in the terminal. Text only: what is long (curves) is for files.

What models wrote is shown escaped, with every character that steers a terminal replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oneshot_rlvr.cli.terminal import console as terminal_console

if TYPE_CHECKING:
    from oneshot_rlvr.analysis import Analysis

MAX_RUNS_IN_FULL = 6
CONTEXTS_SHOWN = 2  # a word


def print_analysis(analysis: Analysis, *, written: bool, console: Console | None = None) -> None:
    """Every part that the runs support, in the order of the questions one asks."""
    console = console or terminal_console()

    def say(text: str, soft_wrap: bool = False) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=soft_wrap)

    for name, show in PARTS.items():
        table = analysis.tables.get(name)
        if table is not None:
            show(table, console)
    contexts = analysis.tables.get("contexts")
    if contexts is not None:
        say("Where the words stood (all in contexts with --out)")
        for word, rows in contexts.groupby("word", sort=False):
            for row in rows.head(CONTEXTS_SHOWN).to_dict("records"):
                text = f"...{row['before'][-30:]}[{row['said']}]{row['after'][:40]}..."
                say(f"  {word}, step {row['step']}: {harmless(text)}")
    for note in analysis.notes:
        say(f"Note: {note}.")
    for path in analysis.files:
        say(f"Wrote {path}", soft_wrap=True)
    if not written:
        say("All tables, curves among them, as files: --out DIR")


def harmless(text: str) -> str:
    """One line without control characters or other marks that do not print."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def _saturation(found: pd.DataFrame, console: Console) -> None:
    table, title = Table(), "Saturation, and held-out accuracy after it (points, 95 % interval)"
    for name in ("run", "saturated", "held-out", "change", "over-fits", "gibberish"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in found.to_dict("records"):
        span = f"{row['held_out_from']} to {row['held_out_to']}"
        table.add_row(
            escape(str(row["run"])),
            _step(row["saturation_step"], "never"),
            "" if pd.isna(row["held_out_to"]) else span,
            _points(row["change"], row["low"], row["high"]),
            _step(row["overfitting_step"], "no"),
            _gibberish(row),
        )
    _show(title, table, console)


def _gibberish(row: dict[Any, Any]) -> str:
    if pd.isna(row["gibberish_share_end"]):
        return ""
    share = f"{100 * row['gibberish_share_end']:.1f} %"
    return share if pd.isna(row["gibberish_step"]) else f"{share}, from {row['gibberish_step']}"


def _reflection(found: pd.DataFrame, console: Console) -> None:
    table, title = Table(), "Answers per 100 that reflect, in thirds of the run"
    runs = found["run"].unique()
    table.add_column("run")
    table.add_column("word")
    for part in ("first", "middle", "last"):
        table.add_column(part, justify="right")
    for run in runs[:MAX_RUNS_IN_FULL]:
        rows = found[found["run"] == run]
        for word, values in rows.groupby("word", sort=False)["per_100"]:
            table.add_row(escape(str(run)), escape(str(word)), *(f"{v:.1f}" for v in values))
    _show(title, table, console)


def _format(found: pd.DataFrame, console: Console) -> None:
    table, title = Table(), "What of the gain is format (points, 95 % interval over questions)"
    table.add_column("run")
    table.add_column("part")
    table.add_column("points", justify="right")
    for row in found.to_dict("records"):
        gain = _points(row["gain"], row["low"], row["high"])
        table.add_row(escape(str(row["run"])), row["part"], gain)
    _show(title, table, console)


def _cross_domain(found: pd.DataFrame, console: Console) -> None:
    """A row a tested part; a column a training, as many as fit, else the long table alone."""
    trained = list(found["trained_on"].unique())
    table, title = Table(), "Change, trained on (across), tested on (down); points, 95 % interval"
    table.add_column("tested on")
    for name in trained[:MAX_RUNS_IN_FULL]:
        runs = int(found[found["trained_on"] == name]["runs"].max())
        table.add_column(escape(name) + (f" ({runs} runs)" if runs > 1 else ""), justify="right")
    tested = [name for name in found["tested_on"].unique() if name != "all"]
    for name in [*tested, "all"]:
        rows = found[found["tested_on"] == name].set_index("trained_on")
        cells = [
            _points(*(float(rows.at[x, key]) for key in ("change", "low", "high")))
            if x in rows.index
            else ""
            for x in trained[:MAX_RUNS_IN_FULL]
        ]
        table.add_row(escape(str(name)), *cells)
    _show(title, table, console)


def _cost(found: pd.DataFrame, console: Console) -> None:
    table, title = Table(), "Cost to reach an accuracy, in generated tokens and seconds of training"
    for name in ("run", "accuracy of", "reached", "step", "tokens", "seconds"):
        table.add_column(name, justify="left" if name in ("run", "accuracy of") else "right")
    for row in found.to_dict("records"):
        if pd.isna(row["step"]):
            continue
        table.add_row(
            escape(str(row["run"])),
            escape(str(row["of"])),
            f"{100 * row['target']:g} %",
            str(row["step"]),
            "" if pd.isna(row["tokens"]) else f"{row['tokens']:,.0f}",
            "" if pd.isna(row["seconds"]) else f"{row['seconds']:,.0f}",
        )
    if table.row_count:
        _show(title, table, console)


PARTS: dict[str, Callable[[pd.DataFrame, Console], None]] = {
    "saturation": _saturation,
    "reflection": _reflection,
    "format": _format,
    "cross_domain": _cross_domain,
    "cost": _cost,
}


def _show(title: str, table: Table, console: Console) -> None:
    # Not the table's own title, which is broken to the table's width.
    console.print(title, highlight=False, markup=False)
    console.print(table)


def _step(value: Any, none: str) -> str:
    return none if pd.isna(value) else f"step {value}"


def _points(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return ""
    text = f"{100 * value:+.1f}"
    return text if math.isnan(low) else rf"{text} \[{100 * low:+.1f}, {100 * high:+.1f}]"
