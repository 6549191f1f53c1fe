"""`oneshot study STUDY.toml`: arms, seeds and claims from one file, and what came out."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.cli.parser import Parser, UsageError
from oneshot_rlvr.cli.terminal import console as terminal_console
from oneshot_rlvr.cli.terminal import say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from oneshot_rlvr.study.plan import Plan, Shows
    from oneshot_rlvr.study.schedule import State

_PLAIN_SECONDS = 30.0


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "study",
        help="compare arms over seeds from one file, and judge claims that it declares",
        description="Trains every arm of a study with every seed, side by side where that is "
        "faster, compares them on the same questions, and tells of each declared claim whether it "
        "holds. Run it again after any interruption: what is done is not repeated.",
    )
    parser.add_argument(
        "file", metavar="STUDY", help="TOML file, or a name of `oneshot list studies`"
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="train nothing: tell runs, hours, tokens and the smallest difference that can be seen",
    )
    parser.add_argument("--out", metavar="DIR", help="(default: runs/studies/NAME)")
    parser.add_argument(
        "--runs", metavar="DIR", help="where runs are kept and found (default: runs/arms)"
    )
    parser.add_argument(
        "--new", action="store_true", help="the file has changed since its runs: begin another"
    )
    parser.add_argument(
        "--seeds", metavar="N[,N]", help="instead of the file's, for a smaller trial"
    )
    parser.add_argument(
        "--gpu", metavar="NAME[:N]", help="with --plan: hours by the cost model, e.g. H100:8"
    )
    parser.add_argument(
        "--slots", type=int, metavar="N", help="runs at once, a thread each (default: measured)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Plans or runs. 1 where a run failed."""
    overrides = {} if args.seeds is None else {"seeds": _seeds(args.seeds)}
    if args.plan:
        from oneshot_rlvr.verbs.study import plan

        gpu, _, count = (args.gpu or "").partition(":")
        if count and not count.isdigit():
            raise UsageError(f"--gpu is {args.gpu!r}; wanted NAME or NAME:NUMBER")
        print_plan(plan(
            args.file, runs=args.runs, overrides=overrides, gpu=gpu or None,
            gpus=int(count) if count else None, say=_note,
        ))  # fmt: skip
        return 0
    if args.gpu is not None:
        raise UsageError("--gpu goes with --plan")
    if args.slots is not None and args.slots < 1:
        raise UsageError(f"--slots is {args.slots}; wanted 1 or more")
    from oneshot_rlvr.train.stopping import Stopping
    from oneshot_rlvr.verbs.study import study

    stopping, progress = Stopping(), StudyProgress()
    with stopping.listening(), stopping.step("stopping after the steps under way."):
        try:
            found = study(
                args.file, out=args.out, runs=args.runs, new=args.new, overrides=overrides,
                slots=args.slots, watch=progress, say=_note, stopping=stopping,
            )  # fmt: skip
        finally:
            progress.close()
    print_study(found.result)
    say(f"Page:   {found.directory / 'study.html'}")
    say(f"Tables: {found.directory / 'table.md'}, table.tex, results.parquet")
    if found.stopped:
        say("Stopped; all of it is saved. The same command goes on.")
        return 130
    return 1 if found.failures else 0


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds is {text!r}; wanted whole numbers as in 0,1,2") from None


def _note(text: str) -> None:
    say(text, file=sys.stderr, flush=True)


