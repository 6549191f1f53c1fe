"""A ranking in the terminal: a line an example with the sparkline of its history. Text only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oneshot_rlvr.cli.terminal import console as terminal_console

if TYPE_CHECKING:
    from oneshot_rlvr.verbs.pool import Cost
    from oneshot_rlvr.verbs.select import Selection

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 28
ID_WIDTH = 22


def sparkline(shares: Sequence[float], width: int = WIDTH) -> str:
    """Shares 0..1 as a line of blocks; more visits than `width` are averaged in equal parts."""
    count = len(shares)
    cells = min(count, width)
    line = ""
    for cell in range(cells):
        part = shares[cell * count // cells : (cell + 1) * count // cells]
        line += LEVELS[min(len(LEVELS) - 1, int(sum(part) / len(part) * len(LEVELS)))]
    return line


def print_selection(
    selection: Selection, top: int, sets: bool, console: Console | None = None
) -> None:
    """The first `top` examples, the best one's question, notes, cost and files."""
    console = console or terminal_console()
    ranking = selection.ranking
    history = ranking.history
    seen = bool(history.visits_E.any())
    table = Table()
    table.add_column("rank", justify="right")
    table.add_column("id", max_width=ID_WIDTH, overflow="ellipsis", no_wrap=True)
    table.add_column("score", justify="right")
    if seen:
        table.add_column("mean", justify="right")
        table.add_column("visits", justify="right")
        table.add_column("history", no_wrap=True)
    never, always = history.never_solved_E(), history.always_solved_E()
    for number, example in enumerate(ranking.order_E[:top], start=1):
        score = ranking.score_E[example]
        told = "none" if math.isnan(score) else f"{score:.4g}" + "=" * bool(ranking.tied_E[example])
        cells = [str(number), escape(history.ids[example]), told]
        if seen:
            shares = history.visits(int(example)).tolist()
            mean = f"{sum(shares) / len(shares):.2f}" if shares else ""
            mark = " never" if never[example] else " always" if always[example] else ""
            line = sparkline(shares) if len(shares) > 1 else ""
            cells += [mean, str(len(shares)), line + mark]
        table.add_row(*cells)
    console.print(f"Ranking by {ranking.name}, {len(history):,} examples", highlight=False)
    console.print(table)
    best = selection.examples[ranking.ids[0]]
    question = " ".join(best.question.split())
    question = question if len(question) <= 300 else question[:297] + "..."

    def say(text: str, soft_wrap: bool = False) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=soft_wrap)

    say(f"Rank 1, {best.id}: {question}")
    say(f"Gold: {best.answer[:100]}")
    for note in selection.notes:
        say(f"Note: {note}.")
    if bool(ranking.tied_E[ranking.order_E[:top]].any()):
        say("=  another example has the same score")
    if selection.cost is not None:
        say(f"Cost: {cost_words(selection.cost)}.")
    for path in selection.files:
        say(f"Wrote {path}", soft_wrap=True)
    if not sets:
        say("Training sets of the first examples: --sets DIR")


def cost_words(cost: Cost) -> str:
    """ "25 steps, 3,200 answers, 171,245 tokens, 41 s"; a peak of memory where it was measured."""
    steps = f"{cost.steps:,} steps, " if cost.steps else ""
    memory = f", at most {cost.peak_bytes / 2**20:,.0f} MiB of memory" if cost.peak_bytes else ""
    return f"{steps}{cost.answers:,} answers, {cost.tokens:,} tokens, {cost.seconds:.0f} s{memory}"
