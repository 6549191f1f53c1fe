"""`oneshot report RUN`: one HTML file of a run."""

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
        help="write a run, also an unfinished one, as one HTML file",
        description="Writes one self-contained HTML file: charts, the example, rollouts to read.",
    )
    parser.add_argument("directory", metavar="RUN", help="a run's directory")
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="the file (default: report.html inside the run)"
    )
    add_overwrite(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the file and prints its path. 1 where records are damaged and were left out."""
    from oneshot_rlvr.verbs.report import report_and_damage

    path, damage = report_and_damage(args.directory, args.out, overwrite=args.overwrite)
    say(path)
    for what in damage:
        say(f"damaged, and left out of the report: {what}", file=sys.stderr)
    return 1 if damage else 0
