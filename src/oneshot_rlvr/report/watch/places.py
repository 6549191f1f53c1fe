"""A run, or a folder of runs -> the runs that may be shown, by name. Nothing outside the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from oneshot_rlvr.errors import RunError
from oneshot_rlvr.records import schema

DEPTH = 3
"""Folders below the given one in which runs are looked for."""
MOST = 500


def is_run(directory: Path) -> bool:
    """Whether a run's document lies there."""
    return (directory / schema.RUN).is_file()


def checked(path: str | Path) -> Path:
    """The folder or run, resolved. RunError where there is none."""
    found = Path(path)
    if not found.is_dir():
        raise RunError(f"{found} is no folder; name a run's directory, or a folder of runs")
    return found.resolve()


def runs_in(root: Path) -> dict[str, Path]:
    """Name -> directory of the runs below a folder, by name; links that lead out are left out."""
    found: dict[str, Path] = {}
    for directory in _walk(root, DEPTH):
        real = directory.resolve()
        if is_run(real) and real.is_relative_to(root):
            found[directory.relative_to(root).as_posix()] = real
            if len(found) >= MOST:
                break
    return dict(sorted(found.items()))


def _nameable(name: str) -> bool:
    """Whether an address can hold it: a disk may hold names that are no text."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Folders below, those that are runs not entered."""
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return
    for path in below:
        if path.name.startswith(".") or not _nameable(path.name):
            continue
        yield path
        if depth > 1 and not is_run(path) and not path.is_symlink():
            yield from _walk(path, depth - 1)
