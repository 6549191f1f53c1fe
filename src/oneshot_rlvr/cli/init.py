"""`oneshot init DIR`: a folder to begin one's own run in."""

from __future__ import annotations

import argparse
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import say

DOMAINS = ("math", "finance", "health", "education", "code", "chess")


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "init",
        help="write a folder to begin in: examples, held-out questions, a recipe",
        description="Writes example items, held-out questions, a recipe and five lines of README. "
        "`oneshot train DIR/recipe.toml` works on them at once, with the embedded model; put your "
        "own rows in their place.",
    )
    parser.add_argument("folder", metavar="DIR", help="a folder, made where it is not there")
    parser.add_argument(
        "--domain",
        metavar="NAME",
        default=DOMAINS[0],
        help=f"what the first rows are about: {', '.join(DOMAINS)} (default: %(default)s)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the files and says what comes next."""
    from oneshot_rlvr.verbs.init import init

    for path in init(args.folder, domain=args.domain):
        say(path)
    say(f"next: oneshot train {args.folder}/recipe.toml")
    return 0
