"""`oneshot diff RUN`: where base and trained model differ, token by token; a table and a page."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.cli.parser import Parser, add_overwrite, names_in
from oneshot_rlvr.cli.terminal import say

if TYPE_CHECKING:
    from oneshot_rlvr.verbs.diff import Diff

SHOWN = 10


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "diff",
        help="where base and trained model differ, token by token on the same texts",
        description="One of the two models answers held-out questions, both read the answers, and "
        "at every position their first choices and distributions are compared (arXiv 2605.06241). "
        "Prints tables and writes one self-contained page with the texts.",
    )
    add = parser.add_argument
    add("run_directory", metavar="RUN", help="a run's directory, or one of its checkpoints")
    add(
        "--texts",
        choices=("trained", "base"),
        default="trained",
        help="who writes the texts (default: %(default)s)",
    )
    add("--benchmarks", metavar="NAME[,NAME]", help="(default: the run's test set, or validation)")
    add("--questions", type=int, metavar="n", help="first n, generated: per family; 0: all")
    add("--seed", type=int, metavar="N", help="of sampling and questions (default: the run's own)")
    add(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="of the texts; 0 is greedy (default: %(default)s)",
    )
    add("--max-new-tokens", type=int, metavar="n", help="cut texts here (default: the recipe's)")
    add("--max-prompt-tokens", type=int, metavar="n", help="longer prompts are refused")
    add("--data-dir", metavar="DIR", help="look here for benchmarks' files first")
    add("--engine", metavar="NAME", help="`oneshot list engines` (default: the recipe's)")
    add("-o", "--out", metavar="FILE", help="the page (default: diff.html inside the run)")
    add_overwrite(parser)
    add("--json", action="store_true", help="print everything as JSON, every changed position too")
    return parser


def run(args: argparse.Namespace) -> int:
    """Compares, writes the page, and prints tables or JSON."""
    from oneshot_rlvr.cli.progress import AnswerCount
    from oneshot_rlvr.verbs.diff import diff

    names = None if args.benchmarks is None else names_in(args.benchmarks)
    with closing(AnswerCount()) as count:
        found = diff(
            args.run_directory,
            author=args.texts,
            benchmarks=names,
            seed=args.seed,
            temperature=args.temperature,
            questions=args.questions,
            max_new_tokens=args.max_new_tokens,
            max_prompt_tokens=args.max_prompt_tokens,
            data_dir=args.data_dir,
            engine=args.engine,
            out=args.out,
            overwrite=args.overwrite,
            progress=count,
        )
    if args.json:
        say(json.dumps(found.as_dict(), indent=2))
    else:
        _print(found)
    return 0


def _print(found: Diff) -> None:
    from rich.table import Table
    from rich.text import Text

    from oneshot_rlvr.analysis.token_changes import TOP
    from oneshot_rlvr.cli.tables import make_console

    console, changes = make_console(), found.changes
    how = "greedily" if found.temperature == 0 else f"at temperature {found.temperature:g}"
    say(
        f"{changes.texts:,} texts, {changes.positions:,} positions; by the {found.author} model, "
        f"{how}, on {', '.join(found.benchmarks)}. Intervals (95 %) are over texts."
    )
    say(f"First choice differs at {_told(changes.share, 100, 2)} % of the positions "
        f"({changes.changed:,}).")  # fmt: skip
    if changes.within_top is not None:
        near = _told(changes.within_top, 100, 1)
        say(f"Of these the new choice stood within the base's first {TOP} at {near} %.")
    say(f"KL(trained || base): {_told(changes.kl, 1, 4)} nats a position, "
        f"{100 * changes.kl_in_changed:.1f} % of it where the choice differs.")  # fmt: skip
    if changes.changed:
        say("Rank of the new choice in the base's list:")
        ranks = Table()
        for column in ("rank", "positions", "%"):
            ranks.add_column(column, justify="right")
        for band in changes.bands:
            last = " or beyond" if band.last is None else f" to {band.last}"
            name = str(band.first) if band.last == band.first else f"{band.first}{last}"
            ranks.add_row(name, f"{band.count:,}", f"{100 * band.share:.1f}")
        console.print(ranks)
        say("Which tokens, the most frequent changes:")
        tokens = Table()
        for column in ("base", "trained"):
            tokens.add_column(column, max_width=28, overflow="ellipsis", no_wrap=True)
        for column in ("times", "median rank"):
            tokens.add_column(column, justify="right")
        for old, new, count, rank in found.pairs[:SHOWN]:
            tokens.add_row(Text(repr(old)), Text(repr(new)), f"{count:,}", f"{rank:g}")
        console.print(tokens)
    say(f"Page: {found.page}")


def _told(estimate: Any, scale: float, digits: int) -> str:
    value, low, high = (scale * x for x in (estimate.value, estimate.low, estimate.high))
    interval = "" if low != low else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{interval}"
