"""`oneshot runs`: the runs below a folder, a line each."""

from __future__ import annotations

import argparse
import json
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import say


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "runs",
        help="list runs: name, state, steps, accuracy before and after, when",
        description="Lists the runs below a folder, the last written first. Accuracy is that of "
        "the test set, of the validation set where a run has no test.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", default="runs", help="(default: runs)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints a table, or JSON lines."""
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from oneshot_rlvr.cli.tables import make_console
    from oneshot_rlvr.verbs.runs import runs

    found = runs(args.folder)
    if args.json:
        for one in found:
            say(json.dumps({**asdict(one), "path": str(one.path)}))
        return 0
    if not found:
        say(f"no runs in {args.folder}; `oneshot train tiny_one_shot` makes one")
        return 0
    table = Table()
    for name in ("run", "state", "step", "before", "after", "reward", "written"):
        right = name in ("step", "before", "after")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for one in found:
        table.add_row(
            escape(str(one.path)),
            one.state,
            f"{one.step:,}/{one.steps:,}" if one.steps else "",
            *("" if share is None else f"{100 * share:.1f} %" for share in (one.before, one.after)),
            escape(one.arm),
            one.when,
        )
    make_console().print(table)
    return 0
