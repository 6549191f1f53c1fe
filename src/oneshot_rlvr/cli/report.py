"""`oneshot report RUN [RUN ...]`: one HTML file of a run, or of several."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from oneshot_rlvr.cli.parser import Parser, add_overwrite
from oneshot_rlvr.cli.terminal import say


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "report",
        help="write runs, also unfinished ones, as one HTML file",
        description="Writes one self-contained HTML file: what the numbers say, charts, the "
        "example, rollouts to read. Runs of one recipe are shown as its seeds, runs of different "
        "ones beside each other.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="directories of runs")
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="the file (default: report.html inside the run; several runs need one)",
    )
    add_overwrite(parser)
    parser.add_argument(
        "--figures",
        metavar="DIR",
        help="also every figure as PNG, SVG and CSV, and every number as numbers.csv",
    )
    add_context(parser)
    return parser


def add_context(parser: Parser) -> None:
    """What a page may be told besides its runs; `watch` takes the same."""
    parser.add_argument(
        "--pool",
        metavar="HISTORY",
        help="the history of the pool that the example was chosen from, as `oneshot select "
        "--history` reads it: shows where it stands there",
    )
    parser.add_argument(
        "--price-per-hour",
        type=float,
        metavar="N",
        help="of the machine, in any currency: shows what the run cost",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the file and prints its path. 1 where records are damaged and were left out."""
    from oneshot_rlvr.verbs.report import report_and_damage

    path, damage = report_and_damage(
        args.runs,
        args.out,
        pool=args.pool,
        price_per_hour=args.price_per_hour,
        figures=args.figures,
        overwrite=args.overwrite,
    )
    say(path)
    for what in damage:
        say(f"damaged, and left out of the report: {what}", file=sys.stderr)
    return 1 if damage else 0
