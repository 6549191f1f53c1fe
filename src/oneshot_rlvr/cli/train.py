"""`oneshot train RECIPE`: a run from a recipe, any of its keys set by a flag of the same name."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import say


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb; the recipe's keys become options only when it is chosen."""
    parser: Parser = subparsers.add_parser(
        "train",
        usage="oneshot train RECIPE [--dotted.key VALUE ...] [--out DIR] [--resume] "
        "[--fork RUN[@STEP]] [--dry-run] [--backend verl] [--debug]",
        help="train as a recipe says, evaluate before and after, write the report",
        description="Trains as a recipe says. Every key of the recipe is an option below: "
        "`--train.steps 10`. A list or table is JSON or inline TOML; `none` is no value.",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="TOML file, or name of a packaged recipe")
    parser.add_argument("--out", metavar="DIR", help="the run's directory (default: runs/NAME)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in the directory; a finished identical run is reused",
    )
    parser.add_argument(
        "--fork",
        metavar="RUN[@STEP]",
        help="begin with another run's checkpoint (default: its newest); its steps count on",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the resolved recipe, batch sizes and an estimate of memory; stop",
    )
    # Written like the recipe's keys, so that they are read and told like these.
    for option, key, text in (
        ("--backend", "backend.name", "local or verl"),
        ("--ray-address", "backend.ray_address", "with verl: a cluster's Ray Jobs API"),
    ):
        parser.add_argument(
            option,
            dest=f"recipe:{key}",
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=f"{text}; short for --{key}",
        )

    def fill(parser: Parser) -> None:
        from oneshot_rlvr.cli.recipe_flags import add_recipe_flags

        add_recipe_flags(parser)

    parser.fill = fill
    return parser


def run(args: argparse.Namespace) -> int:
    """Trains, or only prints the resolved recipe."""
    from oneshot_rlvr.cli.recipe_flags import dry_run_text, overrides
    from oneshot_rlvr.config import load_recipe

    recipe = load_recipe(args.recipe, overrides(args))
    if args.dry_run:
        say(dry_run_text(recipe), end="", flush=True)
        from oneshot_rlvr.train.footprint import described

        say("".join(f"# {line}\n" for line in described(recipe)), end="")
        return 0

    from oneshot_rlvr.cli.progress import Progress, print_stopped, resumable
    from oneshot_rlvr.cli.tables import print_run
    from oneshot_rlvr.train.stopping import Stopping
    from oneshot_rlvr.verbs.train import train

    stopping = Stopping()
    with (
        closing(Progress(plain_every=recipe.tracking.print_every)) as progress,
        stopping.listening(),
        resumable(_again(args)),
    ):
        result = train(
            recipe,
            out=args.out,
            resume=args.resume,
            fork=args.fork,
            progress=progress,
            stopping=stopping,
        )
    if result.stopped_after is not None:
        print_stopped(result.stopped_after, recipe.train.steps, _again(args))
    else:
        print_run(result.directory, reused=result.reused)
    return 0


def _again(args: argparse.Namespace) -> list[str]:
    """The command that continues the run."""
    from oneshot_rlvr.cli.recipe_flags import given_flags

    out = ["--out", args.out] if args.out else []
    return ["oneshot", "train", args.recipe, *given_flags(args), *out, "--resume"]
