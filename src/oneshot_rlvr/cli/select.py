"""`oneshot select POOL`: which example to train on, and the training sets of the first ones."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

from oneshot_rlvr.cli.parser import Parser, add_overwrite


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "select",
        help="rank a pool of examples and write training sets of the best",
        description="Ranks the examples of a pool by a score of their history: how often a model "
        "solved each at every visit. The history is given, made by a short training run over the "
        "pool, or replaced by a probe of the base model.",
    )
    parser.add_argument("pool", metavar="POOL", help="examples: JSONL, Parquet, CSV, or hub name")
    history = parser.add_argument_group("history (one of these; random and first need none)")
    history.add_argument(
        "--history",
        metavar="H",
        help="a run's directory; JSON {index: [accuracy, ...]}; CSV or Parquet with the columns "
        "example, visit, accuracy; or Parquet of graded samples",
    )
    history.add_argument(
        "--make-history", metavar="RECIPE", help="train briefly over the pool, as this recipe says"
    )
    history.add_argument(
        "--visits",
        type=int,
        metavar="N",
        help="--make-history: steps enough to ask every example N times (default: the recipe's)",
    )
    history.add_argument(
        "--history-out",
        metavar="DIR",
        help="--make-history: its directory; continued or reused (default: runs/history-POOL); "
        "--probe, but for gradients: where its answers are kept (default: runs/probe-POOL)",
    )
    history.add_argument(
        "--probe", type=int, metavar="N", help="N answers of --model to every example; no training"
    )
    history.add_argument("--model", metavar="MODEL", help="--probe: hub name, directory, or `tiny`")
    history.add_argument(
        "--temperature", type=float, metavar="T", help="--probe: (default: the rollouts' own)"
    )
    history.add_argument(
        "--max-new-tokens", type=int, metavar="n", help="--probe: (default: the rollouts' own)"
    )
    history.add_argument(
        "--stop-early",
        type=int,
        metavar="K",
        help="--probe: ask an example no further once it is certain whether it is among the first "
        "K by pass rate",
    )
    gradient = parser.add_argument_group("--score gradient, with --probe")
    gradient.add_argument(
        "--validation",
        metavar="SET",
        help="a benchmark or a file of examples: rank by how well an example's policy gradient "
        "aligns with that of these questions",
    )
    gradient.add_argument(
        "--alignment",
        choices=("cosine", "inner_product", "learnability"),
        help="learnability: unit gradients, each times p (1 - p) of its solve rate p (default: "
        "cosine)",
    )
    gradient.add_argument(
        "--gradients-of",
        choices=("last_layer", "adapters"),
        help="the weights (default: last_layer)",
    )
    score = parser.add_argument_group("score")
    score.add_argument(
        "--score",
        metavar="NAME",
        help="`oneshot list scores` (default: variance; probe: pass_rate)",
    )
    score.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    score.add_argument(
        "--diversity",
        type=float,
        default=0.0,
        metavar="W",
        help="0 to 1: how much the first ones shall differ from each other (default: %(default)s)",
    )
    score.add_argument(
        "--category", metavar="COLUMN", help="--diversity: what tells them apart (default: domain)"
    )
    score.add_argument(
        "--embeddings", metavar="FILE", help="--diversity: Parquet with the columns id, embedding"
    )
    files = parser.add_argument_group("output")
    files.add_argument("--top", type=int, default=10, metavar="N", help="shown (default: 10)")
    files.add_argument("--out", metavar="FILE", help="write the ranking (.parquet)")
    files.add_argument("--sets", metavar="DIR", help="write training sets")
    files.add_argument(
        "--k", metavar="K[,K]", help="--sets: of the first K examples each (default: 1,2,4,16)"
    )
    files.add_argument(
        "--ranks", metavar="R[,R]", help="--sets: one more of these ranks, such as 1,13"
    )
    files.add_argument(
        "--batch", type=int, default=128, metavar="N", help="--sets: rows (default: %(default)s)"
    )
    files.add_argument(
        "--columns",
        choices=("auto", "own", "verl", "trl"),
        default="auto",
        help="--sets: the rows' layout; auto: as published (default: %(default)s)",
    )
    files.add_argument(
        "--verifier",
        default="math_answer",
        metavar="NAME",
        help="of rows that name none (default: %(default)s)",
    )
    add_overwrite(files)
    return parser


def run(args: argparse.Namespace) -> int:
    """Ranks, writes what was asked for, and prints the top."""
    from oneshot_rlvr.cli.progress import AnswerCount, Progress, resumable
    from oneshot_rlvr.cli.ranking_table import print_selection
    from oneshot_rlvr.verbs.select import select

    sizes = _numbers("--k", args.k)
    with ExitStack() as stack:
        progress: Any = None
        answered = None
        if args.make_history:
            progress = stack.enter_context(closing(Progress()))
            stack.enter_context(resumable("Run it again to continue."))
        if args.probe:
            answered = partial(stack.enter_context(closing(AnswerCount())), "pool")
        selection = select(
            args.pool,
            history=args.history,
            make_history=args.make_history,
            visits=args.visits,
            history_out=args.history_out,
            probe=args.probe,
            model=args.model,
            temperature=args.temperature,
            max_new_tokens=args.max_new_tokens,
            stop_early=args.stop_early,
            validation=args.validation,
            alignment=args.alignment,
            gradients_of=args.gradients_of,
            score=args.score,
            seed=args.seed,
            diversity=args.diversity,
            category=args.category,
            embeddings=args.embeddings,
            out=args.out,
            sets=args.sets,
            sizes=sizes,
            ranks=_numbers("--ranks", args.ranks) or (),
            batch=args.batch,
            columns=args.columns,
            verifier=args.verifier,
            progress=progress,
            answered=answered,
            overwrite=args.overwrite,
        )
    print_selection(selection, args.top, sets=args.sets is not None)
    return 0


def _numbers(option: str, text: str | None) -> list[int] | None:
    from oneshot_rlvr.errors import ConfigError

    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ConfigError(f'{option} is "{text}"; wanted whole numbers such as 1,2,4.') from None
