"""Where histories come from: records of a run, graded samples, the paper's JSON, tables.

A run's directory   a visit is a step at which the example was asked; its accuracy the exact share
                    of right rollouts of that step
JSON                {index: [accuracy, ...]}, as the paper's code writes it
CSV, Parquet        long: columns example, visit, accuracy, one row a visit
Parquet             graded samples (example_id, correct; extracted for entropy): one visit each

What is missing is counted in the history's notes, what is wrong is refused. Not here: scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.records import Run
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.selection.entropy import answer_entropy
from oneshot_rlvr.selection.history import FloatArray, History, from_visits

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("example", "visit", "accuracy")
SAMPLE_COLUMNS = ("example_id", "correct")


def read_history(path: str | Path) -> History:
    """The history that a run's directory or a file holds. DataError for what cannot be one."""
    path = Path(path)
    if path.is_dir():
        return from_run(Run(path))
    if not path.exists():
        raise DataError(f"no history at {path}; give a run's directory or a .json, .csv, .parquet")
    if path.suffix == ".json":
        return _from_json(path)
    if path.suffix not in (".csv", ".parquet"):
        raise DataError(
            f'{path} ends in "{path.suffix}"; a history is a run\'s directory or a .json '
            "({index: [accuracy, ...]}), .csv or .parquet (columns example, visit, accuracy)"
        )
    table = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    if set(SAMPLE_COLUMNS) <= set(table.column_names):
        return _from_sample_table(table, str(path))
    return _from_table(table, str(path))


def from_run(run: Run) -> History:
    """A visit a step, over all rollouts of an example in that step. DataError without rollouts."""
    import pyarrow as pa

    visits, answers = [], []
    for step, table in run.rollout_tables(["example_id", "correct", "extracted"]):
        found = table.group_by("example_id").aggregate([("correct", "sum"), ("correct", "count")])
        visits.append(found.append_column("step", pa.array(np.full(len(found), step))))
        answers.append(table.group_by(["example_id", "extracted"]).aggregate([([], "count_all")]))
    if not visits:
        raise DataError(f"{run.directory} has no recorded rollouts; nothing tells a history")
    return _exact(
        pa.concat_tables(visits), pa.concat_tables(answers), str(run.directory), order="step"
    )


def from_samples(samples: Iterable[Mapping[str, Any]], source: str = "samples") -> History:
    """One visit an example: the share of its right answers. Columns of records.schema."""
    import pyarrow as pa

    rows = list(samples)
    columns = ("example_id", "correct", "extracted")
    table = pa.table({name: [row.get(name) for row in rows] for name in columns})
    return _from_sample_table(table, source)


def _from_sample_table(table: pa.Table, source: str) -> History:
    import pyarrow as pa

    if not len(table):
        raise DataError(f"{source} holds no graded samples; nothing tells a history")
    table = table.set_column(
        table.column_names.index("correct"), "correct", _as(table, "correct", pa.bool_(), source)
    )
    table = table.set_column(
        table.column_names.index("example_id"),
        "example_id",
        _as(table, "example_id", pa.string(), source),
    )
    visits = table.group_by("example_id").aggregate([("correct", "sum"), ("correct", "count")])
    answers = None
    if "extracted" in table.column_names:
        answers = table.group_by(["example_id", "extracted"]).aggregate([([], "count_all")])
    return _exact(visits, answers, source)


def _exact(
    visits: pa.Table, answers: pa.Table | None, source: str, order: str | None = None
) -> History:
    """Counts of right rollouts -> shares; columns example_id, correct_sum, correct_count."""
    ids, example_V = _coded(visits["example_id"])
    right, total = (visits[f"correct_{name}"].to_numpy() for name in ("sum", "count"))
    accuracy_V = np.divide(right, total, out=np.full(len(total), np.nan), where=total > 0)
    if order is not None:
        placed = np.argsort(visits[order].to_numpy(), kind="stable")
        example_V, accuracy_V = example_V[placed], accuracy_V[placed]
    history = from_visits(ids, example_V, accuracy_V, source=source)
    if answers is None:
        return history
    # One line an (example, answer), also where several steps saw it.
    answers = answers.group_by(["example_id", "extracted"]).aggregate([("count_all", "sum")])
    place = {name: number for number, name in enumerate(ids)}
    example_A = np.array([place[name] for name in answers["example_id"].to_pylist()])
    counts_A = answers["count_all_sum"].to_numpy()
    return replace(history, answer_entropy_E=answer_entropy(example_A, counts_A, len(ids)))


