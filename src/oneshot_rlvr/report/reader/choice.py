"""Which rollouts and held-out answers stand in a file of bounded size: as many as fit, evenly.

Rollouts: the same number of each of evenly spaced steps, never by what they say. Answers: evenly
spaced questions, each with the same samples at every step that is shown, so that they can be read
side by side. What was chosen is told in words. The rows are JSON, compressed (gzip, base64).
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.files import to_json
from oneshot_rlvr.report.data import RunData, evenly
from oneshot_rlvr.report.reader.rows import (
    ANSWER_COLUMNS,
    ASKED,
    ROLLOUT_COLUMNS,
    answer_row,
    example_told,
    question_told,
    rollout_row,
)
from oneshot_rlvr.report.reader.tokens import Pieces

MOST_STEPS = 300
"""Steps whose rollouts are read for a file, at most; a longer run is read at evenly spaced ones."""
_FIRST_TRY = 2_000
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """One run's part of the reader. `told`, `answers_told`: which of how many stand here."""

    name: str
    told: str
    rollouts: list[dict[str, Any]]
    examples: dict[str, Any]
    answers_told: str
    answers: list[dict[str, Any]]
    questions: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def choose(runs: Sequence[RunData], limit_bytes: int) -> list[Chosen]:
    """The reader's rows of all runs, whose packed size stays below the limit."""
    share = limit_bytes // max(1, len(runs))
    return [_of_run(run, share) for run in runs]


def packed(value: Any) -> str:
    """JSON as text that can stand in any element: gzip, then base64."""
    return base64.b64encode(gzip.compress(to_json(value), 6, mtime=0)).decode("ascii")


def _of_run(run: RunData, limit_bytes: int) -> Chosen:
    if run.directory is None:
        return Chosen(run.label, "No rollouts are recorded.", [], {}, "", [], {})
    records = Run(run.directory, partly=True)
    pieces = Pieces.of(run.directory, run.recipe)
    every, ends = sorted(run.summaries), _ends(run)
    answers = _fit(lambda count: _answers(records, run, every, count), limit_bytes * 2 // 5)
    if every != ends and not answers[0].startswith("All"):
        answers = _fit(lambda count: _answers(records, run, ends, count), limit_bytes * 2 // 5)
    rest = limit_bytes - len(packed([answers[1], answers[2]]))
    rollouts = _fit(lambda count: _rollouts(records, run, pieces, count), rest)
    return Chosen(run.label, *rollouts, *answers)


_Part = tuple[str, list[dict[str, Any]], dict[str, Any]]


def _fit(make: Callable[[int], tuple[_Part, int]], limit_bytes: int) -> _Part:
    """As many rows as fit: tried with a few, then with what their size leaves room for."""
    part, available = make(_FIRST_TRY)
    for _ in range(_TRIES):
        size, count = len(packed([part[1], part[2]])), len(part[1])
        fits = size <= limit_bytes
        if count == 0 or (fits and (count >= available or size > 0.85 * limit_bytes)):
            return part
        wanted = int(count * limit_bytes * 0.95 / size)
        if fits and wanted <= count:
            return part
        part, available = make(max(1, min(wanted, available)))
    while len(packed([part[1], part[2]])) > limit_bytes and len(part[1]) > 1:
        part, available = make(max(1, len(part[1]) // 2))
    return part


def _rollouts(records: Run, run: RunData, pieces: Pieces, count: int) -> tuple[_Part, int]:
    """About `count` rollouts, and how many there could be: those of the steps that are read."""
    recorded = list(run.rollout_steps)
    steps = evenly(recorded, min(MOST_STEPS, max(2, count)))
    each = max(1, -(-count // max(1, len(steps))))
    rows: list[dict[str, Any]] = []
    examples: dict[str, Any] = {}
    available = 0
    whole = True
    for step in steps:
        table = records.rollout_table_if_whole(step, [*ROLLOUT_COLUMNS, "prompt_tokens"])
        if table is None:
            continue
        available += len(table)
        places = evenly(range(len(table)), each)
        whole &= len(places) == len(table)
        for values in table.take(places).to_pylist():
            rows.append(rollout_row(values, pieces))
            example = rows[-1]["of"]
            if example not in examples:
                prompt = pieces.text(values["prompt_tokens"])
                examples[example] = example_told(run.examples, example, prompt)
    if not rows:
        return ("No rollouts are recorded.", [], {}), 0
    if whole and len(steps) == len(recorded):
        told = f"All {len(rows):,} rollouts of the run."
    else:
        total = round(available / len(steps) * len(recorded))
        every = len(steps) == len(recorded)
        about = "" if every else "about "
        where = "every step" if every else f"each of {len(steps):,} evenly spaced steps"
        told = (
            f"{len(rows):,} of {about}{total:,} rollouts, as many as a file of 5 MB holds: up to "
            f"{each:,}, evenly chosen, of {where}. `oneshot watch` pages through all of them."
        )
    return (told, rows, examples), available


def _answers(
    records: Run, run: RunData, shown: Sequence[tuple[str, int]], count: int
) -> tuple[_Part, int]:
    """About `count` answers of evenly spaced questions, the same at every step."""
    rows: list[dict[str, Any]] = []
    questions: dict[str, Any] = {}
    available = sum(
        int(run.summaries[item].get("overall", {}).get("samples") or 0) for item in shown
    )
    share = min(1.0, count / max(1, available))
    for evaluation, step in shown:
        try:
            samples = records.samples(evaluation, step)
        except RecordsError:
            continue  # found and told by the run's damage
        ids = sorted(samples["example_id"].unique())
        kept = set(evenly(ids, max(1, int(share * len(ids)))))
        extra = [ASKED] if ASKED in samples else []
        columns = [*ANSWER_COLUMNS, *extra]
        for values in samples[samples["example_id"].isin(kept)][columns].to_dict("records"):
            rows.append(answer_row(evaluation, step, values))
            questions.setdefault(rows[-1]["of"], question_told(values))
    if not rows:
        return ("No held-out answers are recorded.", [], {}), 0
    if len(rows) >= available and len(shown) == len(run.summaries):
        told = f"All {len(rows):,} held-out answers."
    else:
        told = (
            f"{len(rows):,} held-out answers, as many as fit: to {len(questions):,} evenly chosen "
            f"questions, at {len(shown)} of {len(run.summaries)} evaluations."
        )
    return (told, rows, questions), available


def _ends(run: RunData) -> list[tuple[str, int]]:
    """The evaluations that are shown where not all fit: the first, the next and the last of each
    name."""
    shown = []
    for name in dict.fromkeys(name for name, _ in sorted(run.summaries)):
        steps = sorted(step for evaluation, step in run.summaries if evaluation == name)
        shown += [(name, step) for step in dict.fromkeys([*steps[:2], steps[-1]])]
    return shown
