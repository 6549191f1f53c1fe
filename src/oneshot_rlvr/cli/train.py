"""`oneshot train RECIPE`: a run from a recipe, any of its keys set by a flag of the same name."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

from oneshot_rlvr.cli.parser import Parser, UsageError
from oneshot_rlvr.cli.terminal import say


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb; the recipe's keys become options only when it is chosen."""
    parser: Parser = subparsers.add_parser(
        "train",
        usage="oneshot train RECIPE [--dotted.key VALUE ...] [--out DIR] [--resume [RUN]] "
        "[--fork RUN[@STEP]] [--dry-run [--gpu NAME]] [--backend verl] [--debug]",
        help="train as a recipe says, evaluate before and after, write the report",
        description="Trains as a recipe says. Every key of the recipe is an option below: "
        "`--train.steps 10`. A list or table is JSON or inline TOML; `none` is no value.",
    )
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        nargs="?",
        help="TOML file, or name of a packaged recipe; a run that goes on or is forked has its own",
    )
    parser.add_argument("--out", metavar="DIR", help="the run's directory (default: runs/NAME)")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="RUN",
        help="continue the run in the directory, or in RUN; a finished identical run is reused",
    )
    parser.add_argument(
        "--fork",
        metavar="RUN[@STEP]",
        help="begin with another run's checkpoint (default: its newest); its steps count on; "
        "without a RECIPE the run's own is taken",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="read the examples, print the resolved recipe, batch sizes, an estimate of memory and "
        "hours (three steps are tried where they are short); stop",
    )
    parser.add_argument(
        "--gpu",
        metavar="NAME[:N]",
        help="--dry-run: hours on this too, by the cost model: A100, H100, H200, L40S, L4, RTX4090",
    )
    parser.add_argument(
        "--price-per-hour",
        type=float,
        metavar="P",
        help="--dry-run: the price too; of one GPU with --gpu, else of this machine",
    )
    parser.add_argument(
        "--answer-tokens",
        type=int,
        metavar="n",
        help="--dry-run: mean length of an answer for the cost model (default: as measured here, "
        "else the longest)",
    )
    parser.add_argument(
        "--no-measure", action="store_true", help="--dry-run: try no step, take the cost model"
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

    given = overrides(args)
    continued = _which_run(args)
    if continued is not None:
        from oneshot_rlvr.verbs.train import recipe_of_run

        recipe = recipe_of_run(continued, given)
    else:
        recipe = load_recipe(args.recipe, given)
    if args.dry_run:
        from oneshot_rlvr.verbs.forecast import examples_told, forecast, refuse_odd

        refuse_odd(args.gpu, args.price_per_hour, args.answer_tokens)
        examples = examples_told(recipe, _own_examples(args))
        say(f"{dry_run_text(recipe)}# {examples}\n", end="", flush=True)
        from oneshot_rlvr.train.footprint import described

        say("".join(f"# {line}\n" for line in described(recipe)), end="", flush=True)
        lines = forecast(
            recipe,
            gpu=args.gpu,
            price_per_hour=args.price_per_hour,
            answer_tokens=args.answer_tokens,
            measure=not args.no_measure,
        )
        say("".join(f"# {line}\n" for line in lines), end="")
        return 0
    _refuse_forecast(args)

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
            resume=bool(args.resume),
            fork=args.fork,
            progress=progress,
            stopping=stopping,
        )
    if result.stopped_after is not None:
        print_stopped(result.stopped_after, recipe.train.steps, _again(args))
    else:
        print_run(result.directory, reused=result.reused)
    return 0


def _which_run(args: argparse.Namespace) -> Path | None:
    """The run whose own recipe is taken, where `--resume RUN` or `--fork RUN` is given without one;
    else the recipe and the directory are put where they belong. UsageError without either."""
    named = args.resume if isinstance(args.resume, str) else None
    if args.fork is not None and args.recipe is None and named is None:
        return Path(args.fork.rpartition("@")[0] or args.fork)
    if named is not None and args.recipe is not None:
        args.out = args.out or named
    elif named is not None and (Path(named) / "run.json").is_file():
        args.out = args.out or named
        return Path(named)
    elif named is not None:
        from oneshot_rlvr.config.loading import is_recipe

        if not is_recipe(named):
            raise UsageError(f"{named} holds no run that could be continued. See `oneshot runs`")
        args.recipe = named  # `--resume RECIPE`: the flag stood in front
    elif args.resume and args.recipe is None and args.out is not None:
        return Path(args.out)
    if args.recipe is None:
        raise UsageError(
            "oneshot train needs a RECIPE, or --resume RUN to continue a run. See `oneshot list "
            "recipes`"
        )
    return None


def _refuse_forecast(args: argparse.Namespace) -> None:
    """ConfigError for options of a dry run in a run."""
    from oneshot_rlvr.errors import ConfigError

    for option in ("gpu", "price_per_hour", "answer_tokens", "no_measure"):
        if getattr(args, option) not in (None, False):
            raise ConfigError(
                f"--{option.replace('_', '-')} is for --dry-run, which tells hours and price "
                "before a run; give both, or neither."
            )


def _own_examples(args: argparse.Namespace) -> bool:
    """Whether the examples are the caller's, not those of a packaged recipe as it stands."""
    from oneshot_rlvr.cli.recipe_flags import given_flags

    packaged = args.recipe is not None and not Path(args.recipe).is_file()
    return not packaged or bool({"--examples.path", "--base"} & {*given_flags(args)})


def _again(args: argparse.Namespace) -> list[str]:
    """The command that continues the run."""
    from oneshot_rlvr.cli.recipe_flags import given_flags

    if args.recipe is None:
        return ["oneshot", "train", "--resume", str(args.out), *given_flags(args)]
    out = ["--out", args.out] if args.out else []
    return ["oneshot", "train", args.recipe, *given_flags(args), *out, "--resume"]
