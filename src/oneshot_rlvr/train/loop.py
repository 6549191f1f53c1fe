"""The training loop: the story of a run, from its first to its last step.

Each step asks every row's prompt G times, grades the answers, updates the policy and records what
happened; every few steps it validates and saves. The loop owns no mathematics (`algorithms`), no
gradient (`train.step`) and no file format (`records`, `train.checkpoint`).

A step's records are written before its checkpoint. So a checkpoint never knows of a step that the
records lack, and a resume drops what was recorded after it. Between two steps the run may be asked
to stop (`train.stopping`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import psutil
import torch

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import RecordsError, TrainingError
from oneshot_rlvr.evaluation import EvaluationResult
from oneshot_rlvr.examples.schedule import rows_of_step
from oneshot_rlvr.policy import Policy, load_weights
from oneshot_rlvr.records import Run, RunWriter
from oneshot_rlvr.records.files import read_lines
from oneshot_rlvr.records.schema import METRICS as METRICS_FILE
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rollouts import Engine, Sampling, StreamKey
from oneshot_rlvr.train.checkpoint import (
    Best,
    Checkpoint,
    checkpoint_steps,
    load_checkpoint,
    prune_checkpoints,
    read_checkpoint,
    save_checkpoint,
)
from oneshot_rlvr.train.failure import save_failure
from oneshot_rlvr.train.generators import seed_generators
from oneshot_rlvr.train.health import Health
from oneshot_rlvr.train.intrinsic import with_own_rewards
from oneshot_rlvr.train.metrics import METRICS, TIMINGS, checked, rollout_metrics
from oneshot_rlvr.train.resampling import Resampled, replace_equal_rows
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.train.stopping import Stopped, StoppedSampling, Stopping
from oneshot_rlvr.train.trackers import Trackers, tracked
from oneshot_rlvr.types import Example, Graded, Prompt, Rollout

ROLLOUT_PURPOSE = "rollouts"

log = logging.getLogger(__name__)


class Progress(Protocol):
    """Somebody who watches. Nothing they do changes the run."""

    def start(self, total_steps: int) -> None:
        """A run of so many steps begins."""

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """A step is done."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def close(self) -> None:
        """The run is over."""


class Silent:
    """Nobody watches: notes go to the log."""

    def start(self, total_steps: int) -> None:
        """Says nothing."""

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """One line in the log."""
        log.info(text)

    def close(self) -> None:
        """Says nothing."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is made of. `validate` answers the validation set with the current policy."""

    recipe: Recipe
    examples: list[Example]
    prompt_tokens: list[tuple[int, ...]]
    policy: Policy
    engine: Engine
    scorer: Scorer
    trainer: TrainStep
    writer: RunWriter
    validate: Callable[[], EvaluationResult] | None = None
    progress: Progress = field(default_factory=Silent)
    stopping: Stopping = field(default_factory=Stopping)
    trackers: Trackers | None = None
    health: Health = field(default_factory=Health)
    untold: dict[str, float] = field(default_factory=dict)
    """Seconds that passed after the last step's timings were written: part of the next step's."""


def run_steps(job: Job, start: Checkpoint | None) -> int:
    """Trains to `train.steps` and leaves the chosen checkpoint's weights in the policy.

    `start` is the checkpoint to continue from. Returns the step whose weights are the result,
    by `train.checkpoint_rule`. Stopped, with the last step saved, where it was asked to stop.
    """
    first, best = 1, None
    forked = start is not None and bool(start.loop.get("forked"))
    if start is not None:
        for part in load_checkpoint(start, job.trainer, partly=forked):
            job.progress.note(f"warning: {part}.")
        job.engine.sync(job.policy)
        first, best = start.step + 1, start.best
        for row in read_lines(job.writer.directory / METRICS_FILE):
            job.health.observe(row["step"], row)  # told before the run was stopped
    job.progress.start(job.recipe.train.steps)
    if start is None or forked:
        _validate_start(job, first - 1)
        seed_generators(job.recipe.train.seed)
    for step in range(first, job.recipe.train.steps + 1):
        try:
            with job.stopping.step():
                best = _step(job, step, best)
        except StoppedSampling:
            _save(job, step - 1, best)  # nothing has moved since
            raise Stopped(step - 1) from None
        if job.stopping.asked:
            raise Stopped(step)
    return _choose(job, best)


