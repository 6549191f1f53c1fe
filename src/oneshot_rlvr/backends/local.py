"""A run on this machine, from recipe to final model: the one path that everything else hangs on.

Everything is read and checked first (`running.prepare`), so that a mistake costs seconds; then it
trains (`train.loop`); then it touches the test set once, with the base and with the result; then it
saves the result as a plain HF directory with its card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from oneshot_rlvr.config import Recipe, RolloutsConfig
from oneshot_rlvr.config.advice import advice
from oneshot_rlvr.errors import RunError
from oneshot_rlvr.evaluation import EvaluationResult, evaluate
from oneshot_rlvr.policy import Policy, keep_freed_pages, load_policy, save_policy
from oneshot_rlvr.policy.load import device_of, merge_in_place
from oneshot_rlvr.policy.lora import Adapters, save_adapter
from oneshot_rlvr.records import Run, RunWriter
from oneshot_rlvr.records.files import plain
from oneshot_rlvr.records.schema import RUN
from oneshot_rlvr.report.model_card import run_card
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rollouts import Engine, make_engine
from oneshot_rlvr.rollouts.threads import caller_keeps_threads, choose, sampling_seconds
from oneshot_rlvr.running.directory import (
    FINAL,
    RunResult,
    changes,
    closing_summary,
    earlier_run,
    set_aside,
)
from oneshot_rlvr.running.fork import Fork, find_fork, refuse_another_fork, replant
from oneshot_rlvr.running.prepare import Prepared, held_out, prepare
from oneshot_rlvr.running.provenance import describe, usable_cores
from oneshot_rlvr.train.checkpoint import (
    Checkpoint,
    drop_checkpoints_after,
    latest_checkpoint,
    written_beside,
)
from oneshot_rlvr.train.footprint import with_rank
from oneshot_rlvr.train.generators import generators_kept
from oneshot_rlvr.train.loop import Job, Progress, Silent, run_steps
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.train.stopping import StopNow, Stopped, Stopping
from oneshot_rlvr.train.trackers import Trackers

ADAPTER = "adapter"


def run(
    recipe: Recipe,
    *,
    out: str | Path,
    resume: bool = False,
    fork: str | None = None,
    progress: Progress | None = None,
    stopping: Stopping | None = None,
) -> RunResult:
    """Trains as the recipe says, in the directory `out`.

    With `resume` an unfinished run of the same recipe goes on from its last checkpoint, and a
    finished one is returned as it is. `fork` is RUN or RUN@STEP: a new run begins with that run's
    checkpoint. `stopping` ends the run after the step in which it is asked.
    ConfigError, DataError, ModelError for what cannot work; RunError for a directory that holds a
    run (without `resume`) or one of another recipe.
    """
    out, progress, stopping = Path(out), progress or Silent(), stopping or Stopping()
    recipe = with_rank(recipe)
    if not resume and (beside := set_aside(out)) is not None:
        progress.note(f"{out} held a run that had trained nothing; it is kept in {beside}")
    earlier = earlier_run(recipe, out, resume)
    if earlier is not None and fork is not None:
        refuse_another_fork(out, earlier.info, fork)
    if earlier is not None and earlier.status == "finished":
        return RunResult(out, earlier.result or {}, reused=True)
    origin = find_fork(fork, recipe) if earlier is None and fork is not None else None
    with ExitStack() as held:
        claim = None
        if earlier is not None:
            # Before anything is decided: what is true of the run now must stay so.
            claim = held.enter_context(RunWriter.claim(out))
            if earlier.status == "finished":  # by the process that has just let go of it
                return RunResult(out, earlier.result or {}, reused=True)
        try:
            return _run(recipe, out, earlier, claim, origin, progress, stopping)
        except Stopped as stopped:
            return RunResult(out, {}, reused=False, stopped_after=stopped.step)
        except StopNow:
            if stopping.asked or not (out / RUN).exists():
                raise
            saved = latest_checkpoint(out)[0]
            return RunResult(out, {}, reused=False, stopped_after=saved.step if saved else 0)


def _run(
    recipe: Recipe,
    out: Path,
    earlier: Run | None,
    claim: RunWriter | None,
    origin: Fork | None,
    progress: Progress,
    stopping: Stopping,
) -> RunResult:
    """The run itself: `claim` is the writer of the `earlier` run that it continues; a new one may
    have its `origin` in another run."""
    with (
        generators_kept(),  # the caller's
        _threads(recipe, earlier, progress) as threads,
        Scorer(recipe.reward, seed=recipe.train.seed) as scorer,
    ):
        for doubt in advice(recipe):
            progress.note(f"warning: {doubt}.")
        ready = prepare(recipe, scorer)
        trainer = TrainStep(
            ready.policy, recipe, sampler=ready.engine.name
        )  # takes its reference from the base weights
        info = describe(recipe, ready, threads)
        if origin is not None:
            info["fork"] = origin.described()
        start = None
        if earlier is not None and claim is not None:
            start = _start(recipe, earlier, claim, info, progress)
            claim.rewind(start.step if start is not None else 0)
            drop_checkpoints_after(out, start.step if start is not None else 0)
        with (
            claim or RunWriter.create(out, info) as writer,
            Trackers(recipe, out, progress.note) as trackers,
        ):
            if origin is not None:
                progress.note(f"forking {origin.parent.directory} after step {origin.step}")
                start = origin.plant(out)
            trackers.start()
            job = Job(
                recipe=recipe,
                examples=ready.examples,
                prompt_tokens=ready.prompt_tokens,
                policy=ready.policy,
                engine=ready.engine,
                scorer=scorer,
                trainer=trainer,
                writer=writer,
                validate=_validation(recipe, ready, scorer, progress),
                progress=progress,
                stopping=stopping,
                trackers=trackers,
            )
            chosen = run_steps(job, start)
            del job, trainer  # optimizer and reference make room for the base
            adapters = _plain(recipe, ready)
            _test(recipe, ready, scorer, writer, chosen, progress)
            _save_final(recipe, ready.policy, adapters, writer, chosen)
            summary = closing_summary(recipe, writer, chosen)
            writer.finish(summary)
            trackers.finish(chosen, _accuracies(summary))
    return RunResult(out, summary, reused=False)


@contextmanager
def _threads(recipe: Recipe, earlier: Run | None, progress: Progress) -> Iterator[int]:
    """Sets torch's threads for the run; a resumed run takes those it began with, for equal sums
    of floats."""
    keep_freed_pages()
    if earlier is not None and "threads" in earlier.info:
        threads = int(earlier.info["threads"])
    else:
        threads = recipe.train.threads or _measured_threads(recipe, progress)
    with caller_keeps_threads():
        torch.set_num_threads(threads)
        yield threads


def _measured_threads(recipe: Recipe, progress: Progress) -> int:
    cores = usable_cores()
    if cores == 1 or device_of(recipe.model.device).type != "cpu":
        return cores
    threads = choose(sampling_seconds(cores))
    progress.note(f"threads: {threads} of {cores}, measured")
    return threads


def _start(
    recipe: Recipe, earlier: Run, claim: RunWriter, info: Mapping[str, Any], progress: Progress
) -> Checkpoint | None:
    """The checkpoint to continue from, if the run is what it was."""

    whole = []  # checkpoints whose own files are

    def recorded(checkpoint: Checkpoint) -> None:
        whole.append(checkpoint.step)
        claim.check_offset(checkpoint.loop.get("records", {}), checkpoint.step)

    _refuse_other_inputs(earlier, info)
    for change in changes(_surroundings(earlier.info), _surroundings(plain(info))):
        progress.note(f"warning: {change}; from here on numbers may differ from a straight run")
    keep_best = recipe.train.checkpoint_rule == "best_validation"
    start, damage = latest_checkpoint(earlier.directory, with_best=keep_best, check=recorded)
    for error in damage:
        passed = str(error).rstrip(".")
        progress.note(f"warning: {passed}. It is passed over and the one before it is used.")
    if start is None and earlier.info.get("fork") is not None:
        start = replant(earlier.directory, earlier.info)
    if start is None and whole:
        # Not started over in silence: the steps since then may be days of work.
        raise RunError(
            f"{earlier.directory} cannot go on as if it had never stopped: its records are damaged "
            f"({str(damage[-1]).rstrip('.')}) and no checkpoint before that is kept. Bring the "
            "files back from a copy, or go on in a new run from the checkpoint that is whole: "
            f"--fork {earlier.directory}@{max(whole)} --out DIR."
        )
    if start is None:
        progress.note(f"starting {earlier.directory} over: it has no whole checkpoint")
    else:
        progress.note(f"continuing {earlier.directory} after step {start.step}")
    return start


def _refuse_other_inputs(earlier: Run, info: Mapping[str, Any]) -> None:
    """RunError where the recipe's files hold other things than when the run began."""
    was, now = earlier.info, plain(info)
    model = ("parameters", "dtype")
    for what, before, after in (
        ("training examples", was.get("examples"), now["examples"]),
        ("held-out questions", was.get("held_out"), now["held_out"]),
        ("model", *([m.get(key) for key in model] for m in (was.get("model", {}), now["model"]))),
    ):
        if before is not None and before != after:
            raise RunError(
                f"{earlier.directory} began with other {what} than the recipe names now; bring "
                "them back, or choose another directory with --out."
            )


