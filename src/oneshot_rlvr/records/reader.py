"""The reader of a run directory: columns for everything that comes after training.

Safe on a live run: whole files appear by rename, and an unfinished last line is left out. Every
call reads the disk anew. Not here: statistics of any kind (summary.py, estimators, analysis).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.records import files, schema
from oneshot_rlvr.records.writer import read_document


class Run:
    """One run directory. RunError when it holds none, RecordsError for another schema version."""

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        read_document(self.directory)

    @property
    def info(self) -> dict[str, Any]:
        """What was started: recipe, examples, versions, machine ... as the trainer gave it."""
        return dict(read_document(self.directory)["info"])

    @property
    def status(self) -> str:
        """Either running (also when it was interrupted) or finished."""
        return str(read_document(self.directory)["status"])

    @property
    def result(self) -> dict[str, Any] | None:
        """The summary given to `finish`, None before that."""
        result = read_document(self.directory)["result"]
        return None if result is None else dict(result)

    def metrics(self) -> pd.DataFrame:
        """One row a step, "step" and one float column a key; nan where a step lacks the key."""
        return self._lines(schema.METRICS)

    def timings(self) -> pd.DataFrame:
        """The same for seconds and memory."""
        return self._lines(schema.TIMINGS)

    def rollout_steps(self) -> list[int]:
        """The steps whose rollouts are recorded, in order."""
        parts = (self.directory / schema.ROLLOUTS).glob("step-*.parquet")
        steps = (schema.parse_rollout_part(path.stem) for path in parts)
        return sorted(step for step in steps if step is not None)

    def rollouts(
        self, steps: Iterable[int] | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Rollouts of some steps (None: all), columns of schema.ROLLOUT_COLUMNS (None: all).

        RecordsError for a step that is not recorded.
        """
        wanted = self.rollout_steps() if steps is None else list(steps)
        names = list(schema.ROLLOUT_COLUMNS.names if columns is None else columns)
        frames = []
        for step in wanted:
            frames.append(self.rollout_table(step, names).to_pandas())
        if not frames:
            return pd.DataFrame({name: [] for name in names})
        return pd.concat(frames, ignore_index=True)

    def rollout_tables(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """(step, its rollouts as an Arrow table), step after step: one part in memory at a time."""
        for step in self.rollout_steps():
            yield step, self.rollout_table(step, columns)

    def rollout_table(self, step: int, columns: Sequence[str]) -> pa.Table:
        """One step's rollouts as an Arrow table. RecordsError where it is not recorded."""
        path = schema.rollout_part(self.directory, step)
        if not path.exists():
            raise RecordsError(f"{self.directory} has no rollouts of step {step}")
        return _arrow(path, columns)

    def evaluations(self) -> list[tuple[str, int]]:
        """(name, step) of every evaluation, sorted; step 0 is the base model."""
        found = (
            schema.parse_evaluation(path.stem)
            for path in (self.directory / schema.EVALUATIONS).glob("*.json")
        )
        return sorted(item for item in found if item is not None)

    def samples(self, name: str, step: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The graded samples of one evaluation; None: schema.SAMPLE_COLUMNS and extra columns."""
        return _table(self._evaluation(name, step, ".parquet"), columns)

    def summary(self, name: str, step: int) -> dict[str, Any]:
        """The summary of one evaluation; its shape is told in records/summary.py."""
        path = self._evaluation(name, step, ".json")
        try:
            return dict(json.loads(path.read_bytes()))
        except ValueError as error:
            raise RecordsError(f"{path} is not JSON ({error})") from error

    def _evaluation(self, name: str, step: int, suffix: str) -> Path:
        path = schema.evaluation_stem(self.directory, name, step).with_suffix(suffix)
        if not path.exists():
            known = ", ".join(f"{n} at {s}" for n, s in self.evaluations()) or "none"
            raise RecordsError(
                f"{self.directory} has no evaluation {name} at step {step}. Recorded: {known}"
            )
        return path

    def _lines(self, name: str) -> pd.DataFrame:
        rows = files.read_lines(self.directory / name)
        frame = pd.DataFrame(rows, columns=None if rows else ["step"])
        # A key that was null throughout is read as objects; it is a number that was never finite.
        for column in frame.columns:
            if frame[column].isna().all():
                frame[column] = frame[column].astype(float)
        return frame


def _table(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    return _arrow(path, columns).to_pandas()


def _arrow(path: Path, columns: Sequence[str] | None) -> pa.Table:
    try:
        # Not pq.read_table: it takes a folder named "lr=1e-5" for a partition and adds a column.
        with pq.ParquetFile(path) as file:
            return with_score(file, None if columns is None else list(columns))
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise RecordsError(f"{path} could not be read: {error}") from error


def with_score(file: pq.ParquetFile, columns: list[str] | None) -> pa.Table:
    """The columns asked for; runs from before verdicts had scores have those of yes and no."""
    present = file.schema_arrow.names
    if "score" in present or "correct" not in present:
        return file.read(columns=columns)
    if columns is None or "score" not in columns:
        return file.read(columns=columns)
    asked = [name for name in columns if name != "score"]
    table = file.read(columns=[*asked, *(() if "correct" in asked else ("correct",))])
    table = table.append_column("score", table["correct"].cast(pa.float64()))
    return table.select(columns)
