"""The verbs of evaluation as Python functions: evaluate, ask, compare, probe, grade again.

Orchestration only, as `api`, which exposes them. Rooms that need torch are imported inside the
functions; evaluating a server, comparing stored samples and grading again never need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.verbs.subjects import (
    Subject,
    base_of,
    find_benchmark,
    find_model,
    given_settings,
    told_apart,
)

if TYPE_CHECKING:
    from oneshot_rlvr.config import BenchmarkConfig, Recipe
    from oneshot_rlvr.evaluation import EvaluationResult
    from oneshot_rlvr.evaluation.endpoint import Endpoint
    from oneshot_rlvr.evaluation.prompts import Asked

JOURNALS = Path("evaluations")

Progress = Callable[[str, int, int], None]
"""Called with (benchmark, answers done, answers in all)."""


def evaluate(
    model: str | Path | Subject = "",
    *,
    benchmarks: Sequence[str] = ("tiny",),
    seed: int = 0,
    samples: int | None = None,
    temperature: float | None = None,
    questions: int | None = None,
    max_new_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    data_dir: str | Path | None = None,
    prompts: Sequence[str] = ("own",),
    engine: str | None = None,
    endpoint: Endpoint | None = None,
    journals: str | Path = JOURNALS,
    progress: Progress | None = None,
) -> dict[str, EvaluationResult]:
    """Answers and grades benchmarks with a model: {benchmark: result with samples and summary}.

    model: a hub name, a model directory, `tiny`, or a run, of which the result (`final/`) is taken;
        not with an endpoint, which names its model.
    benchmarks: names (`oneshot list benchmarks`), TOML files or examples files.
    seed: of the sampling, and of generated questions: every seed is a fresh test set.
    samples: answers K per question (avg@K); temperature: 0 is greedy; questions: the first n (for
        generated ones, per family), 0 for all. What is None comes from the run's recipe where that
        tests on the same benchmark, else from how the benchmark is usually decoded.
    max_prompt_tokens: longer prompts are refused; None: the recipe's limit.
    data_dir: where benchmarks' files are looked for, before $ONESHOT_DATA_DIR and the hub.
    prompts: templates (evaluation/prompts.toml), "own", or "all". With any but ("own",) the keys of
        the result are "BENCHMARK:TEMPLATE".
    engine: `oneshot list engines`; None: the recipe's.
    endpoint: a server to ask instead (evaluation.endpoint); `journals`: the folder that keeps its
        answers as they come.
    """
    from oneshot_rlvr.evaluation.prompts import asked_in

    subject = None if endpoint is not None else _subject(model)
    recipe = _recipe_of(subject)
    given = given_settings(seed, samples, temperature, questions, max_new_tokens)
    found = {name: find_benchmark(name, recipe, given, data_dir) for name in benchmarks}
    named = told_apart({name: benchmark for name, (benchmark, _) in found.items()})
    asked = [
        (name if tuple(prompts) == ("own",) else f"{name}:{way.name}", way, config)
        for name, (_, config) in found.items()
        for way in asked_in(named[name], prompts)
    ]
    if subject is None:
        assert endpoint is not None
        return _evaluate_served(endpoint, recipe, asked, Path(journals), seed, progress)
    from oneshot_rlvr.evaluation import evaluate as answer_and_grade
    from oneshot_rlvr.evaluation import grading_config
    from oneshot_rlvr.rewards import Scorer

    loaded = _load(subject, engine)
    results = {}
    with Scorer(grading_config(recipe.reward), seed=seed) as scorer:
        for key, way, config in asked:
            results[key] = answer_and_grade(
                loaded.engine,
                loaded.tokenizer,
                scorer,
                way.benchmark,
                config,
                max_new_tokens=recipe.rollouts.max_new_tokens,
                max_prompt_tokens=max_prompt_tokens or recipe.rollouts.max_prompt_tokens,
                chat_template=way.chat_template or recipe.model.chat_template,
                model=subject.name,
                prompt=way.name,
                progress=progress and partial(progress, key),
            )
    return results


def probe_contamination(
    model: str | Path | Subject = "",
    *,
    benchmarks: Sequence[str],
    questions: int | None = None,
    max_prompt_tokens: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    engine: str | None = None,
    endpoint: Endpoint | None = None,
    journals: str | Path = JOURNALS,
    progress: Progress | None = None,
) -> dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]:
    """{benchmark: (a row per question, summary)} of evaluation/contamination.py: the share of
    questions that the model finishes word by word from their first 60 %."""
    subject = None if endpoint is not None else _subject(model)
    recipe = _recipe_of(subject)
    given = given_settings(seed, None, None, questions, None)
    found = told_apart(
        {name: find_benchmark(name, recipe, given, data_dir, bare=True)[0] for name in benchmarks}
    )
    if subject is None:
        from oneshot_rlvr.evaluation.served import probe_served

        assert endpoint is not None
        return {
            name: probe_served(
                endpoint,
                benchmark,
                _journal(Path(journals), benchmark.name, "contamination"),
                progress and partial(progress, name),
            )
            for name, benchmark in found.items()
        }
    from oneshot_rlvr.evaluation.run import probe

    loaded = _load(subject, engine)
    return {
        name: probe(
            loaded.engine,
            loaded.tokenizer,
            benchmark,
            max_prompt_tokens=max_prompt_tokens or recipe.rollouts.max_prompt_tokens,
            progress=progress and partial(progress, name),
        )
        for name, benchmark in found.items()
    }


def ask(
    model: str | Path,
    text: str,
    *,
    temperature: float = 0.0,
    samples: int = 1,
    seed: int = 0,
    max_new_tokens: int | None = None,
    engine: str | None = None,
) -> dict[str, list[tuple[str, bool]]]:
    """Answers to one question, side by side: {"base": ..., "trained": ...} of a run, {name: ...} of
    any other model. Each answer is (text, whether it ended by itself). Greedy unless a temperature
    is given; both sides are asked with the recipe's prompt suffix, and draw the same numbers."""
    from oneshot_rlvr.errors import DataError
    from oneshot_rlvr.examples.prompting import encode_prompts
    from oneshot_rlvr.rollouts import Sampling, StreamKey
    from oneshot_rlvr.types import Example, Prompt

    if not text.strip():
        raise DataError("the question is blank; give --ask a text.")
    if temperature == 0 and samples > 1:
        raise ConfigError(f"{samples} greedy answers are one; give --temperature above 0.")
    trained = find_model(model)
    sides = {"base": base_of(trained), "trained": trained} if trained.run else {str(model): trained}
    suffix = trained.recipe.examples.prompt_suffix
    question = f"{text} {suffix}" if suffix and not text.rstrip().endswith(suffix) else text
    example = Example("asked", question, "")
    answers = {}
    for side, subject in sides.items():
        loaded, rollouts = _load(subject, engine), subject.recipe.rollouts
        (tokens,) = encode_prompts(
            [example],
            loaded.tokenizer,
            rollouts.max_prompt_tokens,
            subject.recipe.model.chat_template,
        )
        sampling = Sampling(temperature, max_new_tokens or rollouts.max_new_tokens)
        drawn = loaded.engine.generate(
            [Prompt(0, example, tokens)], samples, sampling, StreamKey(seed, "ask")
        )
        answers[side] = [(rollout.text, rollout.finished) for rollout in drawn]
        del loaded
    return answers


