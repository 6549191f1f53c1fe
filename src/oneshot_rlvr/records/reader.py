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
from oneshot_rlvr.records import manifest, schema
from oneshot_rlvr.records.writer import DamagedDocumentError, read_document


class Run:
    """One run directory. RunError when it holds none, RecordsError for another schema version.

    What is read is compared with the manifest: RecordsError for what is not as it was written. A
    reader that is to go on without it opens the run `partly`, and says what `damage` tells.
    """

    def __init__(self, directory: str | Path, *, partly: bool = False):
        self.directory = Path(directory)
        self.partly = partly
        self._met: list[manifest.Damage] = []
        self._cached: tuple[int, manifest.Manifest] | None = None
        self._document()

    def damage(self, *, full: bool = False) -> list[manifest.Damage]:
        """What is not as it was written; `full`: every byte is looked at, else rollouts and model
        only by their size, and what reading has met."""
        expected = bool(self._document().get("manifest"))
        found = manifest.check(self.directory, expected=expected, full=full)
        seen = {one.file for one in found}
        return found + [one for one in self._met if one.file not in seen]

    @property
    def info(self) -> dict[str, Any]:
        """What was started: recipe, examples, versions, machine ... as the trainer gave it."""
        return dict(self._document()["info"])

    @property
    def status(self) -> str:
        """Either running (also when it was interrupted) or finished; "unknown" where run.json, of
        a run that is opened `partly`, is damaged."""
        return str(self._document()["status"])

    @property
    def result(self) -> dict[str, Any] | None:
        """The summary given to `finish`, None before that."""
        result = self._document()["result"]
        return None if result is None else dict(result)

    def _document(self) -> dict[str, Any]:
        """run.json; opened `partly`, a damaged one tells nothing and is found by `damage`."""
        try:
            return read_document(self.directory)
        except DamagedDocumentError:
            if not self.partly:
                raise
            if all(one.file != schema.RUN for one in self._met):
                self._met.append(manifest.Damage(schema.RUN, 0, "is not as it was written"))
            return {"info": {}, "status": "unknown", "result": None, "manifest": True}

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
        found = sorted(step for step in steps if step is not None)
        if not self.partly:
            return found
        known = manifest.read(self.directory)
        return [s for s in found if not self._damaged(schema.rollout_part(Path(), s), known)]

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
            table = self.rollout_table_if_whole(step, names)
            if table is not None:
                frames.append(table.to_pandas())
        if not frames:
            return pd.DataFrame({name: [] for name in names})
        return pd.concat(frames, ignore_index=True)

    def rollout_tables(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """(step, its rollouts as an Arrow table), step after step: one part in memory at a time."""
        for step in self.rollout_steps():
            table = self.rollout_table_if_whole(step, columns)
            if table is not None:
                yield step, table

    def rollout_table(self, step: int, columns: Sequence[str]) -> pa.Table:
        """One step's rollouts as an Arrow table. RecordsError where it is not recorded."""
        path = schema.rollout_part(self.directory, step)
        if not path.exists():
            raise RecordsError(f"{self.directory} has no rollouts of step {step}")
        return self._arrow(path, columns)

    def rollout_table_if_whole(self, step: int, columns: Sequence[str]) -> pa.Table | None:
        """The same; None where the run is opened `partly` and this step is damaged."""
        try:
            return self.rollout_table(step, columns)
        except RecordsError as error:
            if not self.partly:
                raise
            file = schema.rollout_part(Path(), step).as_posix()
            what = "is not as it was written" if "not as" in str(error) else "cannot be read"
            if all(one.file != file for one in self._met):
                self._met.append(manifest.Damage(file, step, what))
            return None

    def evaluations(self) -> list[tuple[str, int]]:
        """(name, step) of every evaluation, sorted; step 0 is the base model."""
        found = (
            schema.parse_evaluation(path.stem)
            for path in (self.directory / schema.EVALUATIONS).glob("*.json")
        )
        every = sorted(item for item in found if item is not None)
        if not self.partly:
            return every
        known = manifest.read(self.directory)
        stems = {item: schema.evaluation_stem(Path(), *item) for item in every}
        return [
            item
            for item, stem in stems.items()
            if not self._damaged(stem.with_suffix(".json"), known, full=True)
            and not self._damaged(stem.with_suffix(".parquet"), known, full=True)
        ]

    def samples(self, name: str, step: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The graded samples of one evaluation; None: schema.SAMPLE_COLUMNS and extra columns."""
        return self._arrow(self._evaluation(name, step, ".parquet"), columns).to_pandas()

    def summary(self, name: str, step: int) -> dict[str, Any]:
        """The summary of one evaluation; its shape is told in records/summary.py."""
        path = self._evaluation(name, step, ".json")
        try:
            return dict(json.loads(self._bytes(path)))
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

    def _damaged(self, file: Path, known: manifest.Manifest | None, *, full: bool = False) -> bool:
        entry = None if known is None else known.whole.get(file.as_posix())
        return entry is not None and (
            manifest.check_file(self.directory, entry, full=full) is not None
        )

    def _bytes(self, path: Path) -> bytes:
        """A file's bytes. RecordsError where they are not what was written."""
        known = self._known()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RecordsError(f"{path} could not be read: {error}") from error
        entry = known.whole.get(path.relative_to(self.directory).as_posix())
        if entry is not None and (len(data), manifest.checksum(data)) != (entry.bytes, entry.sum):
            raise RecordsError(
                f"{path} could not be read: it is not as it was written; "
                f"see `oneshot doctor {self.directory}`"
            )
        return data

    def _known(self) -> manifest.Manifest:
        """The manifest, read again when it has grown."""
        path = self.directory / schema.MANIFEST
        size = path.stat().st_size if path.exists() else -1
        if self._cached is None or self._cached[0] != size:
            self._cached = (size, manifest.read(self.directory) or manifest.Manifest())
        return self._cached[1]

    def _arrow(self, path: Path, columns: Sequence[str] | None) -> pa.Table:
        data = self._bytes(path)
        try:
            # Not pq.read_table: it takes a folder named "lr=1e-5" for a partition.
            with pq.ParquetFile(pa.BufferReader(data)) as file:
                return with_score(file, None if columns is None else list(columns))
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            raise RecordsError(f"{path} could not be read: {error}") from error

    def check_final(self) -> None:
        """RecordsError where the resulting model is not the one that was written."""
        known = manifest.read(self.directory) or manifest.Manifest()
        for entry in known.whole.values():
            if entry.file.startswith(f"{schema.FINAL}/"):
                damage = manifest.check_file(self.directory, entry, full=True)
                if damage is not None:
                    raise RecordsError(
                        f"{self.directory}: {damage}; it is not the model that the run made. Bring "
                        "it back from a copy, or name one of the run's checkpoints"
                    )

    def _lines(self, name: str) -> pd.DataFrame:
        known = manifest.read(self.directory)
        read, damage = manifest.whole_lines(self.directory, name, known)
        if damage and not self.partly:
            raise RecordsError(f"{self.directory / damage[0].file}: {damage[0].what}")
        rows = [row for _, row in read]
        frame = pd.DataFrame(rows, columns=None if rows else ["step"])
        # A key that was null throughout is read as objects; it is a number that was never finite.
        for column in frame.columns:
            if frame[column].isna().all():
                frame[column] = frame[column].astype(float)
        return frame


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
