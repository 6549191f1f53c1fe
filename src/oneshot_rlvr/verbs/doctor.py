"""`doctor RUN`: a run -> which of its files are not as they were written, and where it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneshot_rlvr.running.examine import Examination


def doctor(run: str | Path) -> Examination:
    """Reads every byte of the run once. RunError for what is none, RecordsError for a damaged
    run.json."""
    from oneshot_rlvr.running.examine import examine

    return examine(run)