def _surroundings(info: Mapping[str, Any]) -> dict[str, Any]:
    """What may change between two sittings and then changes the last bits of a float."""
    packages = {k: v for k, v in info.get("versions", {}).items() if k != "git_commit"}
    device = info.get("model", {}).get("device")
    return {"versions": packages, "device": device, "engine": info.get("engine")}


def _validation(
    recipe: Recipe, ready: Prepared, scorer: Scorer, progress: Progress
) -> Callable[[], EvaluationResult] | None:
    """A call that answers the validation set with the policy as it then is; None without one."""
    if "validation" not in ready.benchmarks:
        return None
    return lambda: _answer(
        recipe, "validation", ready, ready.policy, ready.engine, scorer, progress
    )


def _answer(
    recipe: Recipe,
    name: str,
    ready: Prepared,
    policy: Policy,
    engine: Engine,
    scorer: Scorer,
    progress: Progress,
) -> EvaluationResult:
    """Answers and grades a held-out set. Verdicts are against the true golds in every arm."""
    told = getattr(progress, "answers", None)  # one of a caller's own may lack it
    return evaluate(
        engine,
        policy.tokenizer,
        scorer,
        ready.benchmarks[name],
        held_out(recipe)[name],
        max_new_tokens=recipe.rollouts.max_new_tokens,
        max_prompt_tokens=recipe.rollouts.max_prompt_tokens,
        chat_template=recipe.model.chat_template,
        template_arguments=recipe.model.template_arguments,
        check_golds=False,  # `prepare` has
        progress=told and partial(told, f"{name} set"),
    )


