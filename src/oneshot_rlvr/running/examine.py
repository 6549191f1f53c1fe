"""A run looked over: what of it is no longer as it was written, and from where it can go on.

Reads only, every byte once; asks of checkpoints what `--resume` asks. Not here: mending anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from oneshot_rlvr.errors import RecordsError, RunError
from oneshot_rlvr.records import Run, files, manifest, schema
from oneshot_rlvr.records.writer import check_records
from oneshot_rlvr.train.checkpoint import (
    Checkpoint,
    checkpoint_steps,
    latest_checkpoint,
    read_checkpoint,
)


@dataclass(slots=True)
class Examination:
    """`damage`: what is not as it was written; `notes`: what is worth knowing; `goes_on`: one
    sentence about `--resume`."""

    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goes_on: str = ""


def examine(directory: str | Path) -> Examination:
    """RunError for what is no run, RecordsError where run.json itself is damaged."""
    run, found = Run(directory), Examination()
    try:
        files.Lock(run.directory / schema.LOCK).release()
    except RunError:
        found.notes.append("another process is writing this run; what it writes now may be told")
    known = manifest.read(run.directory)
    if known is None:
        found.notes.append("written without a manifest: only what cannot be read is noticed")
        _read_all(run, found)
    elif len(odd := manifest.unlisted(run.directory, known)) == 1:
        found.notes.append(f"{odd[0]} is not in the manifest, as a kill may leave it")
    damage = run.damage(full=True)
    found.damage += manifest.told(damage)

    def recorded(checkpoint: Checkpoint) -> None:
        check_records(run.directory, damage, checkpoint.loop.get("records", {}), checkpoint.step)

    best = run.info.get("recipe", {}).get("train", {}).get("checkpoint_rule") == "best_validation"
    start, passed = latest_checkpoint(run.directory, with_best=best, check=recorded)
    words = [str(error).rstrip(".") for error in passed]
    for step in checkpoint_steps(run.directory):  # those before it too
        try:
            read_checkpoint(run.directory, step)
        except RecordsError as error:
            words.append(str(error).rstrip("."))
    found.damage += dict.fromkeys(words)
    if run.status == "finished":
        found.goes_on = "finished: there is nothing to go on with"
    elif start is None:
        found.goes_on = "--resume has no checkpoint to go on from"
    else:
        found.goes_on = f"--resume goes on after step {start.step}"
    return found


def _read_all(run: Run, found: Examination) -> None:
    for step in run.rollout_steps():
        try:
            run.rollout_table(step, ["text"])
        except RecordsError as error:
            found.damage.append(str(error))
    for name, step in run.evaluations():
        try:
            run.summary(name, step)
            run.samples(name, step, ["correct"])
        except RecordsError as error:
            found.damage.append(str(error))
