"""Writing so that a reader, or a crash, never meets half a file.

Whole files are written beside and renamed; lines are appended and flushed, and a line that did not
fit is cut off again. Not here: what the files mean.
"""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import RecordsError, RunError, room

try:
    import fcntl
except ImportError:  # Windows has no flock; two writers are then the user's own care
    fcntl = None  # type: ignore[assignment]


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """OSError -> RecordsError that names the path and, where there is no room, the way on."""
    try:
        yield
    except OSError as error:
        told = f"{path} could not be written: {error.strerror or error}"
        if advice := room(error):
            told += f". Nothing recorded before is lost: {advice}"
        raise RecordsError(told) from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside, sync, rename. The old file stands until the new one is whole, also where two
    processes write one path at once."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


def write_outputs(outputs: Mapping[Path, bytes], *, overwrite: bool = False) -> list[Path]:
    """Files where a user asked for them: all of them, or none where one is refused.

    The rule of everything that is not a run's own record: what lies there already stays, unless it
    is the very same or `overwrite` is given. RecordsError says which file is in the way.
    """
    for path, data in outputs.items():
        if not overwrite and _is_another(path, data):
            refuse_taken(path)
    for path, data in outputs.items():
        with disk_errors(path):
            if path.exists() and not path.is_file() and not path.is_dir():
                path.write_bytes(data)  # a pipe or a terminal
            elif overwrite or not path.exists():
                write_atomic(path, data)
    return list(outputs)


def refuse_unwritable(folder: Path) -> None:
    """RecordsError now, and not after the work, for a folder that cannot be written."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"?")
            file.flush()


def refuse_taken(path: Path, *, overwrite: bool = False) -> None:
    """RecordsError where something lies at a path that only `overwrite` may replace."""
    if path.exists() and not overwrite:
        raise RecordsError(
            f"{path} is there already and is not the same; it is left alone. Choose another place, "
            "or replace it with --overwrite"
        )


def _is_another(path: Path, data: bytes) -> bool:
    """Whether something lies there that is not just that."""
    with disk_errors(path):
        if not path.exists():
            return False
        if path.is_dir():
            return True
        return path.is_file() and path.read_bytes() != data


def append_line(path: Path, line: bytes, *, sync: bool = True) -> None:
    """Append one line and flush it, to the disk itself with `sync`; on failure the file is as it
    was."""
    with disk_errors(path), open(path, "ab", buffering=0) as file:
        append(file, line + b"\n", sync=sync)


def append(file: io.FileIO, data: bytes, *, sync: bool = False) -> None:
    """Appends to a file that is open without a buffer; on failure (OSError) it is as it was.

    What a buffer could not write it would write once more when it is closed: the end of a line
    whose beginning has been cut off again.
    """
    size, view = file.seek(0, os.SEEK_END), memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
        if sync:
            os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), size)
        raise


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """Strict UTF-8 JSON: nan and infinity become null, numpy scalars plain numbers."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8")


def plain(value: Any) -> Any:
    """JSON's own types. TypeError (a programmer's mistake) for what has no plain form."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set) else value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # numpy or torch scalar
        return plain(value.item())
    raise TypeError(f"{type(value).__name__} cannot be recorded; give numbers, text, lists or maps")


def clean_text(text: str) -> str:
    """Model text may hold lone surrogates, which UTF-8 cannot; they become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a lines file. An unfinished last line (a live run) is left out.

    RecordsError naming file and line for anything else that is not a JSON object.
    """
    if not path.exists():
        return []
    rows = []
    whole = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline is unfinished
    for number, line in enumerate(whole, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RecordsError(f"{path}, line {number}: broken JSON ({error})") from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise RecordsError(f'{path}, line {number}: not an object with a whole "step"')
        rows.append(row)
    return rows


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock. Takes nothing and leaves nothing behind."""
    if fcntl is None or not path.exists():
        return False
    with suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


class Lock:
    """An exclusive hold on a run directory, dropped by the kernel if the process dies."""

    def __init__(
        self, path: Path, otherwise: str = "Wait for it or choose another directory with --out"
    ):
        self._path = path
        with disk_errors(path):
            self._file = open(path, "a+")  # noqa: SIM115 - held open as long as the lock
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._file.close()
                raise RunError(
                    f"{path.parent} is being written by another process. {otherwise}"
                ) from error

    def stands(self) -> bool:
        """Whether its file is still the one that others find."""
        return same_file(self._file.fileno(), self._path)

    def check(self) -> None:
        """RunError where the directory has been removed or renamed since, or is another one."""
        if not self.stands():
            raise RunError(
                f"{self._path.parent} was removed or renamed while it was being written. Nothing "
                "more is written: what would be made there lacks its beginning. Put it back and "
                "continue with --resume"
            )

    def release(self) -> None:
        self._file.close()


@contextmanager
def only_writer(target: Path) -> Iterator[None]:
    """Makes a file or folder that is in no run. RunError where another process makes it now."""
    path = target.with_name(f".{target.name}.lock")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            lock = Lock(path)
        except RunError as error:
            raise RunError(
                f"{target} is being written by another process. Wait for it or choose another place"
            ) from error
        if lock.stands():  # else whoever had it took it away with itself, and it is not the one
            break
        lock.release()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def same_file(handle: int, path: Path) -> bool:
    """Whether the path still leads to the file that is open."""
    try:
        there = os.stat(path)
    except OSError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def shortest_names(paths: Sequence[Path]) -> list[str]:
    """The names of different paths, with as many parents as tell them apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"{len(paths)} paths of which two are equal")
