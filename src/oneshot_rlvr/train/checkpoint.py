"""Checkpoints: what a run needs to go on exactly as if it had never stopped.

One directory a step, without pickles:

    config.json, model.safetensors ...   the model as a plain HF directory
    optimizer.safetensors                the policy's optimizer
    learner.safetensors                  tensors of all else that learns (train/learner.py), if any
    random.safetensors                   the global generators (train/generators.py)
    state.json                           step, best validation so far, the learner's and the loop's
                                         values (updates done, data cursor, how far the records go),
                                         a SHA-256 of every file and of itself

The learning rate and the data are functions of the step, and so is the randomness of rollouts. A
checkpoint is written beside its place, synced and renamed, so a half-written one has another name;
a damaged one does not match its hashes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from oneshot_rlvr.errors import OneshotError, RecordsError, room
from oneshot_rlvr.policy import load_weights, save_policy
from oneshot_rlvr.policy.optimizer import load_state_tensors, state_tensors
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.schema import FINAL, RUN
from oneshot_rlvr.train.generators import generator_states, set_generator_states
from oneshot_rlvr.train.learner import Learner, LearnerState

CHECKPOINTS, STATE, OPTIMIZER = "checkpoints", "state.json", "optimizer.safetensors"
LEARNER, RANDOM = "learner.safetensors", "random.safetensors"
FORMAT = 2
_CAUSE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Best:
    """The best validation so far, the earliest of equals."""

    step: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole and undamaged checkpoint on disk; `learner` and `loop` are their JSON values."""

    directory: Path
    step: int
    best: Best | None
    learner: Mapping[str, Any] = field(default_factory=dict)
    loop: Mapping[str, Any] = field(default_factory=dict)


def checkpoint_directory(run: Path, step: int) -> Path:
    """checkpoints/step-STEP of a run."""
    return run / CHECKPOINTS / f"step-{step:06d}"


