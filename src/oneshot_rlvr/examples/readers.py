"""Files and hub data sets -> rows: a place to name in an error, and the fields as published.

One function per file type, listed in READERS. Not here: what the fields mean (columns.py).
Nothing is executed: no pickle, no data set scripts.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr import hub
from oneshot_rlvr.errors import DataError, MissingDependencyError
from oneshot_rlvr.examples.generated import PREFIX, fields_of
from oneshot_rlvr.registry import Registry

READERS = Registry(
    "examples file type",
    {
        ".jsonl": "oneshot_rlvr.examples.readers:read_jsonl",
        ".ndjson": "oneshot_rlvr.examples.readers:read_jsonl",
        ".json": "oneshot_rlvr.examples.readers:read_json",
        ".parquet": "oneshot_rlvr.examples.readers:read_parquet",
        ".csv": "oneshot_rlvr.examples.readers:read_csv",
    },
)
"""Suffix -> reader(path: Path) -> list[Row]. JSON and CSV may be gzipped (`.jsonl.gz`)."""

_TABBED = (".tsv", ".tab", ".txt")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}

CSV_TEXT_COLUMNS = frozenset(
    {"id", "question", "answer", "prompt", "solution", "verifier", "domain", "family"}
)
"""CSV cells of these columns are text as written; any other cell that is JSON is read as JSON."""


@dataclass(frozen=True, slots=True)
class Row:
    """One published row: `where` it stands ("pool.jsonl, line 17"), and its fields."""

    where: str
    fields: Mapping[str, Any]


def read_rows(path: str, *, split: str = "train", folders: Sequence[Path] = ()) -> list[Row]:
    """All rows of a file, a folder of files, or a hub data set ("owner/name", "owner/name:config").

    `$VARIABLES` and `~` are expanded. A relative file is looked for in the working directory, in
    `folders`, then in $ONESHOT_DATA_DIR. "hub:name" is always the hub, and "reasoning_gym:NAME" a
    generator (generated.py). `split` is for hub data
    sets and folders. DataError for what cannot be found or read.
    """
    if path.startswith(PREFIX):
        return [Row(f"{path}, row {i}", fields) for i, fields in enumerate(fields_of(path))]
    if path.startswith("hub:"):
        return read_hub(path.removeprefix("hub:"), split)
    local = locate(path, folders)
    if local is None:
        if _names_hub(path):
            return read_hub(path, split)
        raise _missing(path, folders)
    if local.is_dir():
        return read_hub(str(local), split)
    suffix = _suffix(local)
    if suffix not in READERS:
        raise DataError(
            f'{local} ends in "{suffix}"; wanted a file of examples that ends in '
            f"{', '.join(READERS)} (or that with .gz), or a hub data set.{_to_save(suffix)}"
        )
    try:
        rows: list[Row] = READERS.load(suffix)(local)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{local} cannot be read: {error}.") from error
    return rows


def locate(path: str, folders: Sequence[Path] = ()) -> Path | None:
    """The first existing of: path, path in each folder, path in $ONESHOT_DATA_DIR; else None."""
    expanded = os.path.expandvars(path)
    if re.match(r"\$\{?\w", expanded):
        variable = re.match(r"\$\{?(\w+)", expanded)
        raise DataError(
            f"{path}: the environment variable {variable[1] if variable else expanded} is not set; "
            "set it to the folder that holds the data, or give the path itself."
        )
    wanted = Path(expanded).expanduser()
    candidates = [wanted]
    if not wanted.is_absolute():
        candidates += [folder / wanted for folder in _folders(folders)]
    return next((c for c in candidates if c.exists()), None)


def on_hub(path: str) -> bool:
    """Whether `read_rows` would ask the network for it."""
    return path.startswith("hub:") or (is_missing(path) and _names_hub(path))


def is_missing(path: str) -> bool:
    """Whether it names a file or folder that is not here."""
    return not path.startswith(("hub:", PREFIX)) and locate(path) is None


def names_a_file(path: str) -> bool:
    """Whether a name ends as files of examples do, be it there or not."""
    return _suffix(Path(path)) in READERS


def read_jsonl(path: Path) -> list[Row]:
    """One JSON object a line; blank lines count but hold nothing. Errors name line and field."""
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(_broken_json(where, line, error)) from error
        rows.append(Row(where, _object(fields, where)))
    return rows


def read_json(path: Path) -> list[Row]:
    """One JSON array of objects."""
    text = "".join(_lines(path))
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}"
        raise DataError(_broken_json(where, text, error)) from error
    except RecursionError as error:
        raise DataError(f"{path} nests too deeply to be a list of examples.") from error
    if not isinstance(items, list):
        raise DataError(
            f"{path} holds {_kind(items)}; wanted an array of objects. "
            "A file of one object a line ends in .jsonl."
        )
    return [
        Row(f"{path}, item {i}", _object(item, f"{path}, item {i}")) for i, item in enumerate(items)
    ]


def read_csv(path: Path) -> list[Row]:
    """A header line, then a row a line (RFC 4180). Empty cells are missing values, not text.

    Where the header has no comma but semicolons or tabs, as spreadsheets of many countries write
    it, these separate the cells.
    """
    lines = _lines(path)
    header_line = lines[0] if lines else ""
    separator = next((s for s in (",", ";", "\t") if s in header_line), ",")
    reader = csv.reader(io.StringIO("".join(lines), newline=""), strict=True, delimiter=separator)
    try:
        header = [name.strip() for name in next(reader, [])]
        double = {name for name in header if header.count(name) > 1}
        if double:
            raise DataError(f"{path} names the column {sorted(double)[0]!r} twice; rename one.")
        rows = []
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{where} has {len(cells)} cells, the header names {len(header)} columns "
                    f"({', '.join(header)}). Quote cells that hold "
                    f"{_SEPARATORS[separator]} or line breaks."
                )
            rows.append(
                Row(
                    where, {n: _cell(n, c) for n, c in zip(header, cells, strict=True) if c.strip()}
                )
            )
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, is not valid CSV: {error}.") from error
    return rows


def read_parquet(path: Path) -> list[Row]:
    """Every row of a Parquet file; nested columns become dicts and lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        items = pq.read_table(path).to_pylist()
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {_one_line(error)}.") from error
    return [Row(f"{path}, row {i}", fields) for i, fields in enumerate(items)]


