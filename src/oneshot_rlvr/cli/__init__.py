"""The `oneshot` command. One file per verb: `add_parser(subparsers)` and `run(args) -> int`.

Words and tables only: flags become the arguments of a function in `verbs/`, and what it returns is
printed.

A user's mistake is one line on stderr and exit code 2 (130 for Ctrl-C); `--debug` shows the
traceback. Verbs import what they need inside `run`, so that `oneshot --help` is instant.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence

from oneshot_rlvr import __version__
from oneshot_rlvr.cli.parser import Parser, UsageError
from oneshot_rlvr.cli.terminal import say
from oneshot_rlvr.errors import OneshotError

VERBS = {
    "demo": "oneshot_rlvr.cli.demo",
    "init": "oneshot_rlvr.cli.init",
    "select": "oneshot_rlvr.cli.select",
    "variants": "oneshot_rlvr.cli.variants",
    "train": "oneshot_rlvr.cli.train",
    "evaluate": "oneshot_rlvr.cli.evaluate",
    "analyse": "oneshot_rlvr.cli.analyse",
    "report": "oneshot_rlvr.cli.report",
    "runs": "oneshot_rlvr.cli.runs",
    "import": "oneshot_rlvr.cli.import_model",
    "diff": "oneshot_rlvr.cli.diff",
    "extrapolate": "oneshot_rlvr.cli.extrapolate",
    "watch": "oneshot_rlvr.cli.watch",
    "study": "oneshot_rlvr.cli.study",
    "export": "oneshot_rlvr.cli.export",
    "verify": "oneshot_rlvr.cli.verify",
    "list": "oneshot_rlvr.cli.list_names",
    "tiny": "oneshot_rlvr.cli.tiny",
    "doctor": "oneshot_rlvr.cli.doctor",
}

EXIT_MISTAKE, EXIT_INTERRUPTED = 2, 130


def build_parser() -> Parser:
    """The parser of every verb. Cheap: a verb's longer option lists are made when it is chosen."""
    parser = Parser(
        prog="oneshot",
        description="Reinforcement learning from verifiable rewards on one verified example.",
    )
    parser.add_argument("--version", action="version", version=f"oneshot-rlvr {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb")
    for module_name in VERBS.values():
        module = importlib.import_module(module_name)
        verb_parser = module.add_parser(verbs)
        verb_parser.set_defaults(run=module.run)
        # For the help only: `main` takes it out, so that it may stand anywhere.
        verb_parser.add_argument(
            "--debug", action="store_true", help="show the traceback of an error"
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; the exit code. Never raises for a user's mistake, except with --debug."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = [word for word in given if word != "--debug"]
    parser = build_parser()
    if not arguments:
        parser.print_help()
        return 0
    try:
        args = parser.parse_all(arguments)
        return int(args.run(args))
    except (OneshotError, UsageError, OSError, KeyboardInterrupt) as error:
        if "--debug" in given and not isinstance(error, UsageError):
            raise
        return _tell(error)


def _tell(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        say("error: interrupted.", *error.args, file=sys.stderr)
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone: nothing to tell it
        sys.stderr.close()
        return EXIT_MISTAKE
    text = str(error)
    if isinstance(error, OSError) and not isinstance(error, OneshotError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        if error.errno == errno.ENOSPC:
            text += ". Free some space, then start it again (a run with --resume)."
    say(f"error: {' '.join(text.split())}", file=sys.stderr)
    return EXIT_MISTAKE
