"""What tests of several rooms need before a fixture could give it, and how they read tables.

No product code and no test: `pythonpath` of pytest's settings names this folder, for it alone.
"""

from __future__ import annotations

import importlib.util
import io
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from rich.console import Console


def load_file(path: Path) -> ModuleType:
    """Imports a file that belongs to no package: a test's helper (tests are none), a script.

    Once: as with `import`, who asks again is given the same module.
    """
    name, path = path.stem, path.resolve()
    known = sys.modules.get(name)
    if known is not None:
        assert Path(str(known.__file__)) == path, f"{name} is {known.__file__} already"
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def kept_console(width: int, *, terminal: bool = False) -> tuple[Console, io.StringIO]:
    """A console of that width, and what is printed to it."""
    out = io.StringIO()
    return Console(file=out, width=width, force_terminal=terminal), out


def widest(text: str) -> int:
    """Characters of the longest line."""
    return max(len(line) for line in text.splitlines())


def table_rows(text: str, first: str = "") -> list[list[str]]:
    """The rows of the drawn tables in a text, whose first cell begins with `first`.

    A cell keeps its padding: indents and alignment are what a reader sees. Heads are no rows.
    """
    lines = [line.strip() for line in text.splitlines()]
    rows = [line.split("│")[1:-1] for line in lines if line[:1] == line[-1:] == "│"]
    return [row for row in rows if row[0].strip().startswith(first)]


def markdown_rows(text: str) -> list[list[str]]:
    """The rows of the tables in a Markdown text, each with its head as the first, without padding.

    The rule below a head is no row.
    """
    lines = [line.strip() for line in text.splitlines()]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    rows = [[cell.strip() for cell in row] for row in rows]
    return [row for row in rows if not all(re.fullmatch(":?-+:?", cell) for cell in row)]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a quota or a full disk: no file grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
