"""`evaluate --regrade`: stored answers -> the same answers graded again, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def regrade(
    path: str | Path, *, workers: int = 1, seed: int = 0
) -> dict[Path, list[dict[str, Any]]]:
    """Grades the stored answers of a file or folder again, in place, without the model.

    {file: its rows}; each row keeps what it was (`previous_correct`, `previous_version`).
    """
    from oneshot_rlvr.config import RewardConfig
    from oneshot_rlvr.evaluation.regrade import regrade as grade_again
    from oneshot_rlvr.evaluation.store import read_samples, sample_files, write_samples
    from oneshot_rlvr.rewards import Scorer

    files = {file: read_samples(file) for file in sample_files(Path(path))}
    regraded = {}
    with Scorer(RewardConfig(workers=workers), seed=seed) as scorer:
        for file, rows in files.items():
            regraded[file] = grade_again(rows, scorer)
            write_samples(file, regraded[file])
    return regraded
