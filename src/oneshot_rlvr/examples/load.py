"""Rows -> the examples of a recipe: layout told, ids settled, repetitions dropped.

A training set published as 128 equal rows is one example; repeating it to a batch is schedule.py's
work. Not here: prompting, or whether a gold satisfies its verifier (`Scorer.check_golds`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import ExamplesConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.examples.columns import renamed, tell_layout, to_example
from oneshot_rlvr.examples.readers import Row, read_rows
from oneshot_rlvr.registry import look_in, nearest
from oneshot_rlvr.types import Example


@dataclass(frozen=True, slots=True)
class Published:
    """Distinct examples with the row that each was read from first, and the rows' layout."""

    examples: list[Example]
    rows: list[Row]
    layout: str


def load_examples(config: ExamplesConfig) -> list[Example]:
    """The distinct examples a recipe names, in file order. ConfigError, DataError."""
    options: dict[str, Any] = {
        "columns": config.columns,
        "verifier": config.verifier,
        "prompt_suffix": config.prompt_suffix,
        "rename": config.rename,
        "ids": config.ids,
        "exclude": config.exclude,
        "first": config.first,
    }
    if config.path is not None:
        return load_file(config.path, split=config.split, **options)
    if config.items is not None:
        rows = [Row(f"examples.items[{i}]", item) for i, item in enumerate(config.items)]
        return examples_from_rows(rows, source="examples.items", **options)
    raise ConfigError(
        "examples.path and examples.items are both unset; give a file, a hub data set, or inline "
        'items such as [{question = "What is 2 + 2?", answer = "4"}].'
    )


def load_file(
    path: str | Path,
    columns: str = "auto",
    verifier: str = "math_answer",
    *,
    split: str = "train",
    folders: Sequence[Path] = (),
    **options: Any,
) -> list[Example]:
    """The distinct examples of a file or hub data set; `options` as in `examples_from_rows`."""
    return load_published(path, columns, verifier, split=split, folders=folders, **options).examples


def load_published(
    path: str | Path,
    columns: str = "auto",
    verifier: str = "math_answer",
    *,
    split: str = "train",
    folders: Sequence[Path] = (),
    **options: Any,
) -> Published:
    """As `load_file`, with the rows as they were published."""
    rows = read_rows(str(path), split=split, folders=folders)
    published = published_from_rows(
        rows, source=str(path), columns=columns, verifier=verifier, **options
    )
    if any(_names_a_function(example.extra) for example in published.examples):
        look_in(Path(path).expanduser().parent)
    return published


def _names_a_function(options: Mapping[str, Any]) -> bool:
    """Whether the options, or a part's, name a function of the user's (verifier custom)."""
    parts = options.get("parts")
    inside = (
        [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    )
    return "function" in options or any(_names_a_function(part) for part in inside)


def examples_from_rows(rows: Sequence[Row], *, source: str, **options: Any) -> list[Example]:
    """The distinct examples of rows; `options` as in `published_from_rows`."""
    return published_from_rows(rows, source=source, **options).examples


def published_from_rows(
    rows: Sequence[Row],
    *,
    source: str,
    columns: str = "auto",
    verifier: str = "math_answer",
    prompt_suffix: str = "",
    rename: Mapping[str, str] | None = None,
    ids: Collection[str] | None = None,
    exclude: Collection[str] = (),
    first: int | None = None,
) -> Published:
    """Distinct examples, in order of first appearance.

    Rows are one example when their id (where rows have ids), chat, gold and verifier are equal. A
    row without an id gets its number (from 0). `rename` maps their column to ours; `ids`,
    `exclude` and `first` choose. DataError: no rows, a missing or non-text field, one id on
    different examples, an id in `ids` or `exclude` that is not there.
    """
    if not rows:
        raise DataError(f"{source} holds no examples; at least one is needed.")
    if rename:
        rows = renamed(rows, rename)
    layout = tell_layout(rows, columns, verifier)
    drafts = (
        (row, to_example(row, layout, verifier=verifier, prompt_suffix=prompt_suffix))
        for row in rows
    )
    distinct = _distinct(drafts)
    known = {example.id: None for _, example in distinct}
    for setting, asked in (("ids", ids or ()), ("exclude", exclude)):
        for name in asked:
            if name not in known:
                raise DataError(
                    f'examples.{setting} names "{name}", which no example of {source} has '
                    f"({len(known)} examples, the first id is {next(iter(known))!r})."
                    f"{nearest(name, list(known))}"
                )
    kept = [
        (row, example)
        for row, example in distinct
        if (ids is None or example.id in ids) and example.id not in exclude
    ][:first]
    if not kept:
        raise DataError(
            f"{source}: examples.ids and examples.exclude leave none of {len(distinct)} examples."
        )
    return Published([example for _, example in kept], [row for row, _ in kept], layout)


def _distinct(drafts: Iterable[tuple[Row, Example]]) -> list[tuple[Row, Example]]:
    by_id: dict[str, tuple[Row, str, Example]] = {}
    unnamed: set[str] = set()  # contents of rows that have no id of their own
    for number, (row, draft) in enumerate(drafts):
        content = json.dumps([draft.chat(), draft.answer, draft.verifier], sort_keys=True)
        if not draft.id:
            if content in unnamed:
                continue
            unnamed.add(content)
        example = draft if draft.id else dataclasses.replace(draft, id=str(number))
        if example.id not in by_id:
            by_id[example.id] = (row, content, example)
        elif by_id[example.id][1] != content:
            raise DataError(
                f'{row.where} has the id "{example.id}", which {by_id[example.id][0].where} has '
                "given to another example; ids must be unique."
            )
    return [(row, example) for row, _, example in by_id.values()]
