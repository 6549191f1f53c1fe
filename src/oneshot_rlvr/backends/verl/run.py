"""A run on verl, from recipe to final model: the same path as `backends.local`, the middle of it
elsewhere.

Everything that can be known is checked first; then verl trains in processes of its own while its
output becomes our records (`convert.py`); then the test set is asked once, here, with the base and
the result; then the result is saved as a plain directory with its card.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oneshot_rlvr.backends.verl import peers
from oneshot_rlvr.backends.verl.checkpoints import PlainCheckpoints, latest_step
from oneshot_rlvr.backends.verl.convert import METRICS, Converter
from oneshot_rlvr.backends.verl.inputs import (
    Inputs,
    check_prompts,
    model_source,
    read_inputs,
    target_for,
    write_inputs,
)
from oneshot_rlvr.backends.verl.jobs_api import JobsApi
from oneshot_rlvr.backends.verl.training import Training
from oneshot_rlvr.backends.verl.translate import Target, translate
from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError, RunError
from oneshot_rlvr.records import Run, RunWriter
from oneshot_rlvr.report.model_card import run_card
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.running.directory import FINAL, RunResult, closing_summary, earlier_run
from oneshot_rlvr.running.prepare import held_out
from oneshot_rlvr.train.checkpoint import checkpoint_directory, written_beside
from oneshot_rlvr.train.loop import Progress, Silent
from oneshot_rlvr.train.stopping import Stopping

FOLDER = "verl"
MODEL = Path(FOLDER) / "model"  # the embedded one, where a cluster could not find it


def run(
    recipe: Recipe,
    *,
    out: str | Path,
    resume: bool = False,
    fork: Any = None,
    progress: Progress | None = None,
    stopping: Stopping | None = None,
) -> RunResult:
    """Trains as the recipe says, in the directory `out`, on verl.

    As `backends.local.run`; a resume continues after verl's last checkpoint. Besides its errors:
    MissingDependencyError where no Python has verl, RunError with the first error of verl's log,
    GraderError where the grader broke in verl's workers.
    """
    if fork is not None:
        raise ConfigError(
            "verl cannot fork another run; give that run's final model as model.path, or set "
            'backend.name = "local".'
        )
    out, progress = Path(out).resolve(), progress or Silent()
    earlier = earlier_run(recipe, out, resume)
    if earlier is not None and earlier.status == "finished":
        return RunResult(out, earlier.result or {}, reused=True)
    setting = _setting(recipe, out)
    with Scorer(recipe.reward, seed=recipe.train.seed) as scorer:
        inputs = read_inputs(recipe, held_out(recipe), scorer)
        check_prompts(recipe, inputs, model_source(recipe.model.path))
        after = 0 if earlier is None else latest_step(setting.target.places.checkpoints)
        writer = (
            RunWriter.claim(out)
            if earlier
            else RunWriter.create(out, _info(recipe, inputs, setting))
        )
        with writer:
            if earlier is not None:
                progress.note(f"continuing {out} after step {after}")
                _catch_up(recipe, setting, inputs, writer, after)
                _forget_after(setting.target.places.records, after)
            write_inputs(recipe, inputs, out / FOLDER, setting.target.places.records)
            if setting.target.model == str(out / MODEL):
                shutil.copytree(model_source(recipe.model.path), out / MODEL, dirs_exist_ok=True)
            checkpoints = _checkpoints(recipe, setting, out, progress)
            if earlier is not None:
                checkpoints.drop_after(after)
            checkpoints.take()  # of an earlier sitting
            stopped = Training(
                recipe=recipe,
                target=setting.target,
                python=setting.python,
                converter=_converter(recipe, setting, inputs, writer, after, progress),
                checkpoints=checkpoints,
                progress=progress,
                stopping=stopping or Stopping(),
            ).run(after)
            if stopped is not None:
                return RunResult(out, {}, reused=False, stopped_after=stopped)
            chosen = checkpoints.result()
            _save_final(writer, chosen)
            _test(recipe, inputs, scorer, writer, chosen, progress)
            summary = closing_summary(recipe, writer, chosen)
            writer.finish(summary)
    return RunResult(out, summary, reused=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where verl runs, and as what. `python` None: on a cluster, in whatever has verl there."""

    python: Path | None
    versions: dict[str, str]
    target: Target


def _setting(recipe: Recipe, out: Path) -> Setting:
    """What is known of verl here; of a cluster's nothing is, but that its address is one."""
    from oneshot_rlvr.backends.verl.export import placeless

    address = recipe.backend.ray_address
    if address is not None:
        JobsApi(address)
    python = None if address is not None else peers.find_python(recipe.backend.python)
    places = placeless(out / FOLDER, recipe.evaluation.validation is not None)
    device = None
    if recipe.model.device == "auto" and python is not None:
        device = "cuda" if peers.has_cuda(python) else "cpu"
    target = target_for(recipe, replace(places, records=out / FOLDER / "out"), device)
    translate(recipe, target)  # refuses what has no counterpart, before anything is read
    if recipe.model.path == "tiny" and python is None:  # it lies in this installation
        target = replace(target, model=str(out / MODEL))
    versions = {} if python is None else peers.check(python, target.engine)
    return Setting(python, versions, target)


