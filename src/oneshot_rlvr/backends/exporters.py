"""Other trainers that a recipe can be written out for: name -> exporter.

An exporter is `export(recipe: Recipe, out: Path) -> Exported`. It writes files into `out`, which
is empty or new, and starts nothing. It refuses, by name, what the other trainer has no counterpart
for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.registry import Registry


@dataclass(frozen=True, slots=True)
class Exported:
    """The files written, the command that trains with them, and what to know before it."""

    files: list[Path]
    command: str
    notes: list[str] = field(default_factory=list)


class Exporter(Protocol):
    """What stands behind a name."""

    def __call__(self, recipe: Recipe, out: Path) -> Exported:
        """Writes the recipe out."""


EXPORTERS = Registry(
    "export target",
    {
        "verl": "oneshot_rlvr.backends.verl.export:export",
        "trl": "oneshot_rlvr.backends.trl.export:export",
    },
)


def refuse_gguf(path: str, trainer: str) -> None:
    """ConfigError for a `model.path` that only this package loads."""
    if path == "smollm2" or path.lower().endswith(".gguf"):
        raise ConfigError(
            f'{trainer} has no counterpart for model.path = "{path}" (it loads directories only: '
            f"oneshot import {path} -o DIR, then model.path = DIR). Change it."
        )
