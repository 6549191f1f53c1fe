"""One process of a study: trains a run, then answers benchmarks with it.

    python -m oneshot_rlvr.study.worker

The task comes as a line of JSON on standard input, which then stays open: when it ends, because the
study was stopped or killed, the step under way is finished and saved, and the worker ends. Lines of
JSON on standard output tell how far it is; all other output goes to the log.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import psutil

from oneshot_rlvr.config import BenchmarkConfig, Recipe, load_recipe, parse_recipe, to_toml
from oneshot_rlvr.errors import OneshotError, RunError, room
from oneshot_rlvr.records import Run
from oneshot_rlvr.records.files import Lock, to_json, write_atomic
from oneshot_rlvr.study.tasks import FAILED, KEPT, RUN
from oneshot_rlvr.train.stopping import Stopped, Stopping

BUSY, STOPPED, FAILURE = 75, 76, 2
"""Exit codes: another process has the task; it was asked to stop; it failed."""

PROBE_STEPS = 4


class Telling:
    """Tells the study how far a task is; the watcher of its run."""

    def __init__(self, out: TextIO):
        self._out = out
        self._total = 0

    def tell(self, **what: Any) -> None:
        """One line; nobody may be listening any more."""
        with suppress(OSError, ValueError):
            self._out.write(json.dumps(what) + "\n")
            self._out.flush()

    def start(self, total_steps: int) -> None:
        """A run begins."""
        self._total = total_steps

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """A step is done."""
        self.tell(phase="train", done=step, total=self._total)

    def note(self, text: str) -> None:
        """For the log."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is held."""


