"""Name -> "module:attribute", imported on use, so that listing costs nothing.

A registry is where a reader looks for what exists. Unknown names list all and suggest the nearest.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import MissingDependencyError, UnknownNameError


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """' Did you mean "x"?' for a name close to a known one, else ''.

    A known name of which the given one is a whole word comes before one that is spelt alike:
    `math` is `math_answer`, and not `regex_match`.
    """
    word = name.lower()
    parts = [k for k in known if len(word) > 2 and word in re.split(r"[_/ -]", k.lower())]
    close = parts[:1] or difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f' Did you mean "{close[0]}"?' if close else ""


LOOKED_IN: list[str] = []
"""Folders beside Python's own path where a user's functions are looked for."""


def look_in(folder: str | Path) -> None:
    """A user's functions are looked for there too, and in the current folder: behind Python's own
    path, so that nothing there hides a package. Grading processes start with this one's path."""
    for place in (str(Path.cwd()), str(Path(folder).resolve())):
        if place not in sys.path:
            sys.path.append(place)
            importlib.invalidate_caches()
    if (told := str(folder)) not in LOOKED_IN:
        LOOKED_IN.append(told)


class Registry(Mapping[str, str]):
    """An ordered, read-only map of names to "module:attribute" targets.

    `extras` names, per entry, the pip extra that brings what the entry imports.
    """

    def __init__(
        self, kind: str, entries: Mapping[str, str], extras: Mapping[str, str] | None = None
    ):
        self.kind = kind
        self._entries = dict(entries)
        self._extras = dict(extras or {})

    def __getitem__(self, name: str) -> str:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(
                f'"{name}" is not a known {self.kind}.{nearest(name, self._entries)} '
                f"Known: {', '.join(sorted(self._entries))}."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, name: str) -> Any:
        """The object behind a name. UnknownNameError; MissingDependencyError with the extra."""
        module_name, _, attribute = self[name].partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            extra = self._extras.get(name)
            if extra is None:
                raise
            raise MissingDependencyError(
                f'{self.kind} "{name}" needs a package that is not installed ({error}). '
                f'Install it with: pip install "oneshot-rlvr[{extra}]"'
            ) from error
        return getattr(module, attribute)
