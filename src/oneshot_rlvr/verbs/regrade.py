"""`evaluate --regrade`: stored answers -> the same answers graded again, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import ConfigError


def regrade(
    path: str | Path,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    seed: int = 0,
) -> dict[Path, list[dict[str, Any]]]:
    """Grades the stored answers of a file or folder again, without the model.

    They go to the folder `out`, or with `overwrite` where they were. {file: its rows}; each row
    keeps what it was (`previous_correct`, `previous_version`), a file how many answers it should
    have. ConfigError for neither a place nor `overwrite`, RecordsError where others lie there.
    """
    from oneshot_rlvr.config import RewardConfig
    from oneshot_rlvr.evaluation.regrade import regrade as grade_again
    from oneshot_rlvr.evaluation.store import read_stored, sample_files, write_samples
    from oneshot_rlvr.records.files import refuse_unwritable
    from oneshot_rlvr.rewards import Scorer

    files = {file: read_stored(file) for file in sample_files(Path(path))}
    if out is None and not overwrite:
        raise ConfigError(
            f"new verdicts would replace those in {path}; give another folder with --samples-out, "
            "or --overwrite."
        )
    if out is not None:
        refuse_unwritable(Path(out))
    regraded = {}
    with Scorer(RewardConfig(workers=workers), seed=seed) as scorer:
        for file, stored in files.items():
            rows = grade_again(stored.rows, scorer)
            target = file if out is None else Path(out) / file.name
            # What it lacked it still lacks.
            write_samples(target, rows, expected=len(rows) + stored.missing, overwrite=overwrite)
            regraded[target] = rows
    return regraded
