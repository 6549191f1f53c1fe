"""Compiled functions kept on disk: where, by what key, and what happens to a damaged entry.

numba's own cache asks whether the file that a function stands in has changed, and not what that
file imports. Here the folder is named by a hash of all sources of this room, of numba, llvmlite and
Python; an entry by its function, its arguments' types and the machine. So nothing is removed by
hand after an edit, and nothing is written beside the package. An entry ends with a checksum: one
that does not hold is removed and compiled again. Where nothing can be written, loops are compiled
in every process.

The place is `$NUMBA_CACHE_DIR` or the user's cache folder (`~/.cache/oneshot-rlvr`).
"""

from __future__ import annotations

import hashlib
import inspect
import io
import logging
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching, compiler, config
from numba.misc.appdirs import AppDirs

from oneshot_rlvr.kernels.narrow import instructions

log = logging.getLogger(__name__)

_KEPT = 8  # folders of other sources and versions: somebody goes back and forth between branches
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


@cache
def sources_key() -> str:
    """Of everything that changes the code of any loop here, except the machine; of that, which
    instructions it lends to this process."""
    parts = [numba.__version__, llvmlite.__version__, platform.python_version()]
    parts += [f"{name}={getattr(config, name, None)}" for name in _SETTINGS]
    parts.append(instructions())
    told = hashlib.sha256("\n".join(parts).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        told.update(path.name.encode() + b"\0" + path.read_bytes())
    return told.hexdigest()[:20]


def folder() -> Path:
    """Where entries are; it need not exist."""
    told: str = getattr(config, "CACHE_DIR", "")
    root = told or AppDirs(appname="oneshot-rlvr", appauthor=False).user_cache_dir
    return Path(root) / "kernels" / sources_key()


class KernelCache(caching.NullCache):
    """What numba asks for compiled forms of one function; one file a form."""

    def __init__(self, function: Any):
        self._function = function
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        # Code, for functions of other rooms: their sources are not in the folder's name.
        self._own = hashlib.sha256(_source(function)).hexdigest()[:12]
        self._name = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """For `Dispatcher.stats`."""
        return str(folder())

    def enable(self) -> None:
        """Entries are read and written again."""
        self._enabled = True

    def disable(self) -> None:
        """Entries are neither read nor written from now on."""
        self._enabled = False

    def flush(self) -> None:
        """Forgets this function's entries."""
        for path in self.entries():
            path.unlink(missing_ok=True)

    def entries(self) -> list[Path]:
        """Files of this function's forms."""
        return sorted(folder().glob(f"{self._name}-{self._own}-*.nbc"))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled form for these types of arguments, or None."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        if not self._enabled:
            return None
        try:
            found = _Files().load(path)
            return compiler.CompileResult._rebuild(target_context, *found)
        except FileNotFoundError:
            return None
        # What a reader of damaged bytes raises is anything; the loop can always be compiled.
        except Exception as error:
            log.warning("%s is damaged (%s): compiling this loop again", path, _words(error))
            with suppress(OSError):
                path.unlink()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps a compiled form, where that is possible."""
        if not self._enabled or any(not x.can_cache for x in data.lifted):
            return
        if data.library.has_dynamic_globals:  # it holds addresses of this process
            return
        path = self._path(sig, data.codegen)
        try:
            if not path.parent.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _forget_old(path.parent)
            _Files().save(path, data._reduce())
        except OSError as error:
            _say_once(path.parent, error.strerror or _words(error))

    def _path(self, sig: Any, codegen: Any) -> Path:
        told = repr((sig, codegen.magic_tuple()))
        form = hashlib.sha256(told.encode()).hexdigest()[:16]
        return folder() / f"{self._name}-{self._own}-{form}.nbc"


class _Files(caching.IndexDataCacheFile):
    """numba's reading and writing of one entry, with a checksum behind it."""

    def __init__(self) -> None:
        super().__init__("", "", None)

    def save(self, path: Path, data: Any) -> None:
        """Whole or not at all."""
        self._save_data(str(path), data)

    def load(self, path: Path) -> Any:
        """FileNotFoundError without an entry, ValueError where it is not what was written."""
        written = path.read_bytes()
        content, told = written[:-32], written[-32:]
        if hashlib.sha256(content).digest() != told:
            raise ValueError(f"{len(written)} bytes whose checksum does not hold")
        return self._load_data(str(path))

    def _data_path(self, name: str) -> str:
        return name

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        with super()._open_for_write(filepath) as file:
            content = io.BytesIO()
            yield content
            file.write(content.getvalue() + hashlib.sha256(content.getvalue()).digest())


def _source(function: Any) -> bytes:
    """Of the file that a function stands in, else its code."""
    try:
        return Path(inspect.getfile(function)).read_bytes()
    except (OSError, TypeError):
        return bytes(function.__code__.co_code) + repr(function.__code__.co_consts).encode()


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


@cache
def _say_once(place: Path, reason: str) -> None:
    log.warning(
        "compiled loops cannot be kept in %s (%s): every process compiles them anew; "
        "NUMBA_CACHE_DIR names another place",
        place, reason,
    )  # fmt: skip


def _forget_old(made: Path) -> None:
    """Keeps this folder and the latest others. A process that uses one compiles again."""

    def age(path: Path) -> float:
        try:
            return -path.stat().st_mtime
        except OSError:
            return 0.0

    others = [path for path in made.parent.iterdir() if path != made and path.is_dir()]
    for path in sorted(others, key=age)[_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
