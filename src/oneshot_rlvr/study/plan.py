"""What a study would do, cost and be able to show, before anything is trained.

Hours come from a few steps measured here, or from the cost model for a named GPU; the smallest
difference from the spread of runs that exist, or from what the file assumes (`[planning]`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scipy.special import ndtri

from oneshot_rlvr.config import BenchmarkConfig, Recipe
from oneshot_rlvr.errors import ConfigError, DataError, RunError
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.study.checks import here, kept, model_is_here
from oneshot_rlvr.study.claims import LEVEL, sides
from oneshot_rlvr.study.file import StudyFile
from oneshot_rlvr.study.gather import Gathered, both_sides
from oneshot_rlvr.study.spec import BASE, OVER_TIME, OWN_BASE, Claim, benchmark_of
from oneshot_rlvr.study.statistics import Components, components, paired, smallest_difference
from oneshot_rlvr.study.tasks import Task

PROMPT_TOKENS = 120
"""Of the cost model: a prompt's length, about that of the paper's pi_1 with its instruction."""


@dataclass(frozen=True, slots=True)
class Shows:
    """The least distance from a claim's threshold that is told from it four times of five."""

    claim: str
    rule: Claim | None
    difference: float
    measured: bool
    """From the spread of runs that exist; else from the file's assumptions."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Of all tasks and of those that are left. `hours` is None where nothing was measured."""

    runs: int
    runs_done: int
    failed: Mapping[str, str]
    steps_left: int
    answers_left: int
    tokens_left: float | None
    hours: float | None
    gpu_hours: float | None
    how: str
    shows: Sequence[Shows]
    questions: Mapping[str, int]


