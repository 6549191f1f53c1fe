"""`train`: a recipe -> a run in its directory, with its report.

The recipe is resolved, the directory is found, the backend that the recipe names trains in it
(`backends.local`: checks, claims the directory, trains, tests, saves), and the report is written.
Not here: what every backend needs of a run (`running`), the steps (`train`), printing (`cli`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import ConfigError, RunError
from oneshot_rlvr.verbs.report import report
from oneshot_rlvr.verbs.subjects import RUNS

if TYPE_CHECKING:
    from oneshot_rlvr.config import Recipe
    from oneshot_rlvr.running.directory import RunResult


def train(
    recipe: Recipe | str | Path | Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fork: str | None = None,
    progress: Any = None,
    stopping: Any = None,
) -> RunResult:
    """Trains as a recipe says, evaluates before and after, and writes the run with its report.

    recipe: a Recipe, a TOML file, the name of a packaged recipe, or nested tables.
    overrides: dotted keys over it, {"train.steps": 10}; not with a Recipe, which is resolved.
    out: the run's directory; None takes runs/NAME, the recipe's name.
    resume: continue the run in `out`, or return it where it is finished (`result.reused`). Without
        it a directory that holds a run is refused.
    fork: RUN or RUN@STEP: a new run that begins with that run's checkpoint, its steps counting on.
    progress: told of steps and notes; see `oneshot_rlvr.cli.progress.Progress`.
    stopping: an `oneshot_rlvr.train.stopping.Stopping`, to end the run after a step; resume it.
    Returns the directory, the closing summary, whether a finished run was reused, and after which
        step the run was stopped, if it was.
    Raises errors of `oneshot_rlvr.errors`: a recipe, examples, model or directory that cannot be.
    """
    from oneshot_rlvr.backends import BACKENDS
    from oneshot_rlvr.config import resolve_recipe

    resolved = resolve_recipe(recipe, overrides)

    if fork is not None and resolved.backend.name != "local":
        raise ConfigError(
            f"--fork begins with a checkpoint of this package, which the backend "
            f"{resolved.backend.name} does not read. Fork with backend.name=local."
        )
    origin = {} if fork is None else {"fork": fork}
    result = BACKENDS.load(resolved.backend.name)(
        resolved,
        out=run_directory(resolved, out),
        resume=resume,
        **origin,
        progress=progress,
        stopping=stopping,
    )
    if result.stopped_after is None and _report_is_stale(result.directory):
        report(result.directory)
    return result


def recipe_of_run(run: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe that a run was begun with, dotted keys over it: what a resume without a recipe
    takes. RunError for no run."""
    from oneshot_rlvr.config import with_overrides
    from oneshot_rlvr.records import Run

    recipe = Run(run).info.get("recipe")
    if not isinstance(recipe, Mapping):
        raise RunError(f"{run} holds a run that tells no recipe; give the recipe.")
    return with_overrides(recipe, overrides or {})


def run_directory(recipe: Recipe, out: str | Path | None) -> Path:
    """Where the run goes: `out`, or runs/NAME."""
    if out is not None:
        return Path(out)
    if recipe.name in ("", ".", "..") or Path(recipe.name).name != recipe.name:
        raise ConfigError(
            f'name is "{recipe.name}", which cannot name a directory under runs/; rename the '
            "recipe or give the directory (--out DIR)."
        )
    return Path(RUNS) / recipe.name


def _report_is_stale(directory: Path) -> bool:
    written = directory / "report.html"
    return (
        not written.exists() or written.stat().st_mtime < (directory / "run.json").stat().st_mtime
    )
