"""`evaluate --contamination`: a model and benchmarks -> the questions that it knew beforehand.

How a question is cut and what counts is in `evaluation.contamination`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.verbs.evaluate import FOLDER, Progress, journal_file
from oneshot_rlvr.verbs.loading import load_subject
from oneshot_rlvr.verbs.subjects import (
    Subject,
    find_benchmark,
    given_settings,
    recipe_of,
    subject_of,
    told_apart,
)

if TYPE_CHECKING:
    from oneshot_rlvr.evaluation.endpoint import Endpoint

Probe = tuple[list[dict[str, Any]], dict[str, Any]]
"""A row per question, and the summary."""


def probe_contamination(
    model: str | Path | Subject = "",
    *,
    benchmarks: Sequence[str],
    questions: int | None = None,
    max_prompt_tokens: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    engine: str | None = None,
    endpoint: Endpoint | None = None,
    journals: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Probe]:
    """{benchmark: (a row per question, summary)} of evaluation/contamination.py: the share of
    questions that the model finishes word by word from their first 60 %.

    journals: the folder that keeps continuations as they come, so that a probe that was killed goes
    on; None: evaluations/ for a server's, none for a model's.
    """
    subject = None if endpoint is not None else subject_of(model)
    recipe = recipe_of(subject)
    given = given_settings(seed, questions=questions)
    found = told_apart(
        {name: find_benchmark(name, recipe, given, data_dir, bare=True)[0] for name in benchmarks}
    )
    if subject is None:
        from oneshot_rlvr.evaluation.served import probe_served

        assert endpoint is not None
        return {
            name: probe_served(
                endpoint,
                benchmark,
                journal_file(Path(journals or FOLDER), benchmark.name, "contamination"),
                progress and partial(progress, name),
            )
            for name, benchmark in found.items()
        }
    from oneshot_rlvr.evaluation.run import probe

    loaded = load_subject(subject, engine)
    return {
        name: probe(
            loaded.engine,
            loaded.tokenizer,
            benchmark,
            max_prompt_tokens=max_prompt_tokens or recipe.rollouts.max_prompt_tokens,
            progress=progress and partial(progress, name),
            source=loaded.source,
            journal=None
            if journals is None
            else journal_file(Path(journals), benchmark.name, "contamination"),
        )
        for name, benchmark in found.items()
    }


def write_probes(
    probes: Mapping[str, Probe], folder: Path, *, overwrite: bool = False
) -> list[Path]:
    """The rows of every benchmark as Parquet, one folder a benchmark; those of another probe stay,
    and these lie beside them, unless `overwrite` is given."""
    import pandas as pd

    from oneshot_rlvr.evaluation.store import slug
    from oneshot_rlvr.records.files import write_outputs

    outputs = {}
    for name, (rows, _) in probes.items():
        path = folder / f"{slug(name)}.contamination" / "questions.parquet"
        data = pd.DataFrame(rows).to_parquet()
        if path.exists() and not overwrite and path.read_bytes() != data:
            digest = hashlib.blake2b(data, digest_size=4).hexdigest()
            path = path.with_suffix(f".{digest}.parquet")
        outputs[path] = data
    return write_outputs(outputs, overwrite=overwrite)
