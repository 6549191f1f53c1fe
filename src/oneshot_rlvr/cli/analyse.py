"""`oneshot analyse RUN [RUN ...]`: what happened in runs, read off their records."""

from __future__ import annotations

import argparse
from typing import Any

from oneshot_rlvr.cli.parser import Parser, add_overwrite


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "analyse",
        help="saturation and after, self-reflection, transfer, format, cost; as tables",
        description="Reads the records of one run or several, also unfinished ones: what was "
        "learned after the training example was solved, over-fitting, self-reflection, what of the "
        "gain is format, trained on x and tested on y, and the cost to reach an accuracy.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="directories of runs")
    parser.add_argument("--out", metavar="DIR", help="write every table, also those not printed")
    parser.add_argument(
        "--format", choices=("csv", "parquet"), default="csv", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--level",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="training accuracy that counts as saturated (default: %(default)s)",
    )
    parser.add_argument(
        "--for-steps",
        type=int,
        default=5,
        metavar="N",
        help="and for how many steps in a row (default: %(default)s)",
    )
    parser.add_argument(
        "--words",
        default="",
        metavar="WORD[,WORD]",
        help="count these words too, beside rethink, recheck, recalculate and wait",
    )
    parser.add_argument(
        "--targets",
        metavar="SHARE[,SHARE]",
        help="accuracies whose cost is told (default: 0.5 to 0.95)",
    )
    parser.add_argument(
        "--by",
        choices=("domain", "family"),
        default="domain",
        help="parts of trained on x, tested on y (default: %(default)s)",
    )
    parser.add_argument(
        "--no-texts", action="store_true", help="leave the rollouts unread (large runs, in a hurry)"
    )
    add_overwrite(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints the tables that fit a terminal; writes all of them with --out. 1 where records are
    damaged and were left out."""
    from oneshot_rlvr.cli.analysis_tables import print_analysis
    from oneshot_rlvr.errors import ConfigError
    from oneshot_rlvr.verbs.analyse import analyse

    try:
        targets = None if args.targets is None else [float(t) for t in args.targets.split(",")]
    except ValueError:
        raise ConfigError(
            f'--targets is "{args.targets}"; wanted shares such as 0.5,0.9.'
        ) from None
    analysis = analyse(
        args.runs,
        level=args.level,
        steps=args.for_steps,
        words=[word for word in args.words.split(",") if word.strip()],
        targets=targets,
        by=args.by,
        texts=not args.no_texts,
        out=args.out,
        suffix=args.format,
        overwrite=args.overwrite,
    )
    print_analysis(analysis, written=args.out is not None)
    return 1 if analysis.damaged else 0
