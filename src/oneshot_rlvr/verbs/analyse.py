"""`analyse`: runs -> what happened in them, as tables. The measures are in `analysis`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oneshot_rlvr.errors import ConfigError

if TYPE_CHECKING:
    from oneshot_rlvr.analysis import Analysis


def analyse(
    runs: str | Path | Sequence[str | Path],
    *,
    level: float = 0.95,
    steps: int = 5,
    words: Sequence[str] = (),
    targets: Sequence[float] | None = None,
    by: str = "domain",
    texts: bool = True,
    out: str | Path | None = None,
    suffix: str = "csv",
    overwrite: bool = False,
) -> Analysis:
    """What happened in one run or several, as named tables (`tables`) with notes.

    level, steps: training is saturated when its accuracy has been `level` for so many steps.
    words: more words of self-reflection to count. targets: accuracies whose cost is told.
    by: domain or family, what the cross-domain matrix is made of. texts: read every rollout; False
    leaves out what needs them (reflection, gibberish, exact accuracy).
    out: a folder for the tables, `suffix` csv or parquet; other tables that lie there are replaced
    with `overwrite` only.
    """
    from oneshot_rlvr.analysis import analyse as look
    from oneshot_rlvr.analysis import write_tables
    from oneshot_rlvr.analysis.cost import TARGETS
    from oneshot_rlvr.analysis.everything import Settings

    if by not in ("domain", "family"):
        raise ConfigError(f'by is "{by}"; wanted domain or family.')
    settings = Settings(
        level=level,
        steps=steps,
        words=tuple(words),
        targets=TARGETS if targets is None else tuple(targets),
        by=by,
        texts=texts,
    )
    found = look([runs] if isinstance(runs, str | Path) else runs, settings)
    if out is not None:
        found.files.extend(write_tables(found, out, suffix, overwrite=overwrite))
    return found
