"""The layout of a run directory and the columns of its tables. Not code that reads or writes.

    run.json                         schema version, status, info (who, what, where), result
    metrics.jsonl                    one flat object per step, "step" first; no clocks
    timings.jsonl                    the same for seconds and memory
    rollouts/step-000001.parquet     one part a step, one row a rollout
    evaluations/validation-base.*    graded samples (.parquet) and their summary (.json);
    evaluations/test-000120.*        "base" is step 0, the model before training
    checkpoints/step-000020/         written by the trainer
    final/                           the resulting model, a plain HF directory
    manifest.jsonl                   what each of these files should hold (manifest.py)
    report.html                      written by the report
    run.lock                         held by the process that writes

Version 1, also of runs whose tables lack `score`, which then is 1 for a right answer and 0 for any
other. A reader refuses every other version: a silent guess would misread a run. Parquet files
are zstd-compressed; log-probabilities are float32 nats.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from oneshot_rlvr.errors import RecordsError

SCHEMA_VERSION = 1

RUN, METRICS, TIMINGS, LOCK = "run.json", "metrics.jsonl", "timings.jsonl", "run.lock"
MANIFEST = "manifest.jsonl"
ROLLOUTS, EVALUATIONS, FINAL = "rollouts", "evaluations", "final"

_TOKENS = pa.list_(pa.int32())

ROLLOUT_COLUMNS = pa.schema(
    [
        ("step", pa.int32()),
        ("row", pa.int32()),
        ("index", pa.int32()),
        ("example_id", pa.string()),
        ("prompt_tokens", _TOKENS),
        ("tokens", _TOKENS),
        ("logprobs", pa.list_(pa.float32())),
        ("text", pa.string()),
        ("finished", pa.bool_()),
        ("correct", pa.bool_()),
        ("reason", pa.string()),
        ("extracted", pa.string()),
        ("score", pa.float64()),
        ("reward", pa.float64()),
        ("advantage", pa.float64()),
    ]
)
"""One rollout a row; `row` and `index` place it in its step. With dynamic sampling also `sampling`
(1: the step's first) and `learned`: rows that were replaced are recorded, and have no advantage."""

SAMPLE_COLUMNS = pa.schema(
    [
        ("example_id", pa.string()),
        ("group", pa.string()),
        ("domain", pa.string()),
        ("family", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("sample", pa.int32()),
        ("text", pa.string()),
        ("tokens", pa.int32()),
        ("finished", pa.bool_()),
        ("correct", pa.bool_()),
        ("reason", pa.string()),
        ("extracted", pa.string()),
        ("score", pa.float64()),
        ("boxed", pa.bool_()),
    ]
)
"""One graded answer a row; `sample` counts 0..K-1, `tokens` is how many were generated."""

OPTIONAL_SAMPLE_COLUMNS = {"group": "", "extracted": None}
"""What a sample may leave out, and what then stands there; `score` then follows `correct`."""

_EVALUATION = re.compile(r"([a-z][a-z0-9_]*)-(base|\d{6,})")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def rollout_part(directory: Path, step: int) -> Path:
    """rollouts/step-STEP.parquet of a run directory."""
    return directory / ROLLOUTS / f"step-{step:06d}.parquet"


def evaluation_stem(directory: Path, name: str, step: int) -> Path:
    """evaluations/NAME-STEP without suffix. RecordsError for a name that would not read back."""
    if not _NAME.fullmatch(name) or step < 0:
        raise RecordsError(
            f'evaluation "{name}" at step {step}: give a name of a-z, 0-9 and _ that starts with a '
            "letter, and a step of at least 0 (0 is the base model)"
        )
    return directory / EVALUATIONS / f"{name}-{'base' if step == 0 else f'{step:06d}'}"


def parse_evaluation(stem: str) -> tuple[str, int] | None:
    """("test", 120) of "test-000120", ("test", 0) of "test-base", None of anything else."""
    match = _EVALUATION.fullmatch(stem)
    if match is None:
        return None
    return match[1], 0 if match[2] == "base" else int(match[2])


def parse_rollout_part(stem: str) -> int | None:
    """120 of "step-000120", None of anything else (a part that is still being written)."""
    match = re.fullmatch(r"step-(\d{6,})", stem)
    return int(match[1]) if match else None
