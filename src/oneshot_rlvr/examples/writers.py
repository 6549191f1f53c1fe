"""Examples -> files that trainers read: our own columns, verl's or TRL's, repeated to a batch.

A row that stays in its layout is written as it was published, so that a set cut from a pool equals
the pool's own rows. Not here: which examples to write (`selection`), reading (readers.py).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples.load import Published
from oneshot_rlvr.types import Example

SUFFIXES = (".parquet", ".jsonl")


def own_row(example: Example) -> dict[str, Any]:
    """Our columns; the verifier's options stand beside them under their own names."""
    asked: dict[str, Any] = (
        {"messages": example.chat()} if example.messages else {"question": example.question}
    )
    return {"id": example.id, **asked, "answer": example.answer, **_common(example)}


def verl_row(example: Example) -> dict[str, Any]:
    """verl's columns. The options and the verifier's name go to `extra_info`, which is all that
    verl hands to a reward function."""
    # A whole number stays one, as in the published files; "007" is text.
    whole = example.id.isascii() and example.id.isdigit() and str(int(example.id)) == example.id
    index = int(example.id) if whole and len(example.id) < 19 else example.id
    info = {"index": index, "split": "train", "verifier": example.verifier, **example.extra}
    return {
        "data_source": example.family or "oneshot_rlvr",
        "prompt": example.chat(),
        "ability": example.domain or "math",
        "reward_model": {"ground_truth": example.answer, "style": "rule"},
        "extra_info": info,
    }


def trl_row(example: Example) -> dict[str, Any]:
    """TRL's columns: a conversational `prompt`, and `solution`, which its rewards are given."""
    return {
        "id": example.id,
        "prompt": example.chat(),
        "solution": example.answer,
        **_common(example),
    }


LAYOUTS: Mapping[str, Callable[[Example], dict[str, Any]]] = {
    "own": own_row,
    "verl": verl_row,
    "trl": trl_row,
}
"""Layout -> one example's row in it; names as in `columns.LAYOUTS`."""


def rows_in(published: Published, columns: str = "auto") -> list[dict[str, Any]]:
    """One row an example in the layout `columns` ("auto": the published one, verbatim)."""
    if columns in ("auto", published.layout):
        return [dict(row.fields) for row in published.rows]
    if columns not in LAYOUTS:
        raise DataError(f'columns is "{columns}"; wanted auto, {", ".join(LAYOUTS)}.')
    return _alike([LAYOUTS[columns](example) for example in published.examples])


def repeated(rows: Sequence[Mapping[str, Any]], batch: int) -> list[dict[str, Any]]:
    """The rows repeated to a batch, each row's copies together (as in the paper's files).

    Where the batch is no multiple, the first rows get a copy more. DataError for more rows than
    the batch holds.
    """
    if not rows or len(rows) > batch:
        raise DataError(f"{len(rows)} examples cannot be repeated to a batch of {batch} rows.")
    copies, more = divmod(batch, len(rows))
    return [dict(row) for number, row in enumerate(rows) for _ in range(copies + (number < more))]


def write_rows(
    path: str | Path,
    rows: Sequence[Mapping[str, Any]],
    schema: Any = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Writes rows as `encoded`. RecordsError where another file lies there and `overwrite` is not
    given."""
    from oneshot_rlvr.records.files import write_outputs

    return write_outputs({Path(path): encoded(path, rows, schema)}, overwrite=overwrite)[0]


def encoded(path: str | Path, rows: Sequence[Mapping[str, Any]], schema: Any = None) -> bytes:
    """Rows as Parquet (with the Arrow `schema`, where given) or as JSONL, by the path's suffix.

    DataError for another suffix, and for rows that no table can hold (a column of text here and of
    numbers there).
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise DataError(f'{path} ends in "{path.suffix}"; wanted {" or ".join(SUFFIXES)}.')
    if path.suffix == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return "".join(lines).encode("utf-8", "replace")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not Table.from_pylist alone: without a schema it takes the first row's columns for all.
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: [row.get(name) for row in rows] for name in names}
        table = pa.table(columns, schema=schema)
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"{path}: the rows do not fit one table ({' '.join(str(error).split())}). "
            "Write .jsonl instead."
        ) from error
    return buffer.getvalue()


def schema_of(path: str | Path) -> Any:
    """The Arrow schema of a Parquet file; None of any other file."""
    path = Path(path)
    if path.suffix != ".parquet" or not path.is_file():
        return None
    import pyarrow.parquet as pq

    return pq.read_schema(path)


def _common(example: Example) -> dict[str, Any]:
    kinds = {"verifier": example.verifier, "domain": example.domain, "family": example.family}
    return {name: value for name, value in kinds.items() if value} | dict(example.extra)


def _alike(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """verl rows whose ids are whole numbers in some rows only: text in all."""
    infos = [row["extra_info"] for row in rows if "extra_info" in row]
    if any(isinstance(info["index"], str) for info in infos):
        for info in infos:
            info["index"] = str(info["index"])
    return rows