def read_hub(name: str, split: str) -> list[Row]:
    """Every row of one split of a hub data set, "owner/name" or "owner/name:config", or a folder.

    DataError when the hub does not give it; MissingDependencyError without the datasets library.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            f'"{name}" is a data set of the hub, and reading it needs the datasets library. '
            'Install it with: pip install "oneshot-rlvr[hub]", or give a local file.'
        ) from error
    if not Path(name).exists():
        hub.look()
    repository, _, configuration = (name, "", "") if Path(name).exists() else name.partition(":")
    try:
        table = datasets.load_dataset(repository, configuration or None, split=split)
    except Exception as error:  # the library raises its own, the hub's, the network's and more
        raise DataError(
            f'The data set "{name}", split "{split}", cannot be read: {_one_line(error)}. '
            "Check its name, configuration (owner/name:config) and split, or give a local file."
        ) from error
    return [Row(f"{name} ({split}), row {i}", dict(fields)) for i, fields in enumerate(table)]


def _to_save(suffix: str) -> str:
    if suffix in (".xlsx", ".xls", ".ods", ".numbers"):
        return " Save the sheet as CSV (UTF-8)."
    return " Name it .csv if its columns have tabs between them." if suffix in _TABBED else ""


def _folders(folders: Sequence[Path]) -> list[Path]:
    data_dir = os.environ.get("ONESHOT_DATA_DIR")
    return [*folders, *([Path(data_dir)] if data_dir else [])]


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _stem(name: str) -> str:
    return name.lower().removesuffix(".gz").rpartition(".")[0] or name.lower()


def _names_hub(path: str) -> bool:
    # "owner/name" where no folder "owner" exists here, and the name does not end like a file.
    owner, _, name = path.partition("/")
    plain = re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", path) is not None
    return (
        plain
        and not owner.startswith((".", "~"))
        and not Path(owner).exists()
        and (_suffix(Path(name)) not in READERS)
    )


def _missing(path: str, folders: Sequence[Path]) -> DataError:
    wanted = Path(os.path.expandvars(path)).expanduser()
    siblings = [p.name for p in wanted.parent.iterdir()] if wanted.parent.is_dir() else []
    # By stem: two names that share nothing but their ".jsonl" are not alike.
    stems = {_stem(name): name for name in sorted(siblings, reverse=True)}
    close = difflib.get_close_matches(_stem(wanted.name), stems, n=1, cutoff=0.6)
    hint = f' Did you mean "{wanted.parent / stems[close[0]]}"?' if close else ""
    places = [Path.cwd(), *_folders(folders)]
    looked = "" if wanted.is_absolute() else f" (looked in {', '.join(map(str, places))})"
    return DataError(f"{path}: no such file{looked}.{hint}")


def _lines(path: Path) -> list[str]:
    """Lines with their ends. DataError names the line that is not UTF-8."""
    lines = []
    open_bytes = gzip.open if path.name.lower().endswith(".gz") else open
    with open_bytes(path, "rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                lines.append(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number}, byte {error.start + 1}, is not UTF-8; "
                    "save the file as UTF-8."
                ) from error
    return lines


def _broken_json(where: str, text: str, error: Exception) -> str:
    position = getattr(error, "pos", 0)
    fields = re.findall(r'"((?:[^"\\]|\\.)*)"\s*:', text[:position])
    near = f', at the field "{fields[-1]}"' if fields else ""
    column = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
    said = getattr(error, "msg", str(error))
    rest = text[position:].strip()
    hint = ""
    if text.strip() in ("[", "{"):
        hint = " One JSON object a line was wanted."
    elif said == "Extra data" and rest == ",":
        return f"{where} ends with a comma; JSON lines have none between rows. Leave it out."
    elif said.startswith("Expecting property name") and rest.startswith("'"):
        hint = " JSON has double quotes around names and texts."
    elif said.startswith("Expecting property name") and rest.startswith(("}", "]")):
        hint = " A comma stands before the closing bracket; leave it out."
    return f"{where}{near}: not valid JSON, {said}{column}.{hint}"


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(
            f"{where} holds {_kind(value)}; wanted an object with the example's fields."
        )
    return value


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "text",
        bool: "a truth value",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _cell(column: str, text: str) -> Any:
    if column in CSV_TEXT_COLUMNS:
        return text
    try:
        value = json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return text
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
