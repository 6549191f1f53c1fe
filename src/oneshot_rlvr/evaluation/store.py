"""Graded samples on disk: Parquet, one file an evaluation, with all that grading again needs.

A file's name says what is in it: benchmark, prompt, K, temperature, seed; its metadata of which
evaluation it is (`identity_of`), how many answers that has, and a sum. Nothing is ever replaced but
by the same evaluation gone on. Not here: run
directories (records), the journal of a server's answers (endpoint.py).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.evaluation.grading import options_of, verifier_version
from oneshot_rlvr.records.files import clean_text, write_outputs
from oneshot_rlvr.records.schema import SAMPLE_COLUMNS
from oneshot_rlvr.types import Example

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
        ("decoding", pa.string()),
        ("seed", pa.int64()),
        ("asked", pa.string()),
    ]
)
"""Beside records.schema.SAMPLE_COLUMNS: both readings, how it was graded, how it was sampled
(`decoding`: JSON of what is not off, evaluation/decoding.py)."""

REGRADED_COLUMNS = pa.schema([("previous_correct", pa.bool_()), ("previous_version", pa.string())])
"""Of samples that were graded again: what they were before."""

_META = "oneshot_rlvr."
_NEEDED = ("example_id", "sample", "text", "correct")


def file_name(benchmark: str, prompt: str, samples: int, temperature: float, seed: int) -> str:
    """aime24.own.k8.t0.6.seed0.parquet"""
    return f"{slug(benchmark)}.{slug(prompt)}.k{samples}.t{temperature:g}.seed{seed}.parquet"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of graded samples; `identity` is "" and `expected` None where it does not tell."""

    rows: list[dict[str, Any]]
    identity: str = ""
    expected: int | None = None

    @property
    def missing(self) -> int:
        """Answers that should be there and are not: every question has as many as any."""
        asked: dict[str, int] = {}
        for row in self.rows:
            asked[row["example_id"]] = max(asked.get(row["example_id"], 0), row["sample"] + 1)
        least = max(asked.values()) * len(asked)
        return max(least, self.expected or 0) - len(self.rows)


def identity_of(told: Mapping[str, Any], examples: Sequence[Example]) -> str:
    """Names an evaluation: equal exactly when all is on which answers and verdicts depend.

    `told`: model, engine, decoding, prompt ...; of the examples everything; what grades.
    """
    asked = [[e.id, e.chat(), e.answer, e.verifier, options_of(e)] for e in examples]
    # A plain decoding names nothing: files of versions that knew no other keep their place.
    named = {key: value for key, value in told.items() if (key, value) != ("decoding", "{}")}
    words = json.dumps([named, asked, verifier_version()], sort_keys=True)
    return hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=16).hexdigest()


def place(path: Path, identity: str, rows: int, *, overwrite: bool = False) -> Path:
    """Where the answers of an evaluation go: the path, or one beside it where another lies there.

    RecordsError where the place of this very evaluation holds more answers than there are now, or
    something else altogether. With `overwrite` the path itself, whatever it holds.
    """
    if overwrite:
        return path
    beside = path.with_suffix(f".{identity[:8]}.parquet")
    for candidate in (path, beside):
        if not candidate.exists():
            return candidate
        try:
            kept = read_stored(candidate)
        except RecordsError:  # damaged, or no samples of ours: nothing that this may replace
            continue
        if kept.identity == identity:
            if len(kept.rows) > rows:
                raise RecordsError(
                    f"{candidate} holds {len(kept.rows)} answers of this evaluation, and now there "
                    f"are {rows}; it is left alone. --overwrite replaces it."
                )
            return candidate
    raise RecordsError(
        f"{path} and {beside} hold something else; choose another folder with --samples-out, or "
        "--overwrite."
    )


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "model"


def write_samples(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    identity: str = "",
    expected: int | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Writes graded samples, whole or not at all, with a sum of what they say.

    `expected`: how many answers were asked for. RecordsError for a full disk, and for a file that
    holds something else; `overwrite` where `place` allows it.
    """
    fields = [*SAMPLE_COLUMNS, *EXTRA_COLUMNS]
    if rows and "previous_correct" in rows[0]:
        fields += list(REGRADED_COLUMNS)
    columns = {
        field.name: pa.array([_clean(row.get(field.name)) for row in rows], type=field.type)
        for field in fields
    }
    table = pa.table(columns)
    told = {"identity": identity, "sum": _sum(table), "expected": str(expected or len(rows))}
    table = table.replace_schema_metadata({_META + key: value for key, value in told.items()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_outputs({path: buffer.getvalue()}, overwrite=overwrite)


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The rows of a samples file. RecordsError for what is none, or not as it was written."""
    return read_stored(path).rows


def read_stored(path: Path) -> Stored:
    """The same with what the file tells of itself."""
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        rows: list[dict[str, Any]] = table.to_pylist()
        told = {
            key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
        }
        meta = {key.removeprefix(_META): v for key, v in told.items() if key.startswith(_META)}
        expected = int(meta["expected"]) if meta.get("expected") else None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RecordsError(f"{path} cannot be read as graded samples: {error}.") from error
    missing = [name for name in _NEEDED if not rows or name not in rows[0]]
    if missing:
        raise RecordsError(
            f"{path} holds no graded samples: "
            + (f"it lacks {', '.join(missing)}." if rows else "it has no rows.")
        )
    stored = Stored(rows, meta.get("identity", ""), expected)
    # Fewer rows have another sum, and are told as what they are.
    if meta.get("sum") not in (None, _sum(table)) and not stored.missing:
        raise RecordsError(f"{path} is damaged: its answers are not as they were written.")
    return stored


def _sum(table: pa.Table) -> str:
    """Of the values, whatever the file's layout."""
    words = json.dumps(table.to_pydict(), sort_keys=True, default=str)
    return hashlib.blake2b(words.encode("ascii"), digest_size=16).hexdigest()


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
