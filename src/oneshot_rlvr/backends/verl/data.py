"""Our examples as verl's Parquet columns, and the questions of a run as its training file.

    data_source, prompt, ability, reward_model, extra_info     verl's own columns
    verifier, domain, family                                    ours, kept for the way back

`examples.load_file` reads such a file back (its layout `verl`). A run's training file holds the
rows of every step in order (`examples.schedule`), so that verl, which then shuffles nothing, asks
in step k what the local backend asks in step k.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples.schedule import rows_of_step
from oneshot_rlvr.types import Example

TRAINING, VALIDATION = "training", "validation"
"""The sets of a run."""

SOURCE = "oneshot"
"""verl's `data_source` of an example that names no family."""


def to_verl(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """One row an example, in verl's columns.

    DataError: an example without an id, or whose options Parquet cannot hold beside the others'.
    """
    rows = []
    for example in examples:
        if not example.id:
            raise DataError("an example has no id; verl's rows are told apart by it.")
        rows.append(
            {
                "data_source": example.family or SOURCE,
                "prompt": [dict(turn) for turn in example.chat()],
                "ability": example.domain or "",
                "reward_model": {"style": "rule", "ground_truth": example.answer},
                "extra_info": dict(example.extra) | {"index": example.id},
                "verifier": example.verifier,
                "domain": example.domain,
                "family": example.family,
            }
        )
    return rows


def write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Writes rows as one Parquet file. DataError where a column mixes types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pa.Table.from_pylist([dict(row) for row in rows])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"the examples' options do not fit one Parquet table ({error}); give an option the "
            "same type in every example."
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return path


def training_rows(
    examples: Sequence[Example], prompts_per_step: int, steps: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of a whole run, in the order asked; one step's rows where every step asks the same.

    Light on purpose: options stay in the run's examples file, where the reward finds them by id
    (`extra_info.index`); `extra_info.row` is the place in the step.
    """
    repeats = 1 if len(examples) == 1 else steps
    return [
        _run_row(TRAINING, examples[e], row)
        for step in range(1, repeats + 1)
        for row, e in enumerate(rows_of_step(len(examples), prompts_per_step, step, seed))
    ]


def asking_rows(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """The rows of the validation set, each question once."""
    return [_run_row(VALIDATION, example, row) for row, example in enumerate(examples)]


def _run_row(name: str, example: Example, row: int) -> dict[str, Any]:
    return {
        "data_source": SOURCE,
        "prompt": [dict(turn) for turn in example.chat()],
        "ability": "",
        "reward_model": {"style": "rule", "ground_truth": example.answer},
        "extra_info": {"index": example.id, "row": row, "set": name},
    }


def write_examples(sets: Mapping[str, Sequence[Example]], path: Path) -> Path:
    """{set: {id: example}} as JSON: what the reward grades against."""
    document = {
        name: {example.id: asdict(example) for example in examples}
        for name, examples in sets.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def read_examples(path: Path) -> dict[str, dict[str, Example]]:
    """The sets that `write_examples` wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: {key: _example(fields) for key, fields in examples.items()}
        for name, examples in document.items()
    }


def _example(fields: Mapping[str, Any]) -> Example:
    return Example(**{**fields, "messages": tuple(fields["messages"])})