def _step(job: Job, step: int, best: Best | None) -> Best | None:
    """One step: rollouts, verdicts, update, records; validation and checkpoint when due.

    Takes and returns the best validation so far.
    """
    recipe, train, clock = job.recipe, job.recipe.train, _Clock(job.policy.device, job.untold)
    asked = recipe.rollouts
    sampling = Sampling(
        asked.temperature, asked.max_new_tokens, asked.top_p, asked.top_k, asked.min_p
    )
    key = StreamKey(train.seed, ROLLOUT_PURPOSE, step)
    prompts = prompts_of_step(job, step)
    with job.stopping.sampling():
        rollouts = job.engine.generate(prompts, recipe.rollouts.group_size, sampling, key)
    clock.lap("generate_seconds")
    graded = _rewarded(job, rollouts, step)
    clock.lap("score_seconds")
    told = rollout_metrics(graded)  # of first answers: those of replaced rows are as true
    resampled = None
    if recipe.algorithm.dynamic_sampling:
        resampled = _resample(job, step, graded, sampling)
        graded = resampled.kept
        told |= resampled.metrics
        told["train/tokens"] = float(sum(len(g.rollout.tokens) for g in resampled.all))
        clock.lap("resample_seconds")
    updated = job.trainer.update(graded)
    job.engine.sync(job.policy)
    clock.lap("update_seconds")
    metrics = checked({**told, **updated.metrics}, METRICS)
    if resampled is None:
        job.writer.rollouts(step, graded, updated.advantages)
    else:
        unlearned = [0.0] * len(resampled.replaced)
        job.writer.rollouts(
            step, resampled.all, [*updated.advantages, *unlearned], resampled.columns
        )
    job.writer.metrics(step, metrics)
    clock.lap("record_seconds")
    for warning in job.health.observe(step, metrics):
        job.progress.note(f"warning: {warning}.")
    _refuse_to_go_on_skipping(job, step, graded, updated.advantages, metrics)
    speed = metrics["train/tokens"] / clock.total
    shown = {**metrics, "tokens_per_second": speed}
    last, improved = step == train.steps, False
    if job.validate is not None and _due(step, train.eval_every, last):
        accuracy = _validate(job.validate, job.writer, step)
        shown["validation/accuracy"] = accuracy
        improved = best is None or accuracy > best.accuracy
        best = Best(step, accuracy) if improved else best
        clock.lap("evaluate_seconds")
    # The best so far must be on disk to be chosen later, whatever `save_every` says.
    needed = improved and train.checkpoint_rule == "best_validation"
    timings = checked({**clock.told(), "tokens_per_second": speed}, TIMINGS)
    job.writer.timings(step, timings)  # before the checkpoint, which promises its step's records
    if _due(step, train.save_every, last) or needed or job.stopping.asked:
        _save(job, step, best)
    if job.trackers is not None:
        job.trackers.step(step, tracked(metrics, timings, shown.get("validation/accuracy")))
    job.progress.step(step, shown)
    return best


def _save(job: Job, step: int, best: Best | None) -> None:
    """A checkpoint of `step`, unless there is one or no step has been trained."""
    if step < 1 or step in checkpoint_steps(job.writer.directory):
        return
    began = time.perf_counter()
    job.writer.check()
    loop = {"cursor": {"next_step": step + 1}, "records": job.writer.offset()}
    save_checkpoint(job.writer.directory, step, job.trainer, best, loop)
    kept = [] if best is None else [best.step]
    prune_checkpoints(job.writer.directory, job.recipe.train.keep_checkpoints, kept)
    job.untold["checkpoint_seconds"] = time.perf_counter() - began


def _rewarded(job: Job, rollouts: Sequence[Rollout], step: int) -> list[Graded]:
    """Graded, and rewarded by the verdicts or, where the arm is the policy's own, by the policy."""
    graded = job.scorer.score(rollouts, {e.id: e for e in job.examples}, step)
    return with_own_rewards(graded, job.recipe.reward.arm, job.trainer.forward)


