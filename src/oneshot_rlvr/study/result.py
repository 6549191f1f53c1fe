"""All numbers of a study, from what its runs recorded; and the files that tell them.

The result names the hash of the file that was registered before anything ran. Not here: how the
numbers are made (`gather`, `statistics`, `claims`, `curves`), how they look (`tables`, `page`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from oneshot_rlvr.errors import DataError, RunError
from oneshot_rlvr.records.files import to_json, write_atomic
from oneshot_rlvr.running.provenance import versions
from oneshot_rlvr.study import curves, folder, tables
from oneshot_rlvr.study.claims import Finding, difference, judge
from oneshot_rlvr.study.file import StudyFile
from oneshot_rlvr.study.gather import Gathered, both_sides
from oneshot_rlvr.study.identity import code_version
from oneshot_rlvr.study.spec import BASE
from oneshot_rlvr.study.statistics import hierarchical_bootstrap, holm, paired
from oneshot_rlvr.study.tasks import Task

RESAMPLES = 2000


def result_of(
    file: StudyFile,
    tasks: Sequence[Task],
    registered: Mapping[str, Any],
    failures: Mapping[str, str],
) -> dict[str, Any]:
    """Everything, as JSON's types; what is not done yet is left out and said in "unfinished"."""
    gathered = Gathered(file, tasks)
    study = file.study
    return {
        "schema": 1,
        "study": study.name,
        "title": study.title,
        "note": study.note,
        "sha256": registered["sha256"],
        "code_version": code_version(),  # that of the runs: another code's have other names
        "versions": versions(),
        "seeds": study.seeds,
        "checkpoint": study.checkpoint,
        "intervals": study.intervals,
        "benchmarks": {n: c.model_dump(mode="json") for n, c in study.benchmarks.items()},
        "unfinished": [task.name for task in tasks if not task.done],
        "failures": dict(failures),
        "claims": [_finding(finding) for finding in judge(gathered)],
        "arms": list(_arms(gathered)),
        "differences": _differences(gathered),
        "base_ways": list(_ways(gathered)),
        "budgets": curves.budgets(gathered),
        "curves": curves.efficiency(gathered),
        "pass_at_k": list(curves.pass_at_k(gathered)),
    }


def write_result(directory: Path, result: Mapping[str, Any]) -> None:
    """result.json, the tables and the page. RecordsError for a disk that is full."""
    from oneshot_rlvr.study.page import render

    write_atomic(directory / folder.RESULT, to_json(result, indent=1))
    write_atomic(directory / folder.TABLE, tables.parquet(result))
    write_atomic(directory / folder.MARKDOWN, tables.markdown(result).encode("utf-8"))
    write_atomic(directory / folder.LATEX, tables.latex(result).encode("utf-8"))
    write_atomic(directory / folder.PAGE, render(result).encode("utf-8"))


def _finding(finding: Finding) -> dict[str, Any]:
    told = asdict(finding)
    told["claim"] = finding.claim.model_dump(mode="json")
    return told


def _inside(end: float) -> float:
    """An end of a share's interval within 0..1; nan stays nan."""
    return end if math.isnan(end) else min(1.0, max(0.0, end))


def _over_seeds(gathered: Gathered) -> bool:
    return gathered.file.study.intervals == "seeds and questions"


def _arms(gathered: Gathered) -> Iterator[dict[str, Any]]:
    """Mean accuracy of each arm on each benchmark, with both intervals and the seeds' own."""
    study = gathered.file.study
    generator = np.random.default_rng(0)
    for benchmark in study.benchmarks:
        for arm in (BASE, *study.arms):
            try:
                found = gathered.values(arm, benchmark, "accuracy")
            except (RunError, DataError):
                continue
            told = difference(found, None, over_seeds=_over_seeds(gathered))
            low, high = told.interval()
            drawn = (
                hierarchical_bootstrap(found.values_S_Q, generator, RESAMPLES)
                if told.known
                else (float("nan"), float("nan"))
            )
            yield {
                "arm": arm,
                "benchmark": benchmark,
                "value": told.value,
                "low": _inside(low),
                "high": _inside(high),
                "bootstrap_low": drawn[0],
                "bootstrap_high": drawn[1],
                "seeds": list(found.seeds),
                "by_seed": found.values_S_Q.mean(axis=1).tolist(),
                "questions": told.questions,
                "answers": found.answers,
                "way": found.way,
                "note": "" if arm == BASE else gathered.file.arms[arm].note,
                **{
                    name: float(gathered.values(arm, benchmark, name).values_S_Q.mean())
                    for name in ("boxed", "recheck", "truncated")
                },
            }


def _differences(gathered: Gathered) -> list[dict[str, Any]]:
    """Every arm against every control, paired; p-values corrected by Holm over all of them."""
    study = gathered.file.study
    rows: list[dict[str, Any]] = []
    for benchmark in study.benchmarks:
        for control in study.controls:
            for arm in study.arms:
                if arm == control or (control == "aligned_base" and arm == "format_only"):
                    continue
                try:
                    one = gathered.values(arm, benchmark, "accuracy")
                    other = gathered.values(control, benchmark, "accuracy")
                    told = difference(one, other, over_seeds=_over_seeds(gathered))
                    ours, theirs, seeds = both_sides(one, other)
                except (RunError, DataError):
                    continue
                low, high = told.interval()
                boot = hierarchical_bootstrap(
                    paired(ours, theirs), np.random.default_rng(0), RESAMPLES
                )
                rows.append(
                    {
                        "arm": arm,
                        "against": control,
                        "benchmark": benchmark,
                        "value": told.value,
                        "low": low,
                        "high": high,
                        "bootstrap_low": boot[0] if told.known else float("nan"),
                        "bootstrap_high": boot[1] if told.known else float("nan"),
                        "p_value": told.p_value(),
                        "seeds": list(seeds),
                        "questions": told.questions,
                    }
                )
    for row, p in zip(rows, holm([float(row["p_value"]) for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def _ways(gathered: Gathered) -> Iterator[dict[str, Any]]:
    """How the base did in every way; `strongest` is compared with."""
    for benchmark in gathered.file.study.benchmarks:
        try:
            ways = gathered.base_ways(benchmark)
        except RunError:
            return
        found = [gathered.way_accuracy(one) for one in ways]
        best = max(range(len(ways)), key=lambda i: float(found[i].values_S_Q.mean()))
        for number, (one, values) in enumerate(zip(ways, found, strict=True)):
            told = difference(values, None, over_seeds=False)
            low, high = told.interval()
            yield {
                "benchmark": benchmark,
                "way": one.way,
                "value": told.value,
                "low": _inside(low),
                "high": _inside(high),
                "strongest": number == best,
            }