def _from_table(table: pa.Table, source: str) -> History:
    import pyarrow as pa

    for name in COLUMNS:
        if name not in table.column_names:
            raise DataError(
                f'{source} has no column "{name}"; it has {", ".join(table.column_names) or "none"}'
                f".{nearest(name, table.column_names)} A history in a table has the columns "
                f"{', '.join(COLUMNS)}, one row a visit"
            )
    if not len(table):
        raise DataError(f"{source} holds no visit; wanted at least one accuracy of one example")
    ids, example_V = _coded(_as(table, "example", pa.string(), source))
    visit_V = _as(table, "visit", pa.int64(), source).to_numpy()
    accuracy_V = _as(table, "accuracy", pa.float64(), source).to_numpy(zero_copy_only=False)
    if not _in_order(example_V, visit_V):  # most tables are, and sorting is what takes time
        order = np.lexsort((visit_V, example_V))
        example_V, visit_V, accuracy_V = example_V[order], visit_V[order], accuracy_V[order]
    double = (example_V[1:] == example_V[:-1]) & (visit_V[1:] == visit_V[:-1])
    if double.any():
        at = int(np.argmax(double))
        raise DataError(
            f"{source}: example {ids[example_V[at]]!r} has visit {visit_V[at]} twice "
            f"({int(double.sum()):,} such rows); wanted one row a visit"
        )
    return from_visits(ids, example_V, accuracy_V, source=source)


def _in_order(example_V: NDArray[np.int64], visit_V: NDArray[np.int64]) -> bool:
    """Example after example, each one's visits from the first to the last."""
    same = example_V[1:] == example_V[:-1]
    rising = visit_V[1:] >= visit_V[:-1]
    return bool(np.all((example_V[1:] > example_V[:-1]) | (same & rising)))


def _from_json(path: Path) -> History:
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # DataError is a ValueError too
        raise DataError(f"{path}: {error}") from error
    if not isinstance(data, dict) or not data:
        kind = "an empty object" if isinstance(data, dict) else f"a {type(data).__name__}"
        raise DataError(f"{path} holds {kind}; wanted {{index: [accuracy, accuracy, ...]}}")
    for name, visits in data.items():
        if not isinstance(visits, list):
            raise DataError(
                f"{path}: index {name!r} has {visits!r:.40}; wanted a list of accuracies"
            )
    lengths = np.fromiter((len(v) for v in data.values()), dtype=np.int64, count=len(data))
    example_V = np.repeat(np.arange(len(data)), lengths)
    return from_visits(list(data), example_V, _numbers(path, data), source=str(path))


def _numbers(path: Path, data: Mapping[str, Sequence[Any]]) -> FloatArray:
    flat = np.array([*chain.from_iterable(data.values())], dtype=object)
    kinds = {type(value) for value in flat.tolist()}
    if not kinds <= {float, int, type(None)}:
        name, value = next(
            (name, value)
            for name, visits in data.items()
            for value in visits
            if type(value) not in (float, int, type(None))
        )
        raise DataError(f"{path}: index {name!r} has the accuracy {value!r:.40}; wanted a number")
    return flat.astype(np.float64)  # None becomes nan: a visit that was not measured


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise DataError(f"index {name!r} is there twice; ids must be unique")
            seen.add(name)
    return found


def _coded(column: Any) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts in order of appearance, and the place of each row's among them."""
    import pyarrow as pa

    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = encoded.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _as(table: pa.Table, name: str, kind: pa.DataType, source: str) -> Any:
    """The column as another type; whole numbers become ids. DataError where a cell is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # a column without rows
        column = pa.concat_arrays(column.chunks) if column.num_chunks else column.chunk(0)
    try:
        cast = column.cast(kind)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f'{source}, column "{name}": {" ".join(str(error).split())}; wanted {_WORDS[name]}'
        ) from error
    if name != "accuracy" and cast.null_count:
        row = int(np.argmax(pc.is_null(cast).to_numpy(zero_copy_only=False)))
        raise DataError(
            f'{source}, row {row}: "{name}" is empty ({cast.null_count:,} such rows); wanted '
            f"{_WORDS[name]}"
        )
    return cast


_WORDS = {
    "example": "the id of an example",
    "example_id": "the id of an example",
    "visit": "a whole number that orders the visits",
    "accuracy": "a share of 0..1",
    "correct": "true or false",
}


def _read_csv(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    texts = {"example": pa.string(), "example_id": pa.string(), "extracted": pa.string()}
    options = csv.ConvertOptions(column_types=texts, strings_can_be_null=True)
    try:
        return csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} is not readable CSV: {' '.join(str(error).split())}") from error


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            known = {*COLUMNS, *SAMPLE_COLUMNS, "extracted"}
            here = file.schema_arrow.names
            whole = set(COLUMNS) <= set(here) or set(SAMPLE_COLUMNS) <= set(here)
            return file.read([name for name in here if name in known] if whole else None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path} is not readable Parquet: {' '.join(str(error).split())}"
        ) from error
