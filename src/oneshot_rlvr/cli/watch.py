"""`oneshot watch RUN_OR_FOLDER`: the report's page, live, on this machine."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.report import add_context
from oneshot_rlvr.cli.terminal import say


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "watch",
        help="show a run, or a folder of runs, in the browser while it goes on",
        description="Serves the report's page on 127.0.0.1: it follows the run as it goes on, and "
        "its reader pages through every rollout. Nothing is written, and no other machine can "
        "reach it (from afar: ssh -L PORT:127.0.0.1:PORT HOST). Ctrl-C ends it.",
    )
    parser.add_argument("path", metavar="RUN_OR_FOLDER", help="a run's directory, or one of runs")
    parser.add_argument(
        "--port", type=int, metavar="N", help="(default: 8421, or the next that is free)"
    )
    add_context(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Serves until Ctrl-C, which is the way to end it and no error."""
    from oneshot_rlvr.verbs.watch import watch

    with suppress(KeyboardInterrupt):
        watch(
            args.path,
            port=args.port,
            pool=args.pool,
            price_per_hour=args.price_per_hour,
            ready=lambda address: say(f"{args.path} at {address} (Ctrl-C ends it)", flush=True),
        )
    return 0
