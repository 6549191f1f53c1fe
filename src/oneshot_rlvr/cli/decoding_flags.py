"""How answers are drawn, as flags: what `oneshot evaluate` takes beside the benchmarks' own."""

from __future__ import annotations

import argparse
import json
from typing import Any

from oneshot_rlvr.cli.parser import Parser


def add_decoding(parser: Parser) -> None:
    """How answers are drawn beyond the temperature; off, or the recipe's own, where not given."""
    add = parser.add_argument_group("decoding").add_argument
    add(
        "--decoding",
        choices=("benchmark", "recommended"),
        default="benchmark",
        help="recommended: temperature, top-p ... of the model's generation_config.json, and says "
        "which (default: the benchmark's)",
    )
    add("--top-p", type=float, metavar="P", help="draw from the best tokens of this mass alone")
    add("--top-k", type=int, metavar="k", help="draw from so many best tokens alone; 0: off")
    add("--min-p", type=float, metavar="P", help="from tokens of this share of the best's chance")
    add("--repetition-penalty", type=float, metavar="X", help="on tokens that were there; 1: off")
    add("--stop", action="append", metavar="TEXT", help="answers end before it; may be repeated")
    add("--system", metavar="TEXT", help="system turn, in place of the benchmark's; '' for none")
    add(
        "--template-argument",
        action="append",
        metavar="NAME=VALUE",
        help="of the chat template, as enable_thinking=false; may be repeated",
    )


def decoding_of(args: argparse.Namespace) -> dict[str, Any]:
    """The same as keywords of `evaluate` and `ask`. ConfigError for an argument without a value."""
    from oneshot_rlvr.errors import ConfigError

    arguments: dict[str, Any] = {}
    for text in args.template_argument or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigError(
                f"--template-argument is {text!r}; wanted NAME=VALUE, as enable_thinking=false."
            )
        try:
            arguments[name] = json.loads(value)
        except ValueError:
            arguments[name] = value
    return {
        "top_p": args.top_p,
        "top_k": args.top_k,
        "min_p": args.min_p,
        "repetition_penalty": args.repetition_penalty,
        "stop": args.stop,
        "system": args.system,
        "template_arguments": arguments or None,
    }
