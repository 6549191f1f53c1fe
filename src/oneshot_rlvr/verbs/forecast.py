"""What a run will take, before it is begun: hours and price, for `oneshot train --dry-run`.

Three first steps of the recipe are taken here, in a folder that is thrown away, where its model and
examples are on this machine and a step is short; else the cost model says what a step would take.
For a named GPU it is the cost model's word. Not here: memory (`train.footprint`), printing.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from oneshot_rlvr.config import BenchmarkConfig, Recipe, parse_recipe
from oneshot_rlvr.errors import ConfigError, OneshotError

if TYPE_CHECKING:
    from oneshot_rlvr.train.hours import Forecast

STEPS = 3
"""Steps that are taken: the first warms up, the others are measured."""

LONGEST = 30.0
"""Seconds that a step may take, by the cost model, to be measured."""


def forecast(
    recipe: Recipe,
    *,
    gpu: str | None = None,
    price_per_hour: float | None = None,
    answer_tokens: int | None = None,
    measure: bool = True,
) -> list[str]:
    """Lines of words: hours here (measured, or why not), on `gpu` (H100, H100:8), and the price.

    price_per_hour: of one GPU where `gpu` is given, else of this machine. answer_tokens: the mean
    length of an answer for the cost model; None: as measured here, else the longest. ConfigError
    for an unknown GPU, or a price or length that cannot be.
    """
    from oneshot_rlvr.train import hours
    from oneshot_rlvr.train.footprint import free_bytes, read_shape, refused, unread

    refuse_odd(gpu, price_per_hour, answer_tokens)
    place = None if gpu is None else hours.place_named(gpu)
    try:
        shape, device = read_shape(recipe)
    except Exception as error:  # whatever a loader raises: the dry run's other lines stand
        return [f"time:      not told: {unread(error)}"]
    lines: list[str] = []
    most = recipe.rollouts.max_new_tokens
    answers, uncounted = _evaluated(recipe)
    mean = None if answer_tokens is None else float(answer_tokens)
    told: hours.Forecast | None = None
    why = "the cost model's float32 products are of CPUs" if device != "cpu" else refused(recipe)
    expected = None
    if why is None:
        expected = hours.on_place(
            recipe, shape, hours.here(free_bytes("cpu")), mean or most, answers
        )
        why = _why_not(recipe, expected.step) if measure else "it was not asked for"
    if why is None:
        try:
            measured = _measured(recipe)
        except OneshotError as error:
            why = " ".join(str(error).split()).rstrip(".")
        else:
            told = hours.from_measured(recipe, *measured, answers)
            mean = mean or told.mean
            lines.append(
                f"time:      a step takes {_duration(told.step)} here, measured at the start with "
                f"answers of {told.mean:.0f} tokens; the run {_run(recipe, told)}"
            )
    if told is None:
        lines.append(f"time:      no step was measured here: {why}")
        if expected is not None:
            told = expected
            lines.append(
                f"           by the speed of this machine's products a step would take about "
                f"{_duration(expected.step)} with answers of {expected.mean:.0f} tokens, the run "
                f"{_run(recipe, expected)}"
            )
    count = 1
    if place is not None:
        count = place.count
        longest = hours.on_place(recipe, shape, place, most, answers)
        usual = hours.on_place(recipe, shape, place, mean or most, answers)
        name = f"{count} x {place.gpu.name}"
        lines.append(
            f"           on {name} by the cost model, not measured: a step about "
            f"{_duration(usual.step)} with answers of {usual.mean:.0f} tokens, the run "
            f"{_run(recipe, usual)}"
        )
        if usual.mean < most:
            lines.append(
                f"           and at most {_duration(longest.run)}, with every answer at its "
                f"{most:,} tokens"
            )
        told = usual
    if uncounted:
        lines.append(f"           evaluations are not counted: {uncounted}")
    if price_per_hour is not None and told is not None:
        price = told.run / 3600 * price_per_hour * count
        each = " and GPU" if place is not None else ""
        lines.append(
            f"price:     about {price:,.2f} at {price_per_hour:g} an hour{each}, for "
            f"{told.run / 3600 * count:,.2f} {'GPU-' if place is not None else ''}hours"
        )
    return lines


def examples_told(recipe: Recipe, own: bool) -> str:
    """A line about the examples and held-out files, which are read and checked as training does.

    Without the network: a hub's are not read, nor are published benchmarks. `own`: the recipe's
    examples are its owner's; a packaged one may be looked at before its data are here, so that a
    file which is missing is told only. Errors are those of training.
    """
    from oneshot_rlvr.examples import load_examples
    from oneshot_rlvr.examples.readers import is_missing, names_a_file, on_hub
    from oneshot_rlvr.rewards import Scorer

    path = recipe.examples.path
    if path is not None and on_hub(path):
        return f"examples:  not read, {path} is on the hub"
    if path is not None and not own and is_missing(path):
        return f"examples:  not read, there is no {path} here; training needs it"
    load_examples(recipe.examples)  # what cannot be read is told before anything heavy is imported
    from oneshot_rlvr.running.prepare import held_out, read_sets

    files = {
        name: config
        for name, config in held_out(recipe).items()
        if config.benchmark == "file" or names_a_file(config.benchmark)
    }
    with Scorer(recipe.reward, seed=recipe.train.seed) as scorer:
        examples, benchmarks = read_sets(recipe, scorer, files)
    parts = [("", examples), *((f" in the {n} set", b.examples) for n, b in benchmarks.items())]
    counts = [
        f"{len(rows):,} {'question' if len(rows) == 1 else 'questions'}{where}"
        for where, rows in parts
    ]
    return f"examples:  {', '.join(counts)}; every gold is accepted by its verifier"


def refuse_odd(gpu: str | None, price_per_hour: float | None, answer_tokens: int | None) -> None:
    """ConfigError for what `forecast` would refuse, before anything else is done."""
    from oneshot_rlvr.train.hours import place_named

    if gpu is not None:
        place_named(gpu)
    if price_per_hour is not None and not 0 <= price_per_hour < math.inf:
        raise ConfigError(f"--price-per-hour is {price_per_hour:g}; wanted a number from 0 on.")
    if answer_tokens is not None and answer_tokens < 1:
        raise ConfigError(f"--answer-tokens is {answer_tokens}; wanted at least 1.")


def _run(recipe: Recipe, told: Forecast) -> str:
    """ "1.2 h for 100 steps, 3 min of it evaluations"."""
    words = f"{_duration(told.run)} for {recipe.train.steps:,} steps"
    if told.evaluating:
        words += f", {_duration(told.evaluating)} of it evaluations"
    return words


def _duration(seconds: float) -> str:
    """0.61 s, 42 s, 12.3 min, 5.1 h, 420 h."""
    for size, name in ((3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= 2 * size or name == "s":
            number = seconds / size
            return f"{number:,.0f} {name}" if number >= 100 else f"{number:.3g} {name}"
    raise AssertionError


def _evaluated(recipe: Recipe) -> tuple[int, str]:
    """Answers of all evaluations; and why they are not counted, if they are not."""
    from oneshot_rlvr.train.hours import evaluated_answers

    try:
        return evaluated_answers(recipe, questions_of), ""
    except OneshotError as error:
        return 0, " ".join(str(error).split()).rstrip(".")


def questions_of(config: BenchmarkConfig) -> int:
    """How many questions a held-out set has, without the network."""
    from oneshot_rlvr.evaluation import BENCHMARKS, load_benchmark
    from oneshot_rlvr.evaluation.description import read_description

    if config.benchmark.endswith(".toml"):
        described = read_description(Path(config.benchmark).expanduser())
    elif config.benchmark in BENCHMARKS:
        described = BENCHMARKS.load(config.benchmark)
    else:
        return len(load_benchmark(config).examples)
    if described.generator is not None:
        return len(load_benchmark(config).examples)
    rows = (described.hub.rows if described.hub is not None else None) or described.rows
    if rows is None and not config.questions:
        raise ConfigError(f"how many questions {config.benchmark} has is not published")
    return config.questions if rows is None else min(rows, config.questions or rows)


def _why_not(recipe: Recipe, step: float) -> str | None:
    """Why no step is taken here; None where one can be."""
    from oneshot_rlvr.examples.readers import is_missing

    path = recipe.model.path
    if path != "tiny" and not Path(path).expanduser().is_dir():
        return f"the model {path} would have to be fetched"
    source = recipe.examples.path
    if source is not None and (source.startswith("hub:") or is_missing(source)):
        return f"the examples {source} are not here"
    if recipe.backend.name != "local" or recipe.rollouts.engine == "vllm":
        return (
            f"the backend {recipe.backend.name} with {recipe.rollouts.engine} takes long to start"
        )
    if step > LONGEST:
        return f"it would take about {_duration(step)}, and more than {LONGEST:.0f} s are not spent"
    return None


def _measured(recipe: Recipe) -> tuple[float, float, float]:
    """Seconds of a step, of sampling in it, and tokens of an answer: means of measured steps."""
    from oneshot_rlvr.backends import BACKENDS
    from oneshot_rlvr.records import Run

    data = recipe.model_dump(mode="json")
    data["train"] |= {"steps": STEPS, "save_every": 0, "checkpoint_rule": "final"}
    data["evaluation"], data["tracking"]["trackers"] = {}, []
    with tempfile.TemporaryDirectory(prefix="oneshot-dry-run-") as folder:
        out = Path(folder) / "run"
        BACKENDS.load("local")(parse_recipe(data), out=out)
        run = Run(out)
        timings, metrics = run.timings(), run.metrics()
    later = timings[timings["step"] > 1]
    tokens = metrics[metrics["step"] > 1]["train/tokens"].mean()
    step, sampling = (later[f"{what}_seconds"].mean() for what in ("step", "generate"))
    return float(step), float(sampling), float(tokens) / recipe.derived()["rollouts_per_step"]
