"""`evaluate --against`: two sides, models answered now or answers read back, paired by question.

A side is one model, several seeds of one, a server, or folders of stored answers; what is answered
now is kept on disk. The statistics are in `evaluation.comparison`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.verbs.evaluate import Progress, evaluate, folder_of
from oneshot_rlvr.verbs.subjects import Subject, base_of, find_model

if TYPE_CHECKING:
    from oneshot_rlvr.evaluation import EvaluationResult
    from oneshot_rlvr.evaluation.comparison import Comparison, Samples
    from oneshot_rlvr.evaluation.endpoint import Endpoint
    from oneshot_rlvr.evaluation.store import Stored

BASE = "base"
"""Names the model that a run began with."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How sides are asked, and what becomes of their answers.

    settings: keywords of `evaluate`. out: the folder of the graded answers (None:
    evaluations/MODEL); `apart`: each model has one of its own in it. counting: what shows how far a
    model is. written: told of every file. overwrite: what lies where answers go is replaced, else
    only by the same evaluation gone on.
    """

    settings: Mapping[str, Any]
    out: str | Path | None = None
    apart: bool = False
    overwrite: bool = False
    counting: Callable[[], AbstractContextManager[Progress | None]] = nullcontext
    written: Callable[[Path], None] = lambda path: None


class Side:
    """The models of one side, answered or read back: samples by benchmark, one list a model."""

    def __init__(
        self, names: Sequence[str | Subject], asking: Asking, endpoint: Endpoint | None = None
    ):
        self.samples: dict[str, list[Samples]] = {}
        self.results: dict[str, list[EvaluationResult]] = {}
        self.name = ", ".join(str(getattr(name, "name", name)) for name in names)
        if endpoint is not None:
            self.name = f"{endpoint.model} at {endpoint.url}"
            self._answer("", asking, endpoint)
        for name in [] if endpoint is not None else names:
            stored = stored_answers(name)
            if stored is None:
                self._answer(name, asking, None)
            else:
                self._take(stored)

    @property
    def missing(self) -> bool:
        """Whether a server left answers out, or a file lacks some."""
        return any(result.failures for some in self.results.values() for result in some)

    def summaries(self) -> dict[str, Any]:
        """Summary by benchmark; a list of them where the side has several models."""
        found = {key: [result.summary for result in some] for key, some in self.results.items()}
        return {key: some[0] if len(some) == 1 else some for key, some in found.items()}

    def _answer(self, name: str | Subject, asking: Asking, endpoint: Endpoint | None) -> None:
        from oneshot_rlvr.evaluation.store import (
            file_name,
            place,
            slug,
            write_samples,
        )
        from oneshot_rlvr.records.files import refuse_unwritable

        label = endpoint.model if endpoint is not None else str(getattr(name, "name", name))
        folder = folder_of(label, asking.out, None if endpoint is not None else _run_of(name))
        if asking.out and asking.apart:
            folder /= slug(label)
        refuse_unwritable(folder)
        with asking.counting() as count:
            results = evaluate(
                name, **asking.settings, endpoint=endpoint, journals=folder, progress=count
            )
        for key, result in results.items():
            self.results.setdefault(key, []).append(result)
            self.samples.setdefault(_key(result.samples[0]), []).append(result.samples)
            facts = result.summary
            path = folder / file_name(
                facts["benchmark"],
                facts["prompt"],
                facts["samples"],
                facts["temperature"],
                facts["seed"],
            )
            # What lies at the place is this evaluation, as far as it had come.
            path = place(path, result.identity, len(result.samples), overwrite=asking.overwrite)
            write_samples(path, result.samples, result.identity, result.expected, overwrite=True)
            asking.written(path)

    def _take(self, files: Mapping[Path, Stored]) -> None:
        from oneshot_rlvr.evaluation import EvaluationResult
        from oneshot_rlvr.evaluation.run import summed_up

        for stored in files.values():
            rows = stored.rows
            facts = {name: rows[0].get(name) for name in ("benchmark", "temperature", "seed")}
            facts |= {"prompt": rows[0].get("prompt") or "own", "model": rows[0].get("model")}
            facts["decoding"] = rows[0].get("decoding") or "{}"
            failures = {"not_stored": stored.missing} if stored.missing else {}
            result = EvaluationResult(rows, summed_up(rows, facts), failures)
            if failures:
                result.summary["missing"] = failures
            self.results.setdefault(_key(rows[0]), []).append(result)
            self.samples.setdefault(_key(rows[0]), []).append(rows)


def other_side(names: Sequence[str], models: Sequence[str]) -> list[str | Subject]:
    """What `models` are compared with: stored answers as named, models found, `base` that of the
    first of `models`. ConfigError, ModelError, RunError for what is none."""
    found: list[str | Subject] = []
    for name in names:
        if name == BASE:
            if not models:
                raise ConfigError("--against base needs a RUN to be the base of.")
            found.append(base_of(find_model(models[0])))
        else:
            found.append(name if stored_answers(name) is not None else find_model(name))
    return found


def compare_sides(ours: Side, theirs: Side) -> list[Comparison]:
    """One comparison a shared benchmark, ours after theirs. ConfigError where none is shared."""
    from oneshot_rlvr.evaluation.comparison import compare

    shared = [key for key in ours.samples if key in theirs.samples]
    if not shared:
        raise ConfigError(
            f"the sides share no benchmark: {', '.join(ours.samples)} on one, "
            f"{', '.join(theirs.samples)} on the other."
        )
    return [compare(key, theirs.samples[key], ours.samples[key]) for key in shared]


def _run_of(name: str | Subject) -> Path | None:
    """The run whose result a name means; None for its base, and for any other model."""
    subject = name if isinstance(name, Subject) else find_model(name)
    return None if subject.label else subject.run


def _key(sample: Mapping[str, Any]) -> str:
    benchmark, prompt = str(sample.get("benchmark")), sample.get("prompt") or "own"
    return benchmark if prompt == "own" else f"{benchmark}:{prompt}"


def stored_answers(name: Any) -> dict[Path, Stored] | None:
    """The samples that a path holds; None for a model, a run, or a name."""
    from oneshot_rlvr.evaluation.store import read_stored, sample_files

    path = Path(name) if isinstance(name, str) else None
    if path is None or not path.exists() or (path / "run.json").exists():
        return None
    if path.is_dir() and not any(path.glob("*.parquet")):
        return None
    return {file: read_stored(file) for file in sample_files(path)}
