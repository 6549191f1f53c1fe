"""verl's part of a run: started, watched, taken over step by step, and ended in order.

What stops it: its own end, somebody who asks, a grader that broke, too many updates without a
finite gradient, or no progress for as long as the recipe's patience. However it ends, no process is
left, and what it had recorded and saved is taken over first.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from oneshot_rlvr.backends.verl.causes import first_error, never_started
from oneshot_rlvr.backends.verl.checkpoints import PlainCheckpoints, latest_step
from oneshot_rlvr.backends.verl.cluster import ClusterJob
from oneshot_rlvr.backends.verl.convert import Converter
from oneshot_rlvr.backends.verl.follow import Follower
from oneshot_rlvr.backends.verl.hydra import arguments
from oneshot_rlvr.backends.verl.launch import Job, LocalJob
from oneshot_rlvr.backends.verl.reward import FAILURE
from oneshot_rlvr.backends.verl.translate import Target, environment, translate
from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import GraderError, RunError
from oneshot_rlvr.train.loop import Progress
from oneshot_rlvr.train.stopping import Stopping

LOOK_SECONDS = 0.5
STARTS = 3  # of Ray, which gives itself 30 seconds
LAST_LINES = 5


@dataclass(frozen=True, slots=True)
class Training:
    """One sitting of a run on verl. `python`: the one that has verl; None: the cluster's own."""

    recipe: Recipe
    target: Target
    python: Path | None
    converter: Converter
    checkpoints: PlainCheckpoints
    progress: Progress
    stopping: Stopping

    @property
    def log(self) -> Path:
        """All that verl says."""
        return self.target.places.records / "log.txt"

    @property
    def failure(self) -> Path:
        """Where a broken grader leaves word."""
        return self.target.places.spec.with_name(FAILURE)

    def run(self, after: int) -> int | None:
        """Trains to the last step; the step after which it was stopped, if somebody asked.

        RunError with the first real error of verl's log, or with what it was doing when it stood
        still; GraderError.
        """
        steps = self.recipe.train.steps
        if after >= steps:
            return None
        self.progress.start(steps)
        settings = translate(self.recipe, self.target)
        if after:
            settings["trainer.val_before_train"] = False
        words = list(arguments(settings))
        self.progress.note(f"verl starts, which takes minutes; its log: {self.log}")
        for start in range(1, STARTS + 1):
            self.failure.unlink(missing_ok=True)
            with self.stopping.step("stopping verl"):  # heard by `watch`
                job = self._started(words)
                try:
                    code = self.watch(job)
                    log = job.log().splitlines()
                finally:
                    _end(job)
            self._take()
            if code is None:
                return latest_step(self.target.places.checkpoints)
            if code == 0 and self.converter.step >= steps:
                return None
            if self.failure.exists():
                raise _grader_error(self.failure)
            if not (never_started(log) and start < STARTS):
                break
            self.progress.note("Ray did not start in its 30 seconds; once more")
        raise RunError(
            f"verl ended at step {self.converter.step} of {steps}: "
            f"{first_error(log) or 'it said nothing'}. Its whole log: {self.log}"
        )

    def watch(self, job: Job) -> int | None:
        """Takes over what a job writes until it ends; its exit code, None where somebody asked to
        stop."""
        follower = Follower(self.log, self.progress.note)
        moved = time.monotonic()
        training = False  # a step or a validation was seen
        while True:
            code = job.poll()
            if self._take():
                training, moved = True, time.monotonic()
            if self.failure.exists():
                raise _grader_error(self.failure)
            self._refuse_skipped()
            if code is not None:
                return code
            if self.stopping.asked:
                saved = latest_step(self.target.places.checkpoints)
                self.progress.note(f"stopping verl now; a resume goes on after step {saved}")
                return None
            job.refresh()
            follower.look(training)
            self._refuse_stall(job, training, time.monotonic() - moved)
            time.sleep(LOOK_SECONDS)

    def _started(self, words: list[str]) -> Job:
        recipe = self.recipe
        variables = {**environment(recipe, self.target), "PYTHONPATH": _python_path()}
        if recipe.backend.ray_address is None:
            assert self.python is not None
            return LocalJob(self.python, words, variables, self.log)
        return ClusterJob(
            recipe.backend.ray_address,
            recipe.backend.python or "python",
            words,
            variables,
            self.log,
            note=self.progress.note,
            asked=lambda: self.stopping.asked,
        )

    def _take(self) -> bool:
        new = self.converter.take()
        self.checkpoints.take()
        return new

    def _refuse_skipped(self) -> None:
        limit, skipped = self.recipe.train.max_skipped_updates, self.converter.skipped
        if limit and skipped >= limit:
            raise RunError(
                f"{skipped} updates in a row had a gradient that is not finite, the last "
                f"at step {self.converter.step}. Lower optimizer.learning_rate, or set "
                "train.max_skipped_updates = 0 to go on regardless."
            )

    def _refuse_stall(self, job: Job, training: bool, seconds: float) -> None:
        key = "stall_minutes" if training else "start_minutes"
        minutes: float = getattr(self.recipe.backend, key)
        if not minutes or seconds <= 60 * minutes:
            return
        lines = [line for line in job.log().splitlines() if line.strip()]
        last = lines[-LAST_LINES:]
        self.progress.note("\n".join(["its processes:", job.state(), "its last words:", *last]))
        raise RunError(
            f"verl made no progress for {minutes:g} minutes after step {self.converter.step} and "
            f"was stopped ({first_error(last) or 'it said nothing'}). A longer patience is "
            f"backend.{key}."
        )


def _end(job: Job) -> None:
    """Stops a job, also when somebody loses patience in the middle of that."""
    try:
        job.stop()
    except KeyboardInterrupt:
        job.stop()
        raise


def _grader_error(path: Path) -> GraderError:
    for _ in range(20):  # it appears before it is written
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return GraderError(
                f"grading failed in verl's reward worker, {told['type']}: {told['message']}"
            )
        except ValueError:
            time.sleep(0.1)
    return GraderError(f"grading failed in verl's reward worker; see {path}")


def _python_path() -> str:
    """So that verl's Python finds this very package, wherever it lies."""
    import oneshot_rlvr

    root = str(Path(oneshot_rlvr.__file__).resolve().parents[1])
    given = os.environ.get("PYTHONPATH", "")
    # Site-packages of another Python would bring its torch along.
    return given if "site-packages" in root else os.pathsep.join(filter(None, [root, given]))