def _info(recipe: Recipe, inputs: Inputs, setting: Setting) -> dict[str, Any]:
    """run.json's "info", as `provenance.describe` gives it for a local run."""
    from oneshot_rlvr.running.provenance import about

    return about(
        recipe,
        inputs.examples,
        inputs.benchmarks,
        model={
            "name": recipe.model.path,
            "dtype": setting.target.dtype,
            "device": setting.target.device,
        },
        engine=f"verl, {setting.target.engine}",
        backend={"name": "verl", "versions": setting.versions},
        threads=recipe.train.threads,
    )


def _catch_up(
    recipe: Recipe, setting: Setting, inputs: Inputs, writer: RunWriter, after: int
) -> None:
    """Records up to step `after` and none beyond: verl may have saved a step that was not taken
    over before the run was stopped, or have been stopped steps after it had last saved."""
    steps = Run(writer.directory).metrics()["step"]
    recorded = int(steps.max()) if len(steps) else 0
    writer.rewind(min(recorded, after))
    if recorded >= after:
        return
    converter = _converter(recipe, setting, inputs, writer, recorded, Silent())
    converter.take()
    if converter.step < after:
        raise RunError(
            f"{writer.directory} has verl's checkpoint of step {after} but nothing of step "
            f"{converter.step + 1}; begin anew in another directory with --out."
        )
    if converter.step > after:
        writer.rewind(after)


def _converter(
    recipe: Recipe,
    setting: Setting,
    inputs: Inputs,
    writer: RunWriter,
    after: int,
    progress: Progress,
) -> Converter:
    validation = inputs.benchmarks.get("validation")
    return Converter(
        recipe,
        writer,
        setting.target.places.records,
        validation.examples if validation else [],
        after=after,
        told=progress.step,
        note=progress.note,
    )


def _forget_after(records: Path, step: int) -> None:
    """Sets aside verl's metrics, which it would overwrite, and drops what it will do again."""
    metrics = records / METRICS
    if metrics.exists():
        metrics.rename(records / f"metrics-to-{step:06d}-{time.time_ns()}.jsonl")
    for path in records.glob("rollouts/step-*.parquet"):
        if int(path.stem.removeprefix("step-")) > step:
            path.unlink()
    for path in records.glob("validation/*.jsonl"):
        if path.stem.isdigit() and int(path.stem) > step:
            path.unlink()


def _checkpoints(
    recipe: Recipe, setting: Setting, out: Path, progress: Progress
) -> PlainCheckpoints:
    asked = recipe.backend.save_dtype
    dtype = setting.target.dtype if asked == "auto" else asked
    if recipe.model.lora is not None and asked == "auto":
        dtype = "float32"  # 16 bits do not hold what adapters change in a weight
    return PlainCheckpoints(recipe, out, setting.target.places.checkpoints, dtype, progress.note)


def _save_final(writer: RunWriter, chosen: int) -> None:
    """The result as a plain directory with its card."""
    source = checkpoint_directory(writer.directory, chosen)
    if not source.exists():
        raise RunError(
            f"{source} is not there: verl has saved no checkpoint of step {chosen}; see its log."
        )
    card = run_card(Run(writer.directory), chosen)
    with written_beside(writer.directory / FINAL, f"the final model (step {chosen})") as final:
        shutil.copytree(source, final, dirs_exist_ok=True)
        (final / "README.md").write_text(card, encoding="utf-8")
    writer.final(chosen)


def _test(
    recipe: Recipe,
    inputs: Inputs,
    scorer: Scorer,
    writer: RunWriter,
    chosen: int,
    progress: Progress,
) -> None:
    """The test set, once, on this machine: the base and the result."""
    config = recipe.evaluation.test
    if config is None:
        return
    from oneshot_rlvr.evaluation import evaluate
    from oneshot_rlvr.policy import load_policy
    from oneshot_rlvr.rollouts import make_engine

    recorded = Run(writer.directory).evaluations()
    own = recipe.rollouts.engine
    sides: list[tuple[int, str, Callable[[], Mapping[str, Any]]]] = [
        (0, "base model", dict),
        (chosen, f"trained model (step {chosen})", lambda: {"path": str(writer.directory / FINAL)}),
    ]
    for step, words, change in sides:
        if ("test", step) in recorded:
            continue
        progress.note(f"test set: {words}")
        policy = load_policy(recipe.model.model_copy(update=dict(change())))
        engine = make_engine("auto" if own == "vllm" else own, policy)
        result = evaluate(
            engine,
            policy.tokenizer,
            scorer,
            inputs.benchmarks["test"],
            config,
            max_new_tokens=recipe.rollouts.max_new_tokens,
            max_prompt_tokens=recipe.rollouts.max_prompt_tokens,
            chat_template=recipe.model.chat_template,
            template_arguments=recipe.model.template_arguments,
            check_golds=False,  # read when the run began
        )
        writer.evaluation("test", step, result.samples, result.summary)
        del policy, engine
