"""The `oneshot` command. One file per verb: `add_parser(subparsers)` and `run(args) -> int`.

Words and tables only: flags become the arguments of a function in `verbs/`, and what it returns is
printed.

A user's mistake is one line on stderr and exit code 2 (130 for Ctrl-C), also where that line finds
no room; `--debug` shows the traceback. Verbs import what they need inside `run`, so that
`oneshot --help` is instant.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress

from oneshot_rlvr import __version__
from oneshot_rlvr.cli.parser import Parser, UsageError
from oneshot_rlvr.cli.terminal import flush, give_up, say, tame_log
from oneshot_rlvr.errors import OneshotError, room

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
    try:
        return _run([word for word in given if word != "--debug"])
    except (Exception, KeyboardInterrupt) as error:
        told = isinstance(error, (OneshotError, UsageError, OSError, KeyboardInterrupt))
        # A full disk is no bug of ours, whatever the error that a library made of it.
        if not told and not room(error):
            raise
        if "--debug" in given and not isinstance(error, UsageError):
            raise
        return _tell(error)


def _run(arguments: Sequence[str]) -> int:
    tame_log()
    parser = build_parser()
    try:
        if arguments:
            args = parser.parse_all(arguments)
            code = int(args.run(args))
        else:
            parser.print_help()
            code = 0
    except SystemExit:  # after --help
        flush()
        raise
    flush()
    return code


def _tell(error: BaseException) -> int:
    """Says what went wrong; the exit code, whether or not there is room for the words."""
    with suppress(OSError, ValueError):
        if isinstance(error, KeyboardInterrupt):
            say("error: interrupted.", *error.args, file=sys.stderr)
        elif not isinstance(error, BrokenPipeError):  # else whoever read our output has gone
            say(f"error: {' '.join(_words(error).split())}", file=sys.stderr)
    give_up()
    return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_MISTAKE


def _words(error: BaseException) -> str:
    text = str(error)
    if not isinstance(error, Exception) or isinstance(error, OneshotError | UsageError):
        return text
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        _, path, why = error.args[0][0]  # of all the files that were not copied, the first
        text = f"{path} could not be written: {why}"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    advice = room(error)
    return f"{text}. {advice[0].upper()}{advice[1:]}." if advice else text
