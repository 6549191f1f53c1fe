"""A run's closing table: before and after. Records in, text out. Evaluations: evaluation_tables.py.

Every number stands in the records or in the report's own comparison; nothing is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from oneshot_rlvr.analysis.comparison import Comparison, compare
from oneshot_rlvr.analysis.signal import no_signal
from oneshot_rlvr.cli.terminal import console as terminal_console
from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.records import Run

# Wide enough for the table in a log file, where rich would assume 80 columns.
_MIN_WIDTH = 100

Part = Mapping[str, Any]


def print_run(directory: Path, *, reused: bool, console: Console | None = None) -> None:
    """Before and after per family, as the report compares them, and where model and report are."""
    console = console or make_console()
    if reused:
        console.print(
            f"Reused the finished run in {directory} (same recipe).",
            soft_wrap=True,
            highlight=False,
        )
    comparison = compare(Run(directory))
    if comparison is not None and comparison.before and comparison.after:
        console.print(
            f"{comparison.name} set, {_setting(comparison.after)}; "
            f"changes are paired by question, after step {comparison.step}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        console.print(_before_after(comparison))
    if told := no_signal(Run(directory).metrics()):
        console.print(f"Note: {told}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"Model:  {directory / 'final'}", soft_wrap=True, highlight=False)
    console.print(f"Report: {directory / 'report.html'}", soft_wrap=True, highlight=False)


def _before_after(comparison: Comparison) -> Table:
    table = Table()
    table.add_column("family")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right")
    sections = [
        comparison.families,
        [replace(change, name=f"all {change.name}") for change in comparison.groups],
        [replace(comparison.overall, name="overall")],
    ]
    for changes in filter(None, sections):
        for change in changes:
            difference = _percent(change.difference, sign="+")
            table.add_row(
                Text(change.name), _percent(change.before), _percent(change.after), difference
            )
        table.add_section()
    return table


def _setting(summary: Part) -> str:
    temperature = summary["temperature"]
    how = "greedy" if temperature == 0 else f"temperature {temperature:g}"
    return f"avg@{summary['samples']}, {how}, accuracy in % [95 % interval over questions]"


def _percent(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return ""
    value, low, high = 100 * estimate.value, 100 * estimate.low, 100 * estimate.high
    # The interval is nan where one question alone says nothing about spread.
    interval = "" if math.isnan(low) else rf" \[{low:{sign}.1f}, {high:{sign}.1f}]"
    return f"{value:{sign}.1f}{interval}"


def make_console() -> Console:
    """The terminal; elsewhere (a log file) wide enough for the tables."""
    console = terminal_console()
    return (
        console if console.is_terminal else terminal_console(width=max(_MIN_WIDTH, console.width))
    )
