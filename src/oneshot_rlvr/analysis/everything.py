"""All of it for one run or many, as named tables; what the verb `analyse` calls.

Every table's first column is `run`. A piece that a run does not have (yet) is left out and said in
a note, never an error: unfinished runs are analysed too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from oneshot_rlvr.analysis import cost, formats, reflection, saturation, transfer
from oneshot_rlvr.analysis.comparison import Comparison, compare
from oneshot_rlvr.analysis.curves import curves, pairs
from oneshot_rlvr.analysis.rollouts import read_rollouts
from oneshot_rlvr.errors import ConfigError, RecordsError
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.files import shortest_names, write_outputs
from oneshot_rlvr.records.manifest import told
from oneshot_rlvr.settings import flat

SUFFIXES = ("csv", "parquet")
GIBBERISH_LEVEL = 0.05
"""The share of gibberish among a step's answers that, lasting, is called an onset."""

_FORMULA_BEGINS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are full-width forms

_SAMPLES = ["example_id", "correct", "boxed"]
_READINGS = ["strict", "lenient"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How it is looked at: see the modules for each."""

    level: float = saturation.LEVEL
    steps: int = saturation.STEPS
    words: tuple[str, ...] = ()
    targets: tuple[float, ...] = cost.TARGETS
    by: str = "domain"
    texts: bool = True
    sampled: int = 64
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Analysis:
    """`tables`: name -> columns, empty ones left out; `notes`: what could not be said and why;
    `files`: those written. `damaged`: whether records were not as written, and left out."""

    tables: dict[str, pd.DataFrame]
    notes: list[str]
    files: list[Path] = field(default_factory=list)
    damaged: bool = False


def analyse(runs: Sequence[str | Path | Run], settings: Settings | None = None) -> Analysis:
    """Tables: curves, saturation, held_out, reflection, contexts, format, cost, changes,
    cross_domain. ConfigError for no run; RunError, RecordsError for what is none."""
    settings = settings or Settings()
    if not runs:
        raise ConfigError("no run is given; name at least one run's directory")
    if not 0 < settings.level <= 1 or settings.steps < 1:
        raise ConfigError(
            f"saturation at {settings.level:g} for {settings.steps} steps; wanted a share above 0 "
            "and up to 1, and at least 1 step"
        )
    opened = [run if isinstance(run, Run) else Run(run, partly=True) for run in runs]
    patterns = reflection.with_words(settings.words)
    parts: dict[str, list[pd.DataFrame]] = {}
    notes: list[str] = []
    for name, run in zip(_names(opened), opened, strict=True):
        for table, rows in _one(name, run, settings, patterns, notes).items():
            if len(rows):
                rows = rows if "run" in rows else rows.assign(run=name)
                rows = rows[["run", *(c for c in rows.columns if c != "run")]]
                parts.setdefault(table, []).append(rows)
    damaged = False
    for name, run in zip(_names(opened), opened, strict=True):
        missing = told(run.damage())
        damaged |= bool(missing)
        notes += [f"{name}: {what}; that is left out of everything above" for what in missing]
    tables = {table: pd.concat(rows, ignore_index=True) for table, rows in parts.items()}
    if "changes" in tables:
        named = zip(_names(opened), opened, strict=True)
        settings_of = {name: _setting(run) for name, run in named}
        tables["changes"] = transfer.told_apart(tables["changes"], settings_of)
        tables["cross_domain"] = transfer.cells(tables["changes"])
    return Analysis(tables, notes, damaged=damaged)


_SAME_ARM = (
    *("name", "note", "train.seed", "train.threads", "train.save_every", "train.keep_checkpoints"),
    *("reward.workers", "tracking.", "evaluation.", "backend.", "examples."),
)
"""Beginnings of keys in which two runs may differ and still be seeds of one thing; what they were
trained on stands in `trained_on`."""


def _setting(run: Run) -> dict[str, Any]:
    """The dotted keys of a run's recipe that make it another arm than the next."""
    recipe = run.info.get("recipe")
    told = flat(recipe if isinstance(recipe, Mapping) else {})
    return {key: value for key, value in told.items() if not key.startswith(_SAME_ARM)}


def write_tables(
    analysis: Analysis, folder: str | Path, suffix: str = "csv", *, overwrite: bool = False
) -> list[Path]:
    """One file a table: FOLDER/NAME.csv or .parquet. ConfigError for another suffix, RecordsError
    where one would replace another and `overwrite` is not given."""
    if suffix not in SUFFIXES:
        raise ConfigError(f'tables are written as {" or ".join(SUFFIXES)}, not as "{suffix}"')
    outputs = {}
    for name, table in analysis.tables.items():
        if suffix == "csv":
            texts = table.select_dtypes(["object", "string"])
            data = table.assign(**texts.map(inert)).to_csv(index=False).encode("utf-8", "replace")
        else:
            data = table.to_parquet(index=False)
        outputs[Path(folder) / f"{name}.{suffix}"] = data
    return write_outputs(outputs, overwrite=overwrite)


def inert(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula, behind an apostrophe, so that it does not.

    Texts of models and names of folders may begin with anything; numbers stay numbers. Parquet
    needs none of it. (OWASP, "CSV injection".)
    """
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in _FORMULA_BEGINS else cell


def _one(
    name: str, run: Run, settings: Settings, patterns: Mapping[str, str], notes: list[str]
) -> dict[str, pd.DataFrame]:
    tables: dict[str, pd.DataFrame] = {}
    metrics, timings = run.metrics(), run.timings()
    steps = pd.DataFrame({"step": []})
    if settings.texts and run.rollout_steps():
        read = read_rollouts(run, patterns, sampled=settings.sampled, threads=settings.threads)
        steps, tables["contexts"] = read.steps, read.contexts
        tables["reflection"] = reflection.rates(steps)
    elif settings.texts:
        notes.append(f"{name}: no rollouts are recorded, so nothing is told of its texts")
    over = curves(metrics, steps)
    tables["curves"] = over
    held_out, evaluation = _held_out(run)
    if held_out is None:
        notes.append(f"{name}: no evaluation is recorded at two steps, so none is held out")
    accuracy = pairs(over, "accuracy")
    saturated = saturation.saturation_step(accuracy, settings.level, settings.steps)
    if saturated is None:
        notes.append(
            f"{name}: training accuracy has not been at least {settings.level:.0%} for "
            f"{settings.steps} steps in a row, so nothing is after saturation"
        )
    samples = held_out or {}
    later = saturation.after_saturation(saturated, samples)
    tables["held_out"] = later
    tables["saturation"] = pd.DataFrame(
        [_saturation_row(over, saturated, later, samples, settings)]
    )
    reached = {"training": accuracy}
    if held_out is not None:
        reached[evaluation] = [(step, _mean(samples[step])) for step in sorted(samples)]
    tables["cost"] = cost.cost_to_reach(reached, metrics, timings, settings.targets)
    comparison = compare(run)
    if comparison is not None and comparison.complete:
        tables["format"] = _format(name, run, comparison, notes)
        trained = transfer.trained_on(_examples(run), settings.by)
        tables["changes"] = transfer.changes(name, trained, comparison, settings.by)
    return tables


def _held_out(run: Run) -> tuple[dict[int, pd.DataFrame] | None, str]:
    """step -> samples of the evaluation that was made at several steps, validation first."""
    steps: dict[str, list[int]] = {}
    for evaluation, step in run.evaluations():
        steps.setdefault(evaluation, []).append(step)
    names = sorted(steps, key=lambda n: (n != "validation", -len(steps[n]), n))
    for name in names:
        if len(steps[name]) > 1:
            columns = ["example_id", "correct"]
            return {step: run.samples(name, step, columns) for step in steps[name]}, name
    return None, ""


def _saturation_row(
    over: pd.DataFrame,
    saturated: int | None,
    later: pd.DataFrame,
    samples: Mapping[int, pd.DataFrame],
    settings: Settings,
) -> dict[str, Any]:
    last = later.iloc[-1] if len(later) > 1 else None
    means = {step: _mean(samples[step]) for step in samples}
    best = max(means, key=lambda step: (means[step], -step)) if means else None
    gibberish = pairs(over, "gibberish_share")
    end = [share for _, share in gibberish[-max(1, len(gibberish) // 10) :]]
    return {
        "steps": int(over["step"].max()) if len(over) else 0,
        "level": settings.level,
        "for_steps": settings.steps,
        "saturation_step": _whole(saturated),
        "held_out_from": _whole(None if not len(later) else int(later["step"].iloc[0])),
        "held_out_to": _whole(None if last is None else int(last["step"])),
        "change": math.nan if last is None else last["change"],
        "low": math.nan if last is None else last["low"],
        "high": math.nan if last is None else last["high"],
        "questions": 0 if not len(later) else int(later["n"].iloc[0]),
        "best_step": _whole(best),
        "overfitting_step": _whole(saturation.overfitting_onset(samples)),
        "gibberish_share_end": sum(end) / len(end) if end else math.nan,
        "gibberish_step": _whole(
            saturation.first_lasting(gibberish, GIBBERISH_LEVEL, settings.steps)
        ),
    }


def _format(name: str, run: Run, comparison: Comparison, notes: list[str]) -> pd.DataFrame:
    assert comparison.step is not None
    sides = []
    for step in (0, comparison.step):
        try:
            sides.append(run.samples(comparison.name, step, [*_SAMPLES, *_READINGS]))
        except RecordsError:  # written before samples held both readings
            sides.append(run.samples(comparison.name, step, _SAMPLES))
    if not all("lenient" in side for side in sides):
        notes.append(
            f"{name}: its samples have no lenient verdict, so the gain with the format forgiven is "
            "not told; evaluate base and result again"
        )
    return formats.format_gain(*sides)


def _mean(samples: pd.DataFrame) -> float:
    return float(samples.groupby("example_id")["correct"].mean().mean())


def _whole(step: int | None) -> Any:
    """A step in a column that may lack it: a whole number or missing, never a float."""
    return pd.NA if step is None else step


def _examples(run: Run) -> list[Mapping[str, Any]]:
    examples = run.info.get("examples")
    items = [examples] if isinstance(examples, Mapping) else examples or []
    return [item for item in items if isinstance(item, Mapping)]


def _names(runs: Sequence[Run]) -> list[str]:
    """The directories' names, with as many parents as tell them apart."""
    paths = [run.directory.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise ConfigError("a run is given twice; name each once")
    return shortest_names(paths)