class StudyProgress:
    """One line for all runs: how many are done, what is at work, time left."""

    def __init__(self) -> None:
        self._console = terminal_console(stderr=True)
        self._bar: Bar | None = None
        self._told = -math.inf

    def __call__(self, state: State) -> None:
        """Shows it, on a terminal at once, elsewhere twice a minute."""
        if self._console.is_terminal:
            self._move(state)
            return
        now, over = time.monotonic(), state.finished == state.total
        if over or now - self._told >= _PLAIN_SECONDS:
            self._told = now
            self._console.print(told(state), markup=False, highlight=False, soft_wrap=True)

    def _move(self, state: State) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                BarColumn(bar_width=12),
                TextColumn("{task.description}", markup=False),
                console=self._console,
            )
            self._bar.add_task("", total=1.0)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=state.share, description=told(state))

    def close(self) -> None:
        """Ends the line."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def told(state: State) -> str:
    """ "3 of 26 done  outcome, seed 1: step 40/100  ...  0:12:30 left"."""
    parts = [f"{state.finished} of {state.total} done"]
    for working in state.working:
        far = f" {working.done:,}/{working.total:,}" if working.total else ""
        parts.append(f"{working.task.name}: {working.phase}{far}")
    if state.seconds_left is not None:
        from oneshot_rlvr.cli.progress import _clock

        parts.append(f"{_clock(state.seconds_left)} left")
    return "  ".join(parts)


def print_plan(plan: Plan) -> None:
    """What a study would take and could show."""
    from rich.table import Table
    from rich.text import Text

    from oneshot_rlvr.study.tables import failed, wanted

    say(f"runs:     {plan.runs} to train, of which {plan.runs_done} exist")
    for cause in failed({"failures": plan.failed}):
        say(f"failed:   {cause}")
    say(f"left:     {plan.steps_left:,} steps and {plan.answers_left:,} graded answers")
    if plan.tokens_left is not None:
        say(f"tokens:   about {plan.tokens_left / 1e6:,.1f} M to generate")
    hours = "not known" if plan.hours is None else _long(plan.hours)
    if plan.gpu_hours is not None:
        hours += f", {plan.gpu_hours:,.0f} GPU-hours"
    say(f"time:     {hours} ({plan.how})")
    table = Table()
    for column in ("claim", "can be told from", "by"):
        table.add_column(column, overflow="fold")
    for row in plan.shows:
        rule = wanted(row.rule.model_dump()) if row.rule is not None else ""
        by = "runs that exist" if row.measured else "assumptions"
        table.add_row(Text.assemble(row.claim, "\n", (rule, "dim")), shown(row), by)
    console = terminal_console()
    (console if console.is_terminal else terminal_console(width=140)).print(table)
    say("The last columns: the smallest distance from its threshold at which a claim would be")
    say("decided four times of five, corrected for all claims of the study.")


def _long(hours: float) -> str:
    if hours >= 2:
        return f"about {hours:,.1f} hours"
    minutes = round(60 * hours)
    return f"about {minutes} minutes" if minutes > 1 else "a minute at most"


def shown(row: Shows) -> str:
    """What a claim can be told from; and where that says that it cannot come out as claimed."""
    rule, least = row.rule, row.difference
    if math.isnan(least):
        return "nothing: no interval"
    if rule is not None and rule.statistic == "rank_correlation":
        return f"± {least:.2f}"
    told = f"± {100 * least:.1f} points"
    if least >= 1:
        return f"nothing: {told}"
    if rule is not None and rule.relation == "within" and least > rule.threshold:
        return f"{told}: too wide to hold"
    return told


_NARROW = 120
"""Columns of a terminal below which what stands in the files as well is left out."""


def print_study(result: Mapping[str, Any]) -> None:
    """Arms on each benchmark, then claims; names are never cut."""
    from rich.table import Table
    from rich.text import Text

    from oneshot_rlvr.study import tables

    console = terminal_console()
    console = console if console.is_terminal else terminal_console(width=160)
    narrow = console.width < _NARROW
    for benchmark in result["benchmarks"]:
        head, rows = tables.arms_table(result, benchmark)
        kept = len(head) - tables.BUDGET_COLUMNS if narrow else len(head)
        table = Table(title=Text(benchmark), title_justify="left")
        for number, cell in enumerate(head[:kept]):
            table.add_column(Text(cell), overflow="fold", no_wrap=number == 0)
        for row in rows:
            table.add_row(*map(Text, row[:kept]))
        console.print(table)
    if result["claims"]:
        columns = dict(tables.CLAIMS)
        table = Table(show_lines=narrow)
        shown = [name for name in columns if name not in ("claim", "rule", "paper")]
        for name in ("claim", *shown, *(() if narrow else ("paper",))):
            table.add_column(name, overflow="fold", no_wrap=name == "p, Holm")
        for row in result["claims"]:
            claim = Text.assemble(columns["claim"](row), "\n", (columns["rule"](row), "dim"))
            cells = [Text(columns[name](row)) for name in shown]
            cells += [] if narrow else [Text(columns["paper"](row))]
            table.add_row(claim, *cells)
        console.print(table)
    for cause in tables.failed(result):
        say(f"failed: {cause}", file=sys.stderr)
    if result["unfinished"]:
        say(f"Not done: {tables.runs_in_words(result['unfinished'])}.")
