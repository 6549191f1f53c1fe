"""`oneshot tiny ...`: the embedded world: its problems, its base model."""

from __future__ import annotations

import argparse
import json
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import console as terminal_console
from oneshot_rlvr.cli.terminal import say

GROUPS = ("math", "other", "all")


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb and its own verbs; each of them sets `tiny_run`."""
    parser: Parser = subparsers.add_parser(
        "tiny",
        help="the embedded world: print its problems, choose an example, pretrain its base",
        description="The embedded world of generated problems and its base model.",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="tiny_verb", required=True)
    _add_examples(verbs)
    _add_choose(verbs)
    _add_pretrain(verbs)
    return parser


def run(args: argparse.Namespace) -> int:
    """Hands over to the chosen verb."""
    return int(args.tiny_run(args))


def _add_examples(verbs: Any) -> None:
    parser = verbs.add_parser(
        "examples",
        help="print generated problems as JSONL, ready for `examples.path`",
        description="Prints generated problems, one JSON object a line.",
    )
    parser.add_argument(
        "family", metavar="FAMILY", help="see `oneshot list families`; or math, other, all of them"
    )
    parser.add_argument(
        "--count", type=int, default=5, metavar="N", help="of each family (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="train",
        help="(default: %(default)s)",
    )
    parser.set_defaults(tiny_run=_print_examples)


def _print_examples(args: argparse.Namespace) -> int:
    from oneshot_rlvr.errors import UnknownNameError
    from oneshot_rlvr.examples.writers import own_row
    from oneshot_rlvr.registry import nearest
    from oneshot_rlvr.tiny import tasks

    families = _families(args.family)
    if not families:
        known = [*GROUPS, *tasks.FAMILIES]
        raise UnknownNameError(
            f'"{args.family}" is not a known family.{nearest(args.family, known)} '
            f"Known: {', '.join(known)}."
        )
    for family in families:
        for example in tasks.generate(family, args.seed, args.count, args.split):
            say(json.dumps(own_row(example), ensure_ascii=False))
    return 0


def _add_choose(verbs: Any) -> None:
    parser = verbs.add_parser(
        "choose",
        help="find the example that the base solves about half the time",
        description="Samples answers of a model to items of the train split and ranks the items "
        "by p(1-p), p being the share of right answers: a group of rollouts teaches only where "
        "some are right and some wrong. Tells what it cost.",
    )
    parser.add_argument("--model", default="tiny", metavar="MODEL", help="(default: %(default)s)")
    parser.add_argument(
        "--group",
        choices=GROUPS,
        default="math",
        help="families asked (default: %(default)s)",
    )
    parser.add_argument(
        "--per-family", type=int, default=22, metavar="N", help="items each (default: %(default)s)"
    )
    parser.add_argument(
        "--rollouts", type=int, default=64, metavar="K", help="answers each (default: %(default)s)"
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="(default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--top", type=int, default=10, metavar="N", help="items shown (default: %(default)s)"
    )
    parser.set_defaults(tiny_run=_choose)


def _choose(args: argparse.Namespace) -> int:
    from rich.table import Table

    from oneshot_rlvr.cli.ranking_table import cost_words
    from oneshot_rlvr.rollouts.threads import set_threads
    from oneshot_rlvr.selection import from_samples, rank
    from oneshot_rlvr.tiny import tasks
    from oneshot_rlvr.verbs.pool import probe
    from oneshot_rlvr.verbs.subjects import find_model

    items = [
        item
        for family in _families(args.group)
        for item in tasks.generate(family, args.seed, args.per_family, "train")
    ]
    subject = find_model(args.model)
    set_threads(subject.recipe.train.threads)
    tried = probe(
        subject.path,
        subject.recipe,
        items,
        rollouts=args.rollouts,
        temperature=args.temperature,
        seed=args.seed,
        name="tiny_train",
    )
    # The order of p(1-p): the share that is nearest to 1/2 first, ties in the order of ids.
    history = from_samples(tried.samples)
    share = dict(zip(history.ids, history.mean_E().tolist(), strict=True))
    by_id = {item.id: item for item in items}
    table = Table()
    for column in ("rank", "id", "question", "answer", "p", "p(1-p)"):
        table.add_column(column)
    for number, name in enumerate(rank(history, "pass_rate").ids[: args.top], start=1):
        item, p = by_id[name], share[name]
        cells = (item.id, item.question, item.answer, f"{p:.3f}", f"{p * (1 - p):.3f}")
        table.add_row(str(number), *cells)
    console = terminal_console()
    console = console if console.is_terminal else terminal_console(width=140)
    console.print(table)
    solved = sum(0 < p < 1 for p in share.values())
    console.print(
        f"{len(items)} items, {cost_words(tried.cost)}; {solved} items solved sometimes",
        highlight=False,
    )
    return 0


def _families(group: str) -> list[str]:
    """The families of a group; a family's own name names itself."""
    from oneshot_rlvr.tiny import tasks

    if group in tasks.FAMILIES:
        return [group]
    return [f.name for f in tasks.FAMILIES.values() if group in ("all", f.group)]


def _add_pretrain(verbs: Any) -> None:
    parser = verbs.add_parser(
        "pretrain",
        help="make the base model anew (about an hour on one core)",
        description="Pretrains the tiny base on the generated corpus: tokenizer, weights and "
        "chat template as a plain Hugging Face directory. Seeded and resumable.",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where the model goes")
    parser.add_argument(
        "--tokens",
        type=float,
        metavar="M",
        help="millions to train on (default: the packaged base's)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the last saved state")
    parser.set_defaults(tiny_run=_pretrain)


def _pretrain(args: argparse.Namespace) -> int:
    from oneshot_rlvr.train.pretrain import PretrainSettings, pretrain

    given: dict[str, Any] = {"seed": args.seed, "threads": args.threads}
    if args.tokens is not None:
        given["tokens"] = int(args.tokens * 1_000_000)
    pretrain(
        args.out, PretrainSettings(**given), resume=args.resume, say=lambda s: say(s, flush=True)
    )
    return 0