def save_checkpoint(
    run: Path,
    step: int,
    learner: Learner,
    best: Best | None = None,
    loop: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Writes and renames. RecordsError when the disk refuses; what was there before stays.

    `loop`: JSON values of whoever runs the steps.
    """
    target, learned = checkpoint_directory(run, step), learner.state()
    state: dict[str, Any] = {
        "format": FORMAT,
        "step": step,
        "best": None if best is None else asdict(best),
        "learner": dict(learned.values),
        "loop": dict(loop or {}),
    }
    with written_beside(target, f"the checkpoint of step {step}") as directory:
        save_policy(learner.policy, directory)
        save_file(state_tensors(learner.optimizer), directory / OPTIMIZER)
        if learned.tensors:
            save_file(_detached(learned.tensors), directory / LEARNER)
        save_file(generator_states(), directory / RANDOM)
        _write_state(directory, state)
    return Checkpoint(target, step, best, state["learner"], state["loop"])


def _write_state(directory: Path, state: Mapping[str, Any]) -> None:
    """state.json, with the hashes of the files as they lie there and of itself."""
    files = sorted(path for path in directory.iterdir() if path.is_file() and path.name != STATE)
    whole = {**state, "sha256": {path.name: _sha256(path) for path in files}}
    whole["checksum"] = _checksum(whole)
    (directory / STATE).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _checksum(state: Mapping[str, Any]) -> str:
    """Of state.json's values without the checksum itself."""
    rest = {key: value for key, value in state.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


@contextmanager
def written_beside(target: Path, what: str, then: str = "continue with --resume") -> Iterator[Path]:
    """A folder to fill that then takes the place of `target`: whole, or not there.

    RecordsError when the disk refuses, with what to do `then`; nothing else of the run is touched.
    """
    part = target.with_name(target.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        for path in [*part.iterdir(), part]:
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        _sync(target.parent)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)  # on a full disk it is the room that is missing
        if not isinstance(error, OSError | SafetensorError | RecordsError) and not room(error):
            raise
        raise RecordsError(
            f"{what[0].upper()}{what[1:]} could not be written to {target} ({_cause(error)}); "
            f"nothing saved before is lost. Make room and {then}."
        ) from error


def _sync(path: Path) -> None:
    """To the disk itself: a rename must not outlive a power cut that its files do not."""
    if path.is_dir() and os.name != "posix":  # a folder can be opened on POSIX only
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_checkpoint(run: Path, step: int) -> Checkpoint:
    """The checkpoint of a step, every file checked. RecordsError says what is wrong with it."""
    directory = checkpoint_directory(run, step)
    try:
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
        if (state["format"], state["step"]) != (FORMAT, step):
            raise ValueError(f"format {state['format']}, step {state['step']}")
        if state["checksum"] != _checksum(state):
            raise ValueError(f"{STATE} does not match its checksum")
        for name, expected in state["sha256"].items():
            if _sha256(directory / name) != expected:
                raise ValueError(f"{name} does not match its checksum")
        best = state["best"]
        if best is not None:
            best = Best(int(best["step"]), float(best["accuracy"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordsError(f"The checkpoint {directory} is damaged ({_cause(error)}).") from error
    return Checkpoint(directory, step, best, state["learner"], state["loop"])


def refuse_damaged_model(path: str | Path) -> None:
    """RecordsError for a model directory that is a run's result or checkpoint, and is no longer as
    it was written. Other directories tell nothing of themselves."""
    directory = Path(path)
    step = re.fullmatch(r"step-(\d{6,})", directory.name)
    if directory.name == FINAL and (directory.parent / RUN).is_file():
        Run(directory.parent).check_final()
    elif step and directory.parent.name == CHECKPOINTS and (directory / STATE).is_file():
        read_checkpoint(directory.parent.parent, int(step[1]))


def latest_checkpoint(
    run: Path,
    *,
    with_best: bool = False,
    check: Callable[[Checkpoint], None] = lambda checkpoint: None,
) -> tuple[Checkpoint | None, list[RecordsError]]:
    """The newest whole checkpoint, and what is wrong with every newer one that was passed over.

    `with_best`: the checkpoint of its best validation must be whole too, as a run needs it that may
    choose it in the end. `check` raises RecordsError for one that cannot be built on.
    """
    damage: list[RecordsError] = []
    for step in reversed(checkpoint_steps(run)):
        try:
            checkpoint = read_checkpoint(run, step)
            if with_best and checkpoint.best is not None and checkpoint.best.step != step:
                read_checkpoint(run, checkpoint.best.step)
            check(checkpoint)
        except RecordsError as error:
            damage.append(error)
        else:
            return checkpoint, damage
    return None, damage


def copy_checkpoint(source: Checkpoint, run: Path, loop: Mapping[str, Any]) -> Checkpoint:
    """Another run's checkpoint as one of this run, without a best validation.

    RecordsError when the disk refuses.
    """
    target = checkpoint_directory(run, source.step)
    with written_beside(target, f"the checkpoint of step {source.step}") as directory:
        for path in source.directory.iterdir():
            if path.name != STATE:
                shutil.copyfile(path, directory / path.name)
        state = json.loads((source.directory / STATE).read_text(encoding="utf-8"))
        for key in ("sha256", "checksum"):
            del state[key]
        _write_state(directory, {**state, "best": None, "loop": dict(loop)})
    return read_checkpoint(run, source.step)


def load_checkpoint(checkpoint: Checkpoint, learner: Learner, *, partly: bool = False) -> list[str]:
    """Puts everything back, bit for bit. RecordsError for another learner's state.

    `partly`, for a fork whose recipe may learn other things: what does not fit begins anew, and is
    named in what is returned. The model's weights must fit.
    """
    load_weights(learner.policy, checkpoint.directory)
    extra = checkpoint.directory / LEARNER
    tensors = load_file(extra) if extra.exists() else {}
    moments = load_file(checkpoint.directory / OPTIMIZER)
    parts: dict[str, Callable[[], None]] = {
        "the optimizer": lambda: load_state_tensors(learner.optimizer, moments),
        "what learns beside the policy": lambda: learner.load_state(
            LearnerState(tensors, checkpoint.learner)
        ),
    }
    anew = []
    for part, load in parts.items():
        try:
            load()
        except (KeyError, ValueError, RuntimeError) as error:  # RuntimeError: torch, of shapes
            if not partly:
                raise RecordsError(
                    f"The checkpoint {checkpoint.directory} was written by a run that learns other "
                    f"things ({_cause(error)}); continue it with the recipe it began with."
                ) from error
            anew.append(f"{part} begins anew: the checkpoint's does not fit ({_cause(error)})")
    # Last: what came before may have drawn.
    set_generator_states(load_file(checkpoint.directory / RANDOM))
    return anew


def prune_checkpoints(run: Path, newest: int, keep: Iterable[int] = ()) -> None:
    """Deletes all checkpoints but the newest few and those of the steps to keep."""
    steps = checkpoint_steps(run)
    _delete(run, set(steps) - {*keep, *steps[-newest:]})


def drop_checkpoints_after(run: Path, step: int) -> None:
    """Deletes what a resume after `step` does not build on: later checkpoints and unfinished ones.

    A later one that stayed could be taken up by the next resume, with steps the records lack.
    """
    _delete(run, {later for later in checkpoint_steps(run) if later > step})
    for part in (run / CHECKPOINTS).glob("step-*.part"):
        shutil.rmtree(part, ignore_errors=True)


def checkpoint_steps(run: Path) -> list[int]:
    """The steps of the run's checkpoints, whole or damaged, in order."""
    names = [path.name for path in (run / CHECKPOINTS).glob("step-*")]
    found = (re.fullmatch(r"step-(\d{6,})", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def _delete(run: Path, steps: Iterable[int]) -> None:
    # Newest first: if this is cut short, the next resume decides as this one did.
    for step in sorted(steps, reverse=True):
        shutil.rmtree(checkpoint_directory(run, step), ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cause(error: BaseException) -> str:
    """An error in one line, without what its own advice would add to ours."""
    if isinstance(error, OneshotError) and error.__cause__ is not None:
        return _cause(error.__cause__)
    text = " ".join(str(error).split())[:_CAUSE_CHARACTERS].rstrip(".")
    told = bool(text) and not isinstance(error, KeyError)  # which says nothing but the key
    return text if told else f"{type(error).__name__} {text}".strip()


def _detached(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies on the CPU: safetensors refuses tensors that share memory."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
