"""`oneshot export RECIPE --to TRAINER -o DIR`: the same run, written out for another trainer."""

from __future__ import annotations

import argparse
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import say


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb; the recipe's keys become options only when it is chosen."""
    parser: Parser = subparsers.add_parser(
        "export",
        usage="oneshot export RECIPE --to TRAINER -o DIR [--dotted.key VALUE ...] [--debug]",
        help="write a recipe out for another trainer: data, settings and the exact command",
        description="Writes data, reward, settings and the exact command. A key that the other "
        "trainer has no counterpart for is refused by name.",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="TOML file, or name of a packaged recipe")
    parser.add_argument(
        "--to", required=True, metavar="TRAINER", help="see `oneshot list exporters`"
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="an empty or new directory"
    )

    def fill(parser: Parser) -> None:
        from oneshot_rlvr.cli.recipe_flags import add_recipe_flags

        add_recipe_flags(parser)

    parser.fill = fill
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the files and says how to use them."""
    from oneshot_rlvr.cli.recipe_flags import overrides
    from oneshot_rlvr.verbs.export import export

    exported = export(args.recipe, args.to, args.out, overrides=overrides(args))
    for file in exported.files:
        say(f"wrote {file}")
    for note in exported.notes:
        say(f"note: {note}")
    say(f"\nTrain with:\n  {exported.command}")
    return 0