def main() -> int:
    """Does the task; the exit code."""
    task = json.loads(sys.stdin.buffer.readline())
    telling = Telling(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    stopping = Stopping()
    threading.Thread(target=_until_closed, args=(stopping,), daemon=True).start()
    if "probe" in task:
        telling.tell(**probe(task))
        return 0
    folder = Path(task["folder"])
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                held.callback(Lock(folder / ".task.lock").release)
            except RunError:
                return BUSY
            (folder / FAILED).unlink(missing_ok=True)
            work(task, folder, telling, stopping)
        except Stopped:
            return STOPPED
        except Exception as error:  # whatever it is, the study goes on and tells it
            _fail(folder, telling, error)
            return FAILURE
    return 0


def _fail(folder: Path, telling: Telling, error: Exception) -> None:
    text = str(error) if isinstance(error, OneshotError) else f"{type(error).__name__}: {error}"
    if not isinstance(error, OneshotError) and (advice := room(error)):
        text += f"; {advice}"
    text = " ".join(text.split())
    telling.tell(failed=text)  # first: for the rest there may be no room
    with suppress(OSError):
        traceback.print_exc()
    with suppress(OneshotError):
        write_atomic(folder / FAILED, to_json({"error": text}))


def _until_closed(stopping: Stopping) -> None:
    """Waits for the study to end, or to say that it does."""
    with suppress(OSError, ValueError):
        os.read(0, 1)
    stopping.ask()


def work(task: Mapping[str, Any], folder: Path, telling: Telling, stopping: Stopping) -> None:
    """Trains and answers what is not there yet. Stopped where it was asked to stop."""
    recipe = _kept_recipe(task, folder)
    if task["trains"]:
        from oneshot_rlvr.backends import BACKENDS

        result = BACKENDS.load(recipe.backend.name)(
            recipe, out=folder / RUN, resume=True, progress=telling, stopping=stopping
        )
        if result.stopped_after is not None:
            raise Stopped(result.stopped_after)
    missing = [one for one in task["answers"] if not Path(one["file"]).exists()]
    if missing:
        answer(recipe, folder, missing, bool(task["trains"]), telling, stopping)


def _kept_recipe(task: Mapping[str, Any], folder: Path) -> Recipe:
    """The recipe as the run began, if it has: with its number of threads, for equal sums."""
    if (folder / KEPT).exists():
        return load_recipe(folder / KEPT)
    recipe = parse_recipe(task["recipe"])
    if task["threads"]:
        train = recipe.train.model_copy(update={"threads": task["threads"]})
        recipe = recipe.model_copy(update={"train": train})
    if task["trains"]:
        write_atomic(folder / KEPT, to_toml(recipe).encode("utf-8"))
    return recipe


def answer(
    recipe: Recipe,
    folder: Path,
    missing: list[Mapping[str, Any]],
    trained: bool,
    telling: Telling,
    stopping: Stopping,
) -> None:
    """Answers benchmarks with the run's result, or with the base."""
    from oneshot_rlvr.evaluation import evaluate, grading_config, load_benchmark
    from oneshot_rlvr.evaluation.prompts import asked_in
    from oneshot_rlvr.evaluation.store import write_samples
    from oneshot_rlvr.examples import load_examples
    from oneshot_rlvr.examples.controls import in_context
    from oneshot_rlvr.policy import load_policy
    from oneshot_rlvr.policy.fingerprint import fingerprint
    from oneshot_rlvr.rewards import Scorer
    from oneshot_rlvr.rollouts import make_engine
    from oneshot_rlvr.rollouts.threads import set_threads

    set_threads(recipe.train.threads)
    model = recipe.model
    if trained:
        Run(folder / RUN).check_final()
        model = model.model_copy(update={"path": str(folder / RUN / "final")})
    if recipe.model.lora is not None:  # adapters are merged into float32 weights
        model = model.model_copy(update={"lora": None, "dtype": "float32"})
    policy = load_policy(model)
    engine = make_engine(recipe.rollouts.engine, policy, recipe.rollouts)
    source = f"{fingerprint(policy)} {policy.device.type} {recipe.rollouts.engine}"

    def told(name: str, done: int, total: int) -> None:
        telling.tell(phase=name, done=done, total=total)
        if stopping.asked:
            raise Stopped(recipe.train.steps)

    with Scorer(grading_config(recipe.reward), seed=recipe.train.seed) as scorer:
        for number, one in enumerate(missing):
            config = BenchmarkConfig.model_validate(one["config"])
            (way,) = asked_in(load_benchmark(config), [one["prompt"]])
            benchmark = way.benchmark
            if one["shots"]:
                shots = load_examples(recipe.examples)
                shown = [in_context(example, shots) for example in benchmark.examples]
                benchmark = replace(benchmark, examples=shown)
            file = Path(one["file"])
            journal = file.with_suffix(".journal.jsonl")
            label = f"answers {number + 1} of {len(missing)}"
            result = evaluate(
                engine,
                policy.tokenizer,
                scorer,
                benchmark,
                config,
                max_new_tokens=recipe.rollouts.max_new_tokens,
                max_prompt_tokens=recipe.rollouts.max_prompt_tokens,
                chat_template=way.chat_template or recipe.model.chat_template,
                prompt=way.name,
                source=source,
                journal=journal,
                progress=lambda done, total, label=label: told(label, done, total),  # type: ignore[misc]
            )
            write_samples(file, result.samples, result.identity, result.expected)
            journal.unlink(missing_ok=True)
            journal.with_name(f".{journal.name}.lock").unlink(missing_ok=True)


def probe(task: Mapping[str, Any]) -> dict[str, Any]:
    """A few steps of a recipe, not kept: what one takes here, and a process around them. The first
    step is warm-up."""
    from oneshot_rlvr.backends import BACKENDS
    from oneshot_rlvr.policy.load import device_of

    recipe = parse_recipe(task["recipe"])
    train = recipe.train.model_copy(
        update={"steps": PROBE_STEPS, "threads": task["threads"], "save_every": 0, "eval_every": 0}
    )
    none = recipe.evaluation.model_copy(update={"validation": None, "test": None})
    recipe = recipe.model_copy(update={"train": train, "evaluation": none})
    with TemporaryDirectory() as folder:
        run = BACKENDS.load(recipe.backend.name)(recipe, out=Path(folder) / "run").directory
        timings, metrics = Run(run).timings(), Run(run).metrics()
        rest = timings[timings["step"] > 1]
        passed = time.time() - psutil.Process().create_time()
        return {
            "start_seconds": passed - float(rest["step_seconds"].mean()) * PROBE_STEPS,
            "step_seconds": float(rest["step_seconds"].mean()),
            "generate_seconds": float(rest["generate_seconds"].mean()),
            "tokens": float(metrics["train/tokens"].mean()),
            "device": device_of(recipe.model.device).type,
            "memory_bytes": psutil.Process().memory_info().rss,
        }


if __name__ == "__main__":
    sys.exit(main())