def plan_of(
    file: StudyFile,
    tasks: Sequence[Task],
    pool: Path,
    *,
    gpu: str | None = None,
    gpus: int | None = None,
    measure: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Plan:
    """The plan of a study. ConfigError for a GPU or model that the cost model does not know."""
    questions = {n: count_of(c) for n, c in file.study.benchmarks.items()}
    left = [task for task in tasks if not task.done]
    answers = sum(
        questions[one.benchmark] * one.config.samples
        for task in left
        for one in task.answers
        if not one.done
    )
    answers += sum(_validated(task) for task in left if task.trains and not task.trained)
    steps = {
        task.name: task.recipe.train.steps - task.steps_done
        for task in left
        if task.trains and not task.trained
    }
    named = gpu or file.study.planning.gpu
    hours: float | None
    tokens: float | None
    if named is not None:
        count = gpus or file.study.planning.gpus
        hours, tokens, how = _on_gpu(file, left, steps, answers, named, count)
        gpu_hours = None if hours is None else hours * count
    else:
        hours, tokens, how = _here(left, steps, answers, pool, measure, say)
        gpu_hours = None
    trained = [task for task in tasks if task.trains]
    return Plan(
        runs=len(trained),
        runs_done=sum(task.trained for task in trained),
        failed={task.name: why for task in left if (why := task.failure()) is not None},
        steps_left=sum(steps.values()),
        answers_left=answers,
        tokens_left=tokens,
        hours=hours,
        gpu_hours=gpu_hours,
        how=how,
        shows=_shows(file, tasks, questions),
        questions=questions,
    )


def count_of(config: BenchmarkConfig) -> int:
    """How many questions a benchmark has, without its hub: of a published one by its description.

    DataError for a file that is not there.
    """
    return _count_of(config.model_dump_json())


@cache
def _count_of(told: str) -> int:
    config = BenchmarkConfig.model_validate_json(told)
    from oneshot_rlvr.evaluation import BENCHMARKS, load_benchmark

    if config.benchmark in BENCHMARKS:
        described = BENCHMARKS.load(config.benchmark)
        if described.generator is None and described.rows:
            return min(config.questions or described.rows, described.rows)
    return len(load_benchmark(config).examples)


def _validated(task: Task) -> int:
    """Answers that a run's own validations ask for."""
    validation, train = task.recipe.evaluation.validation, task.recipe.train
    if validation is None:
        return 0
    times = 1 + (math.ceil(train.steps / train.eval_every) if train.eval_every else 1)
    return times * count_of(validation) * validation.samples


def _here(
    left: Sequence[Task],
    steps: Mapping[str, int],
    answers: int,
    pool: Path,
    measure: bool,
    say: Callable[[str], None],
) -> tuple[float | None, float | None, str]:
    from oneshot_rlvr.running.provenance import usable_cores
    from oneshot_rlvr.study.schedule import known_placing, measured_placing

    if not left:
        return 0.0, 0.0, "nothing is left to do"
    recipe = next((t.recipe for t in left if t.name in steps), left[0].recipe)
    if recipe.backend.name != "local":
        return None, None, "name a GPU (--gpu), verl's steps are not measured here"
    if not model_is_here(recipe):
        return None, None, f"no step was measured: there is no {recipe.model.path} here"
    cores = usable_cores()
    placed = known_placing(recipe, pool, cores)
    if placed is None and measure:
        pool.mkdir(parents=True, exist_ok=True)
        placed = measured_placing(recipe, pool, cores, say)
    if placed is None:
        return None, None, "no step was measured"
    side_by_side = placed.slots > 1
    one = placed.measured["beside"][0] if side_by_side else placed.measured["alone"]
    rollouts, updating = _size(recipe)
    per_answer = one["generate_seconds"] / rollouts
    per_update = (one["step_seconds"] - one["generate_seconds"]) / updating
    seconds = answers * per_answer + len(left) * one.get("start_seconds", 0.0)
    drawn = float(answers)
    for task in left:
        of_task, its_updating = _size(task.recipe)
        count = steps.get(task.name, 0)
        seconds += count * (of_task * per_answer + its_updating * per_update)
        drawn += count * of_task
    tokens = one["tokens"] / rollouts * drawn
    slots = min(placed.slots, max(1, len(left)))
    how = (
        f"{slots} runs at once, a thread each" if side_by_side
        else f"one run at a time on {placed.threads or 'the recipe’s'} threads"
    )  # fmt: skip
    return seconds / slots / 3600, tokens, f"{how}, {one['step_seconds']:.2f} s a step, measured"


def _size(recipe: Recipe) -> tuple[float, float]:
    """Rollouts of a step, and how many of them its updates compute: all of them, once an epoch."""
    rollouts = float(recipe.derived()["rollouts_per_step"])
    return rollouts, rollouts * recipe.train.epochs


def _on_gpu(
    file: StudyFile,
    left: Sequence[Task],
    steps: Mapping[str, int],
    answers: int,
    name: str,
    gpus: int,
) -> tuple[float, float, str]:
    from oneshot_rlvr.train.cost_model import GPUS, SHAPES, Work, step_seconds

    known = {**{gpu.name: gpu for gpu in GPUS.values()}, **GPUS}
    if name not in known:
        raise ConfigError(
            f"planning.gpu is {name!r}.{nearest(name, known)} Known: {', '.join(known)}."
        )
    seconds, tokens, mean = 0.0, 0.0, 0
    per_answer = 0.0
    made: dict[Any, dict[str, float]] = {}
    for task in left:
        recipe, rollouts = task.recipe, task.recipe.rollouts
        model = recipe.model.path.rpartition("/")[2]
        if model not in SHAPES:
            raise ConfigError(
                f"{recipe.model.path} is not in the cost model, which knows {', '.join(SHAPES)}; "
                "plan without a GPU, from steps measured here."
            )
        mean = file.study.planning.mean_tokens or max(1, rollouts.max_new_tokens // 4)
        work = Work(
            rollouts.prompts_per_step, rollouts.group_size, PROMPT_TOKENS,
            min(mean, rollouts.max_new_tokens), rollouts.max_new_tokens,
            recipe.algorithm.kl_coefficient > 0,
        )  # fmt: skip
        if (model, work) not in made:
            made[model, work] = step_seconds(SHAPES[model], known[name], gpus, work)
        parts = made[model, work]
        per_answer = parts["sampling"] / work.rollouts
        seconds += steps.get(task.name, 0) * parts["step"]
        tokens += steps.get(task.name, 0) * work.tokens
    seconds, tokens = seconds + answers * per_answer, tokens + answers * mean
    how = f"cost model: one run at a time on {gpus} x {known[name].name}, {mean:,} tokens an answer"
    return seconds / 3600, tokens, how


def _shows(file: StudyFile, tasks: Sequence[Task], questions: Mapping[str, int]) -> list[Shows]:
    study = file.study
    gathered = Gathered(file, tasks)
    claims = study.claims or [
        Claim(name=f"{arm} over base, {name}", arm=arm, against=BASE, benchmark=name)
        for name in study.benchmarks
        for arm in list(study.arms)[:1]
    ]
    over_seeds = study.intervals == "seeds and questions"
    found = []
    for claim in claims:
        name = benchmark_of(study, claim)
        if claim.statistic == "rank_correlation":
            quantiles = ndtri(1 - LEVEL / len(claims) / 2) + ndtri(0.8)
            z = quantiles / math.sqrt(len(claim.arms) - 3)
            found.append(Shows(claim.name, claim, math.tanh(z), False))
            continue
        parts = _measured(gathered, claim)
        asked, samples = questions[name], study.benchmarks[name].samples
        if claim.only and (all_asked := here(study.benchmarks[name])) is not None:
            asked = len(kept(all_asked, claim.only))
        if claim.statistic in OVER_TIME:
            validation = file.arms[claim.arm].recipe.evaluation.validation
            assert validation is not None  # checked where the file is read
            asked, samples = count_of(validation), validation.samples
        assumed = parts or _assumed(file, claim, samples)
        trained = [a for a in (claim.arm, claim.against) if a and _trains(file, a)]
        least = smallest_difference(
            assumed, len(study.seeds) if trained else 1, asked, len(claims),
            level=LEVEL, over_seeds=over_seeds and bool(trained),
        )  # fmt: skip
        found.append(Shows(claim.name, claim, least, parts is not None))
    return found


def _trains(file: StudyFile, arm: str) -> bool:
    return arm not in (BASE, OWN_BASE) and (arm not in file.arms or file.arms[arm].trains)


def _measured(gathered: Gathered, claim: Claim) -> Components | None:
    """Of runs that exist: their spread, no mean. Looking at it decides nothing about the claim."""
    try:
        one, other = sides(gathered, claim)
        if other is None:
            return components(one.values_S_Q)
        ours, theirs, _ = both_sides(one, other)
        return components(paired(ours, theirs))
    except (RunError, DataError):
        return None


def _assumed(file: StudyFile, claim: Claim, samples: int) -> Components:
    """Chance is p (1 - p) / K an entry and side; of a base it is the same for every seed."""
    planning = file.study.planning
    chance = planning.accuracy * (1 - planning.accuracy) / samples
    if claim.statistic.startswith("pass@"):
        chance *= min(samples, int(claim.statistic.partition("@")[2]))
    seed, question = planning.seed_sd**2, planning.question_sd**2
    if claim.against is None:
        return Components(seed, question, chance)
    if not _trains(file, claim.against):
        return Components(seed, question + chance, chance)
    return Components(2 * seed, question, 2 * chance)
