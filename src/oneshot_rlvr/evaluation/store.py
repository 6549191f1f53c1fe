"""Graded samples on disk: Parquet, one file an evaluation, with all that grading again needs.

A file's name says what is in it: benchmark, prompt, K, temperature, seed. Not here: run
directories (records), the journal of a server's answers (endpoint.py).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.records.files import clean_text, write_atomic
from oneshot_rlvr.records.schema import SAMPLE_COLUMNS

EXTRA_COLUMNS = pa.schema(
    [
        ("strict", pa.bool_()),
        ("lenient", pa.bool_()),
        ("repeated", pa.bool_()),
        ("vote", pa.string()),
        ("verifier", pa.string()),
        ("options", pa.string()),
        ("verifier_version", pa.string()),
        ("benchmark", pa.string()),
        ("split", pa.string()),
        ("model", pa.string()),
        ("prompt", pa.string()),
        ("temperature", pa.float64()),
        ("max_new_tokens", pa.int32()),
        ("seed", pa.int64()),
    ]
)
"""Beside records.schema.SAMPLE_COLUMNS: both readings, how it was graded, how it was sampled."""

REGRADED_COLUMNS = pa.schema([("previous_correct", pa.bool_()), ("previous_version", pa.string())])
"""Of samples that were graded again: what they were before."""

_NEEDED = ("example_id", "sample", "text", "correct")


def file_name(benchmark: str, prompt: str, samples: int, temperature: float, seed: int) -> str:
    """aime24.own.k8.t0.6.seed0.parquet"""
    return f"{slug(benchmark)}.{slug(prompt)}.k{samples}.t{temperature:g}.seed{seed}.parquet"


def place_beside(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The path, or one beside it where the path holds answers to none of these questions.

    Files of examples in different folders may have one name; neither's answers may be lost. The
    other path is told by the questions, so that the same ones find it again.
    """
    ours = {row["question"] for row in rows}
    try:
        kept = {row.get("question") for row in read_samples(path)} if path.exists() else ours
    except RecordsError:  # no samples of ours: nothing that this may replace
        kept = set()
    if ours & kept:
        return path
    told_by = "\n".join(sorted(ours)).encode("utf-8", "replace")
    return path.with_suffix(f".{hashlib.blake2b(told_by, digest_size=3).hexdigest()}.parquet")


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "model"


def write_samples(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes graded samples, whole or not at all. RecordsError for a full disk."""
    fields = [*SAMPLE_COLUMNS, *EXTRA_COLUMNS]
    if rows and "previous_correct" in rows[0]:
        fields += list(REGRADED_COLUMNS)
    columns = {
        field.name: pa.array([_clean(row.get(field.name)) for row in rows], type=field.type)
        for field in fields
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    write_atomic(path, buffer.getvalue())


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The rows of a samples file. RecordsError for what is none."""
    try:
        with pq.ParquetFile(path) as file:
            rows: list[dict[str, Any]] = file.read().to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RecordsError(f"{path} cannot be read as graded samples: {error}.") from error
    missing = [name for name in _NEEDED if not rows or name not in rows[0]]
    if missing:
        raise RecordsError(
            f"{path} holds no graded samples: "
            + (f"it lacks {', '.join(missing)}." if rows else "it has no rows.")
        )
    return rows


def sample_files(path: Path) -> list[Path]:
    """The file, or the Parquet files of a folder. RecordsError where there are none."""
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.parquet")) if path.is_dir() else []
    if not files:
        raise RecordsError(f"{path} holds no graded samples (Parquet files of `oneshot evaluate`).")
    return files


def _clean(value: Any) -> Any:
    return clean_text(value) if isinstance(value, str) else value
