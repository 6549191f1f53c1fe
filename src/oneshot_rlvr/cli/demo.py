"""`oneshot demo`: the main job on the embedded model, in minutes on two cores."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from oneshot_rlvr.cli.parser import Parser

RECIPE = "tiny_one_shot"
DIRECTORY = "runs/demo"


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "demo",
        help="train the embedded model on one example and show what it learned (minutes, no GPU)",
        description="One verified example in, a better model and a report out, with the embedded "
        "model. A finished identical run is reused, an unfinished one is continued.",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        default=DIRECTORY,
        help="the run's directory (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of everything random (default: the recipe's)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Trains `tiny_one_shot`, or takes up the run that is there."""
    from oneshot_rlvr.cli.progress import Progress, print_stopped, resumable
    from oneshot_rlvr.cli.tables import print_run
    from oneshot_rlvr.config import load_recipe
    from oneshot_rlvr.train.stopping import Stopping
    from oneshot_rlvr.verbs.train import train

    seed = [] if args.seed is None else ["--seed", str(args.seed)]
    out = [] if args.out == DIRECTORY else ["--out", args.out]
    again = ["oneshot", "demo", *seed, *out]
    recipe = load_recipe(RECIPE, {} if args.seed is None else {"train.seed": args.seed})
    stopping = Stopping()
    with (
        closing(Progress(plain_every=recipe.tracking.print_every)) as progress,
        stopping.listening(),
        resumable(again),
    ):
        result = train(recipe, out=args.out, resume=True, progress=progress, stopping=stopping)
    if result.stopped_after is not None:
        print_stopped(result.stopped_after, recipe.train.steps, again)
    else:
        print_run(result.directory, reused=result.reused)
    return 0
