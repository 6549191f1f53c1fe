"""Filtered pages of all rollouts or answers of a run: what `watch` asks for, read as it is asked.

Nothing is indexed: a page is filled step after step from a cursor, and ends early when a second has
passed, saying how far it searched. So a run of any length opens at once, and one that grows or is
rewound is read as it is now. Light columns are looked at first; texts and tokens only of hits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.records import Run
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

MOST_ROWS = 100
BESIDE = 8
"""Rows of a column where base, early and late stand side by side."""
SECONDS = 1.0
"""How long a page is searched for before what was found is shown."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; a filter that is None or empty lets everything through.

    low, high: steps. tokens_low, tokens_high: generated tokens. after: the cursor of the page
    before. key: one row alone, by its name in a deep link. late: the last steps first.
    """

    low: int | None = None
    high: int | None = None
    example: str = ""
    right: bool | None = None
    reason: str = ""
    tokens_low: int | None = None
    tokens_high: int | None = None
    text: str = ""
    evaluation: str = ""
    key: str = ""
    late: bool = False
    after: str = ""
    limit: int = 50

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Query:
        """From a request's words. What is no number is no filter: a page never fails of them."""
        known: dict[str, Any] = {}
        for item in fields(cls):
            word = asked.get(item.name, "")
            if not word:
                continue
            if item.name in ("right", "late"):
                known[item.name] = word == "1"
            elif item.name in ("low", "high", "tokens_low", "tokens_high", "limit"):
                if word.lstrip("-").isascii() and word.lstrip("-").isdigit() and len(word) < 12:
                    known[item.name] = int(word)
            else:
                known[item.name] = word[:1000]
        known["limit"] = max(1, min(known.get("limit", 50), MOST_ROWS))
        return cls(**known)


