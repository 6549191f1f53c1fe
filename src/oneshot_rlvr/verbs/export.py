"""`export`: a recipe -> the same run written out for another trainer, with the exact command.

What each trainer's files are is in `backends.trl` and `backends.verl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import RunError

if TYPE_CHECKING:
    from oneshot_rlvr.backends.exporters import Exported, Exporter
    from oneshot_rlvr.config import Recipe


def export(
    recipe: Recipe | str | Path | Mapping[str, Any],
    to: str,
    out: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
) -> Exported:
    """Writes a recipe out for another trainer.

    recipe, overrides: as for `train`. to: see `oneshot list exporters`. out: an empty or new
        directory.
    UnknownNameError for a trainer that is not known, ConfigError for a key it has no counterpart
    for, RunError where `out` holds something already.
    """
    from oneshot_rlvr.backends.exporters import EXPORTERS
    from oneshot_rlvr.config import resolve_recipe

    resolved, out = resolve_recipe(recipe, overrides), Path(out)
    exporter: Exporter = EXPORTERS.load(to)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is not an empty directory; choose another with -o.")
    return exporter(resolved, out)