def regrade(
    path: str | Path, *, workers: int = 1, seed: int = 0
) -> dict[Path, list[dict[str, Any]]]:
    """Grades the stored answers of a file or folder again, in place, without the model.

    {file: its rows}; each row keeps what it was (`previous_correct`, `previous_version`).
    """
    from oneshot_rlvr.config import RewardConfig
    from oneshot_rlvr.evaluation.regrade import regrade as grade_again
    from oneshot_rlvr.evaluation.store import read_samples, sample_files, write_samples
    from oneshot_rlvr.rewards import Scorer

    files = {file: read_samples(file) for file in sample_files(Path(path))}
    regraded = {}
    with Scorer(RewardConfig(workers=workers), seed=seed) as scorer:
        for file, rows in files.items():
            regraded[file] = grade_again(rows, scorer)
            write_samples(file, regraded[file])
    return regraded


@dataclass(frozen=True, slots=True)
class _Loaded:
    engine: Any
    tokenizer: Any


def _load(subject: Subject, engine: str | None) -> _Loaded:
    from oneshot_rlvr.policy import load_policy
    from oneshot_rlvr.rollouts import make_engine

    rollouts = subject.recipe.rollouts
    set_threads(subject.recipe.train.threads)
    policy = load_policy(subject.recipe.model.model_copy(update={"path": subject.path}))
    return _Loaded(make_engine(engine or rollouts.engine, policy, rollouts), policy.tokenizer)


def _subject(model: str | Path | Subject) -> Subject:
    if isinstance(model, Subject):
        return model
    if not str(model):
        raise ConfigError("no model is named; give a model, a run, or an endpoint.")
    return find_model(model)


def _recipe_of(subject: Subject | None) -> Recipe:
    from oneshot_rlvr.config import Recipe

    return Recipe() if subject is None else subject.recipe


def _evaluate_served(
    endpoint: Endpoint,
    recipe: Recipe,
    asked: Sequence[tuple[str, Asked, BenchmarkConfig]],
    journals: Path,
    seed: int,
    progress: Progress | None,
) -> dict[str, EvaluationResult]:
    from oneshot_rlvr.evaluation import grading_config
    from oneshot_rlvr.evaluation.served import evaluate_served
    from oneshot_rlvr.rewards import Scorer

    results = {}
    with Scorer(grading_config(recipe.reward), seed=seed) as scorer:
        for key, way, config in asked:
            results[key] = evaluate_served(
                endpoint,
                scorer,
                way.benchmark,
                config,
                max_new_tokens=recipe.rollouts.max_new_tokens,
                journal=_journal(journals, way.benchmark.name, way.name),
                chat_template=way.chat_template or "auto",
                prompt=way.name,
                progress=progress and partial(progress, key),
            )
    return results


def _journal(folder: Path, benchmark: str, prompt: str) -> Path:
    from oneshot_rlvr.evaluation.store import slug

    return folder / f"{slug(benchmark)}.{slug(prompt)}.journal.jsonl"


def set_threads(threads: int) -> None:
    """Torch's CPU threads, where the recipe fixes them (0 leaves them)."""
    import torch

    if threads:
        torch.set_num_threads(threads)