def _resample(job: Job, step: int, graded: list[Graded], sampling: Sampling) -> Resampled:
    """The step's rollouts, rows of equal rewards replaced by other prompts' rows."""
    recipe, number = job.recipe, len(job.examples)

    def ask(examples: Mapping[int, int], turn: int) -> list[Graded]:
        prompts = [
            Prompt(row=row, example=job.examples[e], tokens=job.prompt_tokens[e])
            for row, e in examples.items()
        ]
        key = StreamKey(recipe.train.seed, f"{ROLLOUT_PURPOSE}, sampling {turn + 1}", step)
        with job.stopping.sampling():
            rollouts = job.engine.generate(prompts, recipe.rollouts.group_size, sampling, key)
        return _rewarded(job, rollouts, step)

    rows = rows_of_step(number, recipe.rollouts.prompts_per_step, step, recipe.train.seed)
    return replace_equal_rows(graded, rows, number, recipe.algorithm.dynamic_sampling_rounds, ask)


def prompts_of_step(job: Job, step: int) -> list[Prompt]:
    """The P rows of a step."""
    recipe = job.recipe
    rows = rows_of_step(
        len(job.examples), recipe.rollouts.prompts_per_step, step, recipe.train.seed
    )
    return [
        Prompt(row=row, example=job.examples[e], tokens=job.prompt_tokens[e])
        for row, e in enumerate(rows)
    ]


def _refuse_to_go_on_skipping(
    job: Job,
    step: int,
    graded: Sequence[Graded],
    advantages: Sequence[float],
    metrics: Mapping[str, float],
) -> None:
    """TrainingError, with the batch saved, after too many updates in a row that were left out."""
    limit, skipped = job.recipe.train.max_skipped_updates, job.trainer.skipped_in_a_row
    if not limit or skipped < limit:
        return
    run = job.writer.directory
    try:
        where = f"saved in {save_failure(run, step, job.policy, graded, advantages, metrics)}"
    except RecordsError as error:
        where = f"not saved: {error}"
    raise TrainingError(
        f"The last {skipped} updates had a loss or gradient that is not finite and were left out; "
        f"the run stops at step {step}. The batch and the model are {where}. A smaller "
        "optimizer.learning_rate may help, in a new run from an earlier checkpoint: "
        f"--fork {run} (or --resume with train.max_skipped_updates=0 to go on regardless)."
    )


def _validate_start(job: Job, step: int) -> None:
    """Records the validation of what a run begins with: the base (step 0), or a fork's parent.

    Not where an interrupted run has done so. It cannot be chosen: the result of a run is a model
    that the run trained.
    """
    if job.validate is None or ("validation", step) in Run(job.writer.directory).evaluations():
        return
    clock = _Clock(job.policy.device)
    accuracy = _validate(job.validate, job.writer, step)
    clock.lap("evaluate_seconds")
    timings = checked(clock.told(), TIMINGS)
    job.writer.timings(step, timings)
    if job.trackers is not None:
        job.trackers.step(step, tracked({}, timings, accuracy))


def _validate(validate: Callable[[], EvaluationResult], writer: RunWriter, step: int) -> float:
    """Records the validation of a step; its accuracy, a share."""
    result = validate()
    writer.evaluation("validation", step, result.samples, result.summary)
    return float(result.summary["overall"]["accuracy"]["value"])


def _choose(job: Job, best: Best | None) -> int:
    """The step that is the result, its weights in the policy."""
    train = job.recipe.train
    if train.checkpoint_rule == "final" or best is None or best.step == train.steps:
        return train.steps
    try:
        chosen = read_checkpoint(job.writer.directory, best.step)
    except RecordsError as error:
        raise RecordsError(
            f"{error} It holds the best validation: continue with --resume to train it again."
        ) from error
    load_weights(job.policy, chosen.directory)
    job.engine.sync(job.policy)
    return best.step


def _due(step: int, every: int, last: bool) -> bool:
    return last or (every > 0 and step % every == 0)


class _Clock:
    """Seconds of each phase of a step. What it measures goes to timings, never into the run."""

    def __init__(self, device: torch.device, before: dict[str, float] | None = None) -> None:
        """`before`: seconds of the step before that are told with this one; taken out of it."""
        self._device = device
        self._laps = dict(before or {})
        if before:
            before.clear()
        self._began = self._last = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds from the beginning to the last lap."""
        return self._last - self._began

    def lap(self, name: str) -> None:
        """Ends a phase."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self._laps[name] = now - self._last
        self._last = now

    def told(self) -> dict[str, float]:
        """The laps, their total, and the memory in use."""
        told = {
            **self._laps,
            "step_seconds": sum(self._laps.values()),
            "memory_bytes": float(psutil.Process().memory_info().rss),
        }
        if self._device.type == "cuda":
            told["gpu_memory_bytes"] = float(torch.cuda.max_memory_allocated(self._device))
        return told
