"""A run's directory, whatever trained it: may it be continued, and what it says when it ends."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import Recipe, parse_recipe
from oneshot_rlvr.errors import ConfigError, RecordsError, RunError
from oneshot_rlvr.records import Run, RunWriter
from oneshot_rlvr.records.files import Lock
from oneshot_rlvr.records.schema import EVALUATIONS, LOCK, METRICS, ROLLOUTS, RUN
from oneshot_rlvr.running.prepare import held_out
from oneshot_rlvr.train.checkpoint import CHECKPOINTS, checkpoint_steps

FINAL = "final"
MAY_CHANGE = ("note ", "tracking.", "train.keep_checkpoints ", "train.max_skipped_updates ")
"""Beginnings of the keys that a resume may change: none of a step's numbers depends on them."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Where the run is, its closing summary, and whether a finished run was taken as it was.

    `stopped_after`: the last step saved, where the run was asked to stop (0: none yet); it has no
    summary then. None for a run that is finished.
    """

    directory: Path
    summary: dict[str, Any]
    reused: bool
    stopped_after: int | None = None


def earlier_run(recipe: Recipe, out: Path, resume: bool) -> Run | None:
    """The run that `out` already holds, if it may be continued; None: there is none.

    RunError for a run without `resume`, of another recipe, or for anything else that stands there.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give the run a directory with --out.")
    if not (out / RUN).exists():
        taken = [
            n for n in (METRICS, ROLLOUTS, EVALUATIONS, CHECKPOINTS, FINAL) if (out / n).exists()
        ]
        if taken:
            raise RunError(
                f"{out} holds {taken[0]} but no {RUN}: it is not a run that could be continued; "
                "choose another directory with --out."
            )
        return None
    earlier = Run(out)
    if not resume:
        _refuse_more_steps(earlier, recipe)
        raise RunError(
            f"{out} already holds {_a_run(earlier)}; continue it with --resume or choose "
            "another directory with --out."
        )
    try:
        # Parsed, not compared as it stands: a setting that is new since then has its default.
        was = parse_recipe(earlier.info["recipe"])
    except (KeyError, ConfigError) as error:
        raise RunError(
            f"{out} holds a run whose recipe this version does not read ({error}); choose another "
            "directory with --out."
        ) from error
    changed = [
        change
        for change in changes(was.model_dump(mode="json"), recipe.model_dump(mode="json"))
        if not change.startswith(MAY_CHANGE)
    ]
    if changed:
        _refuse_more_steps(earlier, recipe)
        raise RunError(
            f"{out} holds a run of another recipe ({'; '.join(changed[:5])}); resume with the "
            f"same recipe, go on from it in a new run with --fork {out} --out DIR, or choose "
            "another directory with --out."
        )
    return earlier


def _refuse_more_steps(earlier: Run, recipe: Recipe) -> None:
    """RunError, with the command that goes on, where a recipe is the run's own but for its steps,
    of which it has more.

    Such a run is not made longer in place: its number of steps is what its result, its test and its
    page are about, and others may have read them.
    """
    try:
        was = parse_recipe(earlier.info["recipe"])
    except (KeyError, ConfigError):
        return
    steps, more = was.train.steps, recipe.train.steps
    changed = changes(was.model_dump(mode="json"), recipe.model_dump(mode="json"))
    others = [c for c in changed if not c.startswith((*MAY_CHANGE, "train.steps "))]
    if others or more <= steps:
        return
    here = earlier.directory
    if not checkpoint_steps(here):
        return
    out = _free(here.with_name(f"{here.name}-{more}"))
    command = ["oneshot", "train", "--fork", str(here), "--train.steps", str(more)]
    raise RunError(
        f"{here} holds {_a_run(earlier)} of {steps:,} steps, which stay as they are. Go on to step "
        f"{more:,} from its newest checkpoint, in a run of its own, with "
        f"`{shlex.join([*command, '--out', str(out)])}`, or begin anew elsewhere with --out DIR."
    )


def _a_run(run: Run) -> str:
    """One that was interrupted is not called running: nobody may be writing it."""
    return "a finished run" if run.status == "finished" else "an unfinished run"


def _free(path: Path) -> Path:
    """The path, or the first of path.2, path.3 ... that nothing has."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in itertools.count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


def set_aside(out: Path) -> Path | None:
    """Moves a run that has trained nothing out of the way; where it lies now, None: it stays.

    A run whose first step never came (a recipe that could not work, Ctrl-C while the model loads)
    holds nothing that could go on, and must not keep the corrected command out. It is kept beside,
    as NAME.untrained. One that another process is writing stays.
    """
    if not (out / RUN).is_file():
        return None
    try:
        earlier = Run(out)
        if earlier.status == "finished" or not earlier.metrics().empty or checkpoint_steps(out):
            return None
        Lock(out / LOCK).release()
    except (RecordsError, RunError):
        return None
    beside = _free(out.with_name(f"{out.name}.untrained"))
    out.rename(beside)
    return beside


def changes(was: Any, now: Any, key: str = "") -> list[str]:
    """Dotted keys whose values differ, with both values."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys([*was, *now]))
        return [c for k in keys for c in changes(was.get(k), now.get(k), f"{key}.{k}".strip("."))]
    return [] if was == now else [f"{key} was {was!r}, now {now!r}"]


def closing_summary(recipe: Recipe, writer: RunWriter, chosen: int) -> dict[str, Any]:
    """run.json's "result": the chosen step, its rule, and every evaluation before and after."""
    run = Run(writer.directory)
    recorded = run.evaluations()
    sides = (("before", 0), ("after", chosen))
    return {
        "step": chosen,
        "checkpoint_rule": recipe.train.checkpoint_rule,
        **{
            name: {when: run.summary(name, at) for when, at in sides if (name, at) in recorded}
            for name in held_out(recipe)
        },
    }
