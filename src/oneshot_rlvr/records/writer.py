"""The append-only writer of a run directory (layout: schema.py).

One writer a directory, by a lock that the kernel drops with its process. A later step never
overwrites an earlier one: what is recorded twice is refused, and `rewind` is the only way to drop
records, those after the checkpoint.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from oneshot_rlvr.errors import RecordsError, RunError
from oneshot_rlvr.records import files, manifest, schema
from oneshot_rlvr.types import Graded


class RunWriter:
    """Writes one run. Make it with `create` or `resume`; close it, or use it in `with`."""

    def __init__(self, directory: Path, document: dict[str, Any], lock: files.Lock):
        self.directory = directory
        self._document = document
        self._lock = lock
        self._last: dict[str, int] = {}
        self._found: list[manifest.Damage] | None = None
        self._find_ends()

    def _find_ends(self) -> None:
        known = manifest.read(self.directory)
        for name in manifest.LINES:
            rows, _ = manifest.whole_lines(self.directory, name, known)
            self._last[name] = max((row["step"] for _, row in rows), default=-1)

    @classmethod
    def create(cls, directory: str | Path, info: Mapping[str, Any]) -> RunWriter:
        """Start a run in a directory that holds none. RunError when it does.

        `info` is free; the report reads recipe, examples, model, versions, machine and
        git_commit where they are there.
        """
        directory = Path(directory)
        with files.disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        lock = files.Lock(directory / schema.LOCK)  # first: another may be starting here too
        occupied = [
            name
            for name in (schema.RUN, schema.METRICS, schema.ROLLOUTS, schema.EVALUATIONS)
            if (directory / name).exists()
        ]
        if occupied:
            lock.release()
            raise RunError(
                f"{directory} already holds a run ({occupied[0]}). Continue it with --resume or "
                "choose another directory with --out"
            )
        document = {
            "schema_version": schema.SCHEMA_VERSION,
            "status": "running",
            "info": files.plain(info),
            "result": None,
            "manifest": True,
        }
        writer = cls(directory, document, lock)
        writer._write_document()
        return writer

    @classmethod
    def claim(cls, directory: str | Path) -> RunWriter:
        """The run that is there, locked and as yet unchanged; `rewind` makes it writable.

        What is decided while the claim is held cannot be overtaken by another process. RunError
        when there is no run, or another process writes it; RecordsError for another schema version.
        """
        directory = Path(directory)
        read_document(directory)
        lock = files.Lock(directory / schema.LOCK)
        try:
            return cls(directory, read_document(directory), lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume(cls, directory: str | Path, step: int) -> RunWriter:
        """`claim` and `rewind` in one."""
        writer = cls.claim(directory)
        writer.rewind(step)
        return writer

    def rewind(self, step: int) -> None:
        """Continue after `step`: everything recorded later is dropped, and the result with it.

        So are lines and evaluations that are no longer what was written; a line of timings is all
        that a run can go on without, and a test is measured again.
        """
        known = manifest.read(self.directory)
        damaged = {one.file for one in self._damage() if one.file.startswith(schema.EVALUATIONS)}
        for name in manifest.LINES:
            path = self.directory / name
            if path.exists():
                rows, _ = manifest.whole_lines(self.directory, name, known)
                kept = [line + b"\n" for line, row in rows if row["step"] <= step]
                files.write_atomic(path, b"".join(kept))
        with files.disk_errors(self.directory):
            for path in (self.directory / schema.ROLLOUTS).glob("*"):
                part = schema.parse_rollout_part(path.stem)
                if part is None or part > step:
                    path.unlink()
            for path in self.directory.glob(".*.part"):  # of a write that a kill cut short
                path.unlink()
            for path in (self.directory / schema.EVALUATIONS).glob("*"):
                evaluation = schema.parse_evaluation(path.stem)
                # Samples whose summary was not written: the run ended between the two.
                half = not path.with_suffix(".json").exists()
                half |= any(name.startswith(f"{path.parent.name}/{path.stem}.") for name in damaged)
                if evaluation is None or evaluation[1] > step or half:
                    path.unlink()
        manifest.rewrite(self.directory, lambda entry: self._stands(entry, step))
        self._found = None
        self._find_ends()
        self._document.update(status="running", result=None)
        self._write_document()

    def _stands(self, entry: manifest.Entry, step: int) -> bool:
        if entry.step > step or entry.file.startswith(f"{schema.FINAL}/"):
            return False
        if entry.line:
            return entry.file != schema.TIMINGS or entry.step in self._timed()
        return (self.directory / entry.file).exists()

    def _timed(self) -> set[int]:
        rows, _ = manifest.whole_lines(self.directory, schema.TIMINGS, None)
        return {row["step"] for _, row in rows}

    def _damage(self) -> list[manifest.Damage]:
        """What is not as it was written, looked for once: every byte is read."""
        if self._found is None:
            expected = bool(self._document.get("manifest"))
            self._found = manifest.check(self.directory, expected=expected, full=True)
        return self._found

    def offset(self) -> dict[str, int]:
        """How far the records go now, for a checkpoint: bytes of metrics, parts of rollouts."""
        manifest.sync(self.directory)
        metrics = self.directory / schema.METRICS
        return {
            "metrics_bytes": metrics.stat().st_size if metrics.exists() else 0,
            "rollout_parts": len(self._rollout_steps(None)),
        }

    def check_offset(self, offset: Mapping[str, int], step: int) -> None:
        """RecordsError where records up to `step`, once at `offset`, are no longer there."""
        check_records(self.directory, self._damage(), offset, step)

    def _rollout_steps(self, last: int | None) -> list[int]:
        return _rollout_steps(self.directory, last)

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """One flat line for a step; numbers only, nan and infinity become null. No clocks here."""
        self._append(schema.METRICS, step, values)

    def timings(self, step: int, values: Mapping[str, Any]) -> None:
        """One flat line for a step: seconds, bytes, tokens a second (units in the key)."""
        self._append(schema.TIMINGS, step, values)

    def rollouts(
        self,
        step: int,
        graded: Sequence[Graded],
        advantages: Sequence[float],
        beside: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """Every rollout of a step with its verdict, reward and advantage, as one part.

        `beside`: further columns, one value a rollout (with dynamic sampling: "sampling", from 1,
        and "learned", false for those of rows that were replaced).
        """
        if len(graded) != len(advantages):
            raise RecordsError(f"step {step}: {len(graded)} rollouts, {len(advantages)} advantages")
        rows = [
            {
                "step": step,
                "row": item.rollout.row,
                "index": item.rollout.index,
                "example_id": item.rollout.example_id,
                "prompt_tokens": list(item.rollout.prompt_tokens),
                "tokens": list(item.rollout.tokens),
                "logprobs": list(item.rollout.logprobs),
                "text": item.rollout.text,
                "finished": item.rollout.finished,
                "correct": item.verdict.correct,
                "reason": str(item.verdict.reason),
                "extracted": item.verdict.extracted,
                "score": item.verdict.score,
                "reward": float(item.reward),
                "advantage": float(advantage),
            }
            for item, advantage in zip(graded, advantages, strict=True)
        ]
        for name, values in (beside or {}).items():
            for row, value in zip(rows, values, strict=True):
                row[name] = value
        path = schema.rollout_part(self.directory, step)
        self._write_table(step, path, rows, schema.ROLLOUT_COLUMNS)

    def evaluation(
        self,
        name: str,
        step: int,
        samples: Sequence[Mapping[str, Any]],
        summary: Mapping[str, Any],
    ) -> None:
        """Graded samples and their summary; step 0 is the base model. Extra columns are kept."""
        stem = schema.evaluation_stem(self.directory, name, step)
        rows = [
            {**schema.OPTIONAL_SAMPLE_COLUMNS, "score": float(sample["correct"]), **sample}
            for sample in samples
        ]
        # Samples first: a summary without its samples could not be checked by anybody.
        self._write_table(step, stem.with_suffix(".parquet"), rows, schema.SAMPLE_COLUMNS)
        path, data = stem.with_suffix(".json"), files.to_json(summary, indent=1)
        files.write_atomic(path, data)
        manifest.add(self.directory, step, f"{path.parent.name}/{path.name}", data)

    def final(self, step: int) -> None:
        """The resulting model lies in final/: its files are listed with their sums."""
        for path in sorted((self.directory / schema.FINAL).rglob("*")):
            if path.is_file():
                name = path.relative_to(self.directory).as_posix()
                manifest.add_file(self.directory, step, name)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run is complete: `summary` becomes run.json's "result"."""
        self._document.update(status="finished", result=files.plain(summary))
        self._write_document()

    def close(self) -> None:
        """Let go of the lock. Nothing is lost without it; everything is written at once."""
        self._lock.release()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, name: str, step: int, values: Mapping[str, Any]) -> None:
        self._lock.check()
        if step <= self._last[name]:
            raise RecordsError(
                f"{name} already holds step {self._last[name]} and was given step {step}; "
                "records are append-only"
            )
        if "step" in values:
            raise RecordsError(f'{name}, step {step}: "step" is the first argument, not a value')
        row = {"step": step, **files.plain(values)}
        nested = [key for key, value in row.items() if isinstance(value, dict | list)]
        if nested:
            raise RecordsError(f"{name}, step {step}: {nested[0]} is nested; lines are flat")
        line = files.to_json(row)
        files.append_line(self.directory / name, line)
        manifest.add(self.directory, step, name, line, line=True)
        self._last[name] = step

    def _write_table(
        self, step: int, path: Path, rows: Sequence[Mapping[str, Any]], columns: pa.Schema
    ) -> None:
        self._lock.check()
        if path.exists():
            raise RecordsError(f"{path} is already recorded; records are append-only")
        if not rows:
            raise RecordsError(f"{path.name} was given no rows; nothing to record")
        missing = [name for name in columns.names if name not in rows[0]]
        if missing:
            raise RecordsError(f"{path.name} lacks the column {missing[0]}; give {columns.names}")
        arrays = {
            field.name: pa.array([_cell(row[field.name]) for row in rows], field.type)
            for field in columns
        }
        for name in rows[0]:
            if name not in arrays:
                arrays[name] = pa.array([_cell(row.get(name)) for row in rows])
        table = pa.table(arrays).replace_schema_metadata(
            {"oneshot_rlvr.schema_version": str(schema.SCHEMA_VERSION)}
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        data = buffer.getvalue()
        files.write_atomic(path, data)
        name = f"{path.parent.name}/{path.name}"
        manifest.add(self.directory, step, name, data, rows=len(rows))

    def check(self) -> None:
        """RunError where the directory was removed or renamed since: for who writes beside us."""
        self._lock.check()

    def _write_document(self) -> None:
        self._lock.check()
        document = {**files.plain(self._document), "checksum": ""}
        document["checksum"] = _checksum(document)
        files.write_atomic(self.directory / schema.RUN, files.to_json(document, indent=1))


def _checksum(document: Mapping[str, Any]) -> str:
    """Of run.json's values without the checksum itself; as text, so that 1.0 stays apart from 1."""
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return manifest.checksum(files.to_json(rest))


def check_records(
    directory: Path, damage: Sequence[manifest.Damage], offset: Mapping[str, int], step: int
) -> None:
    """RecordsError where a run cannot go on after `step`, whose checkpoint knew it at `offset`: its
    records up to there are damaged, or no longer there."""
    needed = [one for one in damage if one.step <= step and _needed(one)]
    if needed:
        raise RecordsError(f"{directory}: {'; '.join(manifest.told(needed))}")
    path, length = directory / schema.METRICS, int(offset.get("metrics_bytes", 0))
    data = path.read_bytes()[:length] if path.exists() else b""
    if len(data) != length or data[-1:] not in (b"", b"\n"):
        raise RecordsError(f"{path} lacks lines that it held when step {step} was saved")
    parts, had = len(_rollout_steps(directory, step)), offset.get("rollout_parts", 0)
    if parts < had:
        raise RecordsError(
            f"{directory / schema.ROLLOUTS} holds {parts} steps up to {step} and held "
            f"{had} when that was saved"
        )


def _rollout_steps(directory: Path, last: int | None) -> list[int]:
    found = (directory / schema.ROLLOUTS).glob("step-*.parquet")
    steps = [n for path in found if (n := schema.parse_rollout_part(path.stem)) is not None]
    return [n for n in steps if last is None or n <= last]


def _needed(damage: manifest.Damage) -> bool:
    """Whether a run cannot go on as if it had never stopped: not so for clocks, for what is written
    again at the end, and for the base's evaluations, of which the test is measured again."""
    name, _, file = damage.file.partition("/")
    if name in (schema.TIMINGS, schema.MANIFEST, schema.FINAL):
        return False
    return name != schema.EVALUATIONS or not (damage.step == 0 or file.startswith("test-"))


def _cell(value: Any) -> Any:
    return files.clean_text(value) if isinstance(value, str) else value


class DamagedDocumentError(RecordsError):
    """run.json is not as it was written; the records beside it may be whole."""


def _runs_beside(directory: Path) -> str:
    """Which runs there are where one was looked for: a folder of runs is often taken for a run."""
    if not directory.is_dir():
        return "; there is no such folder"
    below = sorted(path.parent for path in directory.glob(f"*/{schema.RUN}"))
    names = ", ".join(map(str, below[:5])) + ", ..." * (len(below) > 5)
    return f"; the runs in it are {names}" if below else ""


def read_document(directory: Path) -> dict[str, Any]:
    """run.json, its version checked. RunError when there is none, RecordsError when unreadable."""
    path = directory / schema.RUN
    if not path.is_file():
        beside = _runs_beside(directory)
        raise RunError(f"{directory} holds no run: {schema.RUN} is missing{beside}")
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedDocumentError(f"{path} is not JSON ({error})") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != schema.SCHEMA_VERSION:
        raise RecordsError(
            f"{path} has schema version {version}; this version of oneshot-rlvr reads "
            f"{schema.SCHEMA_VERSION}. Read it with the version that wrote it"
        )
    # Runs of earlier versions have no checksum.
    if "checksum" in document and document["checksum"] != _checksum(document):
        raise DamagedDocumentError(
            f"{path} is not as it was written: it does not match its checksum. Bring it back from "
            "a copy"
        )
    document.pop("checksum", None)
    return dict(document)
