"""argparse with one-line errors and with options that are made only when their verb is chosen.

Not here: what any option means.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from oneshot_rlvr.registry import nearest

ALSO_CALLED = {
    "serve": "watch",
    "dashboard": "watch",
    "view": "watch",
    "new": "init",
    "start": "init",
    "test": "evaluate",
    "eval": "evaluate",
    "grade": "verify",
    "check": "verify",
    "ls": "runs",
    "status": "runs",
    "analyze": "analyse",
    "convert": "import",
    "generate": "variants",
    "rewards": "arms",
    "models": "engines",
}
"""What people type for a word of the command line that is spelt otherwise."""


class UsageError(Exception):
    """A command line that does not fit the verb; its text is the one line to print."""


class Parser(argparse.ArgumentParser):
    """Never abbreviates, never prints a usage block over an error, and may fill itself late.

    `fill` adds options when the parser is used; `unknown` makes the sentence for an option that
    the verb does not have.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        # Abbreviations would make `--train.step` mean train.steps in silence.
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self.fill: Callable[[Parser], None] | None = None
        self.unknown: Callable[[str], str] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, with the late options in place."""
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        namespace, rest = super().parse_known_args(args, namespace)
        options = [word.partition("=")[0] for word in rest if word.startswith("--")]
        if options and self.unknown is not None:
            raise UsageError(self.unknown(options[0]))
        if options and (near := nearest(options[0], [o for o in self._own() if o[:2] == "--"])):
            raise UsageError(f"unknown argument {options[0]!r}.{near} See `{self.prog} --help`.")
        return namespace, rest

    def _own(self) -> list[str]:
        """The options of this parser; none of one that only has verbs."""
        verbs = any(isinstance(a, argparse._SubParsersAction) for a in self._actions)
        return [] if verbs else list(self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse, with the word that was meant."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            known = [str(choice) for choice in action.choices or ()]
            meant = ALSO_CALLED.get(str(value))
            near = f' Did you mean "{meant}"?' if meant in known else nearest(str(value), known)
            raise argparse.ArgumentError(
                action, f'"{value}" is not known.{near} Known: {", ".join(known)}'
            ) from error

    def parse_all(self, args: Sequence[str]) -> argparse.Namespace:
        """The parsed arguments; UsageError for anything left over."""
        namespace, rest = self.parse_known_args(args)
        if rest:
            verb = getattr(namespace, "verb", None)
            file = Path(rest[0])
            hint = (
                f" A file of examples is given with --examples.path {file}."
                if verb == "train" and file.suffix and file.is_file()
                else ""
            )
            raise UsageError(
                f"unknown argument {rest[0]!r}.{hint} "
                f"See `{' '.join(word for word in (self.prog, verb) if word)} --help`."
            )
        return namespace

    def error(self, message: str) -> NoReturn:
        """One line instead of a usage block."""
        raise UsageError(f"{message}. See `{self.prog} --help`.")


def add_overwrite(parser: argparse._ActionsContainer) -> None:
    """The one way to let a verb replace a file that is there and is another."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace another file that lies where the output goes (default: refuse)",
    )


def names_in(text: str) -> list[str]:
    """The names of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