def rollouts(
    run: Run, query: Query, pieces: Pieces, examples: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One page: rows, the examples they belong to, the next cursor, and how far was searched."""
    steps = [step for step in run.rollout_steps() if _between(step, query.low, query.high)]
    wanted = _place(query.key)
    if wanted is not None:
        steps = [step for step in steps if step == wanted[0]]
    if query.late:
        steps.reverse()
    first, skipped = _cursor(query.after)
    if first is not None:
        later = [place for place, step in enumerate(steps) if step == first]
        steps = steps[later[0] :] if later else []
    rows: list[dict[str, Any]] = []
    told: dict[str, Any] = {}
    until, following, searched = time.monotonic() + SECONDS, None, None
    for step in steps:
        if rows and (len(rows) >= query.limit or time.monotonic() > until):
            following = following or f"{step}:0"
            break
        if not rows and time.monotonic() > until + SECONDS * 2:
            following = f"{step}:0"
            break
        places = _hits(run, step, query, wanted)
        searched = step
        start = skipped if step == first else 0
        room = query.limit - len(rows)
        if len(places) > start + room:
            following = f"{step}:{start + room}"
        places = places[start : start + room]
        table = run.rollout_table_if_whole(step, [*ROLLOUT_COLUMNS, "prompt_tokens"])
        for values in table.take(places).to_pylist() if table is not None and places else ():
            rows.append(rollout_row(values, pieces))
            name = rows[-1]["of"]
            if name not in told:
                told[name] = example_told(examples, name, pieces.text(values["prompt_tokens"]))
        if following:
            break
    return {"rows": rows, "told": told, "next": following, "searched": searched}


def answers(run: Run, query: Query) -> dict[str, Any]:
    """The same of held-out answers."""
    shown = [
        (name, step)
        for name, step in run.evaluations()
        if _between(step, query.low, query.high) and query.evaluation in ("", name)
    ]
    if query.late:
        shown.sort(key=lambda item: (-item[1], item[0]))
    name_at, start = _answers_cursor(query.after)
    if name_at is not None:
        shown = shown[shown.index(name_at) :] if name_at in shown else []
    rows: list[dict[str, Any]] = []
    told: dict[str, Any] = {}
    following, searched = None, None
    for name, step in shown:
        if len(rows) >= query.limit:
            following = following or f"{name}:{step}:0"
            break
        try:
            samples = run.samples(name, step)
        except RecordsError:
            continue  # told by the run's damage
        searched = step
        extra = [ASKED] if ASKED in samples else []
        table = pa.Table.from_pandas(samples[[*ANSWER_COLUMNS, *extra]], preserve_index=False)
        mask = _mask(table, query, table["tokens"])
        if query.key:
            mask = _both(mask, _is_answer(table, name, step, query.key))
        places = _true(mask, len(table))
        begin = start if (name, step) == name_at else 0
        room = query.limit - len(rows)
        if len(places) > begin + room:
            following = f"{name}:{step}:{begin + room}"
        here = pa.array(places[begin : begin + room], pa.int64())  # typed also where it is empty
        for values in table.take(here).to_pylist():
            rows.append(answer_row(name, step, values))
            told.setdefault(rows[-1]["of"], question_told(values))
        if following:
            break
    return {"rows": rows, "told": told, "next": following, "searched": searched}


def rollouts_beside(
    run: Run, example: str, pieces: Pieces, examples: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Some rollouts of one example, at the first step that has it, early and late."""
    columns: list[dict[str, Any]] = []
    told: dict[str, Any] = {}
    recorded = run.rollout_steps()
    for title, query in _stages(recorded):
        found = rollouts(run, replace(query, example=example, limit=BESIDE), pieces, examples)
        rows = [row for row in found["rows"] if row["s"] == found["rows"][0]["s"]]
        told |= found["told"]
        if rows and all(column["step"] != rows[0]["s"] for column in columns):
            columns.append({"title": title, "step": rows[0]["s"], "rows": rows})
    return {"columns": columns, "told": told}


def answers_beside(run: Run, evaluation: str, question: str) -> dict[str, Any]:
    """The answers to one question of an evaluation, of the base model, early and late."""
    columns: list[dict[str, Any]] = []
    told: dict[str, Any] = {}
    recorded = [step for name, step in run.evaluations() if name == evaluation]
    for title, query in _stages(recorded):
        asked = replace(query, example=question, evaluation=evaluation, limit=BESIDE)
        found = answers(run, asked)
        rows = [row for row in found["rows"] if row["s"] == found["rows"][0]["s"]]
        told |= found["told"]
        if rows and all(column["step"] != rows[0]["s"] for column in columns):
            columns.append({"title": title, "step": rows[0]["s"], "rows": rows})
    return {"columns": columns, "told": told}


def _stages(steps: Sequence[int]) -> list[tuple[str, Query]]:
    """Where to look for base, early and late: the first step on, a tenth of the way on, the last
    one back."""
    if not steps:
        return []
    first, last = steps[0], steps[-1]
    early = [step for step in steps if step > first and step >= first + (last - first) / 10]
    return [
        ("Base", Query(low=first)),
        *([("Early", Query(low=early[0]))] if early and early[0] < last else []),
        ("Late", Query(high=last, late=True)),
    ]


def _hits(run: Run, step: int, query: Query, wanted: tuple[int, int, int] | None) -> list[int]:
    """Places of one step's rollouts that the query wants."""
    columns = ["row", "index", "example_id", "correct", "reason"]
    columns += ["text"] * bool(query.text)
    by_length = query.tokens_low is not None or query.tokens_high is not None
    columns += ["tokens"] * by_length
    table = run.rollout_table_if_whole(step, columns)
    if table is None:
        return []
    mask = _mask(table, query, pc.list_value_length(table["tokens"]) if by_length else None)
    if wanted is not None:
        here = pc.and_(pc.equal(table["row"], wanted[1]), pc.equal(table["index"], wanted[2]))
        mask = _both(mask, here)
    return _true(mask, len(table))


def _mask(table: pa.Table, query: Query, lengths: Any) -> Any:
    mask = None
    if query.example:
        mask = _both(mask, pc.equal(table["example_id"], query.example))
    if query.right is not None:
        mask = _both(mask, pc.equal(table["correct"], query.right))
    if query.reason:
        mask = _both(mask, pc.equal(table["reason"], query.reason))
    if query.text:
        mask = _both(mask, pc.match_substring(table["text"], query.text, ignore_case=True))
    if lengths is not None and query.tokens_low is not None:
        mask = _both(mask, pc.greater_equal(lengths, query.tokens_low))
    if lengths is not None and query.tokens_high is not None:
        mask = _both(mask, pc.less_equal(lengths, query.tokens_high))
    return mask


def _is_answer(table: pa.Table, name: str, step: int, key: str) -> Any:
    keys = [
        f"{name}.{step}.{example}.{sample}"
        for example, sample in zip(
            table["example_id"].to_pylist(), table["sample"].to_pylist(), strict=True
        )
    ]
    return pa.array([found == key for found in keys])


def _both(mask: Any, other: Any) -> Any:
    return other if mask is None else pc.and_(mask, other)


def _true(mask: Any, count: int) -> list[int]:
    if mask is None:
        return list(range(count))
    return list(pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist())


def _between(step: int, low: int | None, high: int | None) -> bool:
    return (low is None or step >= low) and (high is None or step <= high)


def _place(key: str) -> tuple[int, int, int] | None:
    parts = key.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return (-1, -1, -1) if key else None
    return int(parts[0]), int(parts[1]), int(parts[2])


def _cursor(after: str) -> tuple[int | None, int]:
    step, _, skipped = after.partition(":")
    if not (step.isascii() and step.isdigit() and skipped.isascii() and skipped.isdigit()):
        return None, 0
    return int(step), int(skipped)


def _answers_cursor(after: str) -> tuple[tuple[str, int] | None, int]:
    name, _, rest = after.partition(":")
    step, skipped = _cursor(rest)
    return (None if step is None else (name, step)), skipped
