"""`oneshot variants FILE`: controls made on purpose: wrong labels, other prompts, in context."""

from __future__ import annotations

import argparse
from typing import Any

from oneshot_rlvr.cli.parser import Parser, add_overwrite
from oneshot_rlvr.cli.terminal import say


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "variants",
        help="write control examples: wrong labels, other prompts, the example in context",
        description="Examples in, examples out: a share of wrong labels, another wording or prompt "
        "template, or the example and its answer put before other questions. Golds that were "
        "replaced are kept in the column true_answer.",
    )
    parser.add_argument("examples", metavar="FILE", help="JSONL, Parquet, CSV, or a hub name")
    parser.add_argument("--out", required=True, metavar="FILE", help=".parquet or .jsonl")
    parser.add_argument("--ids", metavar="ID[,ID]", help="of these examples only")
    parser.add_argument(
        "--wrong-labels",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of wrong golds, 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--kind",
        choices=("near", "other", "unguessable"),
        default="near",
        help="of wrong gold: near is guessable, other is another example's (default: %(default)s)",
    )
    parser.add_argument("--question", metavar="TEXT", help="another wording of the one example")
    parser.add_argument(
        "--strip-suffix",
        action="store_true",
        help="without the sentence that the paper's prompts end with",
    )
    parser.add_argument(
        "--prompt", metavar="NAME", help="a template of `oneshot evaluate --prompts`, or a TOML"
    )
    parser.add_argument(
        "--in-context", metavar="FILE", help="put this file's examples before every question"
    )
    parser.add_argument(
        "--columns",
        choices=("auto", "own", "verl", "trl"),
        default="auto",
        help="layout of the rows; auto: the file's (default: %(default)s)",
    )
    parser.add_argument("--batch", type=int, metavar="N", help="repeat to so many rows")
    parser.add_argument(
        "--verifier",
        default="math_answer",
        metavar="NAME",
        help="of rows that name none (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    add_overwrite(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the file and says what is in it."""
    from oneshot_rlvr.verbs.variants import variants

    path, examples = variants(
        args.examples,
        args.out,
        ids=None if args.ids is None else args.ids.split(","),
        wrong_labels=args.wrong_labels,
        kind=args.kind,
        question=args.question,
        strip_suffix=args.strip_suffix,
        prompt=args.prompt,
        shots=[] if args.in_context is None else [args.in_context],
        columns=args.columns,
        batch=args.batch,
        verifier=args.verifier,
        seed=args.seed,
        overwrite=args.overwrite,
    )
    wrong = sum("true_answer" in example.extra for example in examples)
    say(f"Wrote {path}: {len(examples):,} examples, {wrong:,} with a wrong label")
    return 0
