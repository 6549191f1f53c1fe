"""`oneshot extrapolate RUN@a RUN@b --to STEP`: the model on the line through two checkpoints."""

from __future__ import annotations

import argparse
import json
import math
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.cli.parser import Parser, names_in
from oneshot_rlvr.cli.terminal import say

if TYPE_CHECKING:
    from oneshot_rlvr.verbs.extrapolate import Extrapolation


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "extrapolate",
        help="predict a later model from two checkpoints, and say whether that held",
        description="Weights move nearly along a line in such training, it is claimed "
        "(arXiv 2601.04537). Writes the model that lies on the line through two saved steps of a "
        "run at a later one, evaluates it as the run was tested beside the model at b and the one "
        "that the run really had there, if it was saved, and says with intervals whether the claim "
        "held.",
    )
    add = parser.add_argument
    add("a", metavar="RUN@a", help="a saved step of a run; 0 is the model it began with")
    add("b", metavar="RUN@b", help="another of the same run, or of its fork")
    add("--to", type=int, required=True, metavar="STEP", help="the step to predict, after both")
    add("--out", metavar="DIR", help="the model's directory (default: beside the run)")
    add("--benchmarks", metavar="NAME[,NAME]", help="(default: the run's test set, or validation)")
    add("--seed", type=int, metavar="N", help="of sampling and questions (default: the run's own)")
    add("--samples", type=int, metavar="K", help="answers per question (default: the run's own)")
    add("--temperature", type=float, metavar="T", help="(default: the run's own)")
    add("--questions", type=int, metavar="n", help="first n, generated: per family; 0: all")
    add("--max-new-tokens", type=int, metavar="n", help="cut answers here")
    add("--max-prompt-tokens", type=int, metavar="n", help="longer prompts are refused")
    add("--data-dir", metavar="DIR", help="look here for benchmarks' files first")
    add("--engine", metavar="NAME", help="`oneshot list engines` (default: the recipe's)")
    add("--overwrite", action="store_true", help="replace stored answers of another evaluation")
    add("--json", action="store_true", help="print the result as JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes, evaluates, and prints what it showed."""
    from oneshot_rlvr.cli.progress import AnswerCount
    from oneshot_rlvr.verbs.extrapolate import extrapolate

    names = None if args.benchmarks is None else names_in(args.benchmarks)
    found = extrapolate(
        args.a,
        args.b,
        args.to,
        out=args.out,
        benchmarks=names,
        seed=args.seed,
        samples=args.samples,
        temperature=args.temperature,
        questions=args.questions,
        max_new_tokens=args.max_new_tokens,
        max_prompt_tokens=args.max_prompt_tokens,
        data_dir=args.data_dir,
        engine=args.engine,
        overwrite=args.overwrite,
        counting=lambda: closing(AnswerCount()),
        written=lambda path: say(f"graded answers: {path}", file=sys.stderr),
    )
    if args.json:
        say(json.dumps(_finite(found.as_dict()), indent=2))
    else:
        _print(found)
    return 0


def _print(found: Extrapolation) -> None:
    from rich.table import Table
    from rich.text import Text

    from oneshot_rlvr.cli.evaluation_tables import difference, share
    from oneshot_rlvr.cli.tables import make_console

    console = make_console()
    for benchmark, told in found.told.items():
        say(f"{benchmark}: right answers in %, differences in points [95 % interval], paired by "
            f"question, n = {told.gain.over_questions.n}")  # fmt: skip
        table = Table()
        table.add_column("model")
        for column in ("right %", "less b", "less real"):
            table.add_column(column, justify="right")
        b, predicted = told.gain.before, told.gain.after
        table.add_row(Text(f"b, step {found.b.rpartition('@')[2]}"), share(b.accuracy.value))
        table.add_row(
            f"extrapolated to {found.to}",
            share(predicted.accuracy.value),
            difference(told.gain.over_questions),
            "" if told.gap is None else difference(told.gap.over_questions),
        )
        if told.moved is not None:
            table.add_row(
                f"real, step {found.to}",
                share(told.moved.after.accuracy.value),
                difference(told.moved.over_questions),
            )
        console.print(table)
        say(
            f"{benchmark}: the claim that the model on the line does what the trained one does: "
            f"{told.claim.word}."
        )
        say(f"  {told.claim.why}.")
    if found.weights is not None and not math.isnan(found.weights.cosine):
        near = "nearer than" if found.weights.error < 1 else "no nearer than"
        say(
            f"Weights: the move from a to b and the real one from b have a cosine of "
            f"{found.weights.cosine:.3f} (1: a straight line); the predicted weights miss the real "
            f"ones by {found.weights.error:.2f} of the real move, {near} those of b (1)."
        )
    for note in found.notes:
        say(f"Note: {note}.")
    say(f"Model: {found.directory}{' (was there)' if found.reused else ''}")


def _finite(value: Any) -> Any:
    """nan as null, which JSON has no other word for."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