def _plain(recipe: Recipe, ready: Prepared) -> Adapters | None:
    """Adapters become part of the weights, in float32, before anything is tested: what the test
    measures is what `final/` holds. The adapters as they were; None for a run without."""
    if recipe.model.lora is None:
        return None
    adapters = Adapters.of(ready.policy.model)
    merge_in_place(ready.policy)
    return adapters


def _testing_rollouts(recipe: Recipe) -> RolloutsConfig:
    """vLLM would round merged adapters away in 16 bits."""
    if recipe.model.lora is None:
        return recipe.rollouts
    wide = recipe.rollouts.vllm.model_copy(update={"dtype": "float32"})
    return recipe.rollouts.model_copy(update={"vllm": wide})


def _test(
    recipe: Recipe,
    ready: Prepared,
    scorer: Scorer,
    writer: RunWriter,
    chosen: int,
    progress: Progress,
) -> None:
    """The test set, once: the base, loaded anew, and the result."""
    if "test" not in ready.benchmarks:
        return
    recorded, rollouts = Run(writer.directory).evaluations(), _testing_rollouts(recipe)
    if ("test", 0) not in recorded:
        progress.note("test set: base model")
        base = load_policy(recipe.model)
        if recipe.model.lora is not None:
            merge_in_place(base)  # nothing to merge: as wide as the result
        engine = make_engine(recipe.rollouts.engine, base, rollouts)
        result = _answer(recipe, "test", ready, base, engine, scorer, progress)
        writer.evaluation("test", 0, result.samples, result.summary)
        del base, engine
    if ("test", chosen) not in recorded:
        progress.note(f"test set: trained model (step {chosen})")
        engine = ready.engine
        if recipe.model.lora is not None:
            engine = make_engine(recipe.rollouts.engine, ready.policy, rollouts)
        result = _answer(recipe, "test", ready, ready.policy, engine, scorer, progress)
        writer.evaluation("test", chosen, result.samples, result.summary)


def _accuracies(summary: Mapping[str, Any]) -> dict[str, float]:
    """The summary's accuracies under flat names: test/before, test/after."""
    return {
        f"{name}/{when}": float(summary[name][when]["overall"]["accuracy"]["value"])
        for name in ("validation", "test")
        for when in summary.get(name, {})
    }


def _save_final(
    recipe: Recipe, policy: Policy, adapters: Adapters | None, writer: RunWriter, chosen: int
) -> None:
    """The result as a plain HF directory with a model card; adapters also by themselves."""
    card = run_card(Run(writer.directory), chosen)
    what = f"the final model (step {chosen})"
    writer.check()
    with written_beside(writer.directory / FINAL, what) as directory:
        save_policy(policy, directory)
        if recipe.model.lora is not None and adapters is not None:
            save_adapter(adapters, recipe.model.path, recipe.model.lora, directory / ADAPTER)
        (directory / "README.md").write_text(card, encoding="utf-8")
    writer.final(chosen)
