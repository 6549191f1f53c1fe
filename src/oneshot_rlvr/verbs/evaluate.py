"""`evaluate`: a model, a run or a server, and benchmarks -> graded answers.

How each benchmark is asked is found first, then the model answers and is graded (`evaluation`).
Asking a server needs no torch. Beside it: two sides compared (`compare`), questions known
beforehand (`contamination`), stored answers graded again (`regrade`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.verbs.loading import load_subject
from oneshot_rlvr.verbs.subjects import (
    Subject,
    find_benchmark,
    given_settings,
    recipe_of,
    subject_of,
    told_apart,
)

if TYPE_CHECKING:
    from oneshot_rlvr.config import BenchmarkConfig, Recipe
    from oneshot_rlvr.evaluation import EvaluationResult
    from oneshot_rlvr.evaluation.endpoint import Endpoint
    from oneshot_rlvr.evaluation.prompts import Asked

log = logging.getLogger(__name__)

FOLDER = Path("evaluations")
"""Where graded answers and journals go, a folder a model, unless another is given."""

ASKED = "asked"
"""The folder of a run with the answers of its result to benchmarks that it was asked later."""

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
    decoding: str = "benchmark",
    top_p: float | None = None,
    top_k: int | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    stop: Sequence[str] | None = None,
    system: str | None = None,
    template_arguments: Mapping[str, Any] | None = None,
    note: Callable[[str], None] | None = None,
    data_dir: str | Path | None = None,
    prompts: Sequence[str] = ("own",),
    engine: str | None = None,
    endpoint: Endpoint | None = None,
    journals: str | Path | None = None,
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
    decoding: "benchmark", or "recommended": what the model's generation_config.json says of
        temperature, top_p, top_k, min_p and repetition_penalty, told to `note` (None: logged).
        What is given beside it comes first. Every one of them, `stop` texts, a `system` turn (""
        for none) and the chat template's arguments stand beside each answer.
    data_dir: where benchmarks' files are looked for, before $ONESHOT_DATA_DIR and the hub.
    prompts: templates (evaluation/prompts.toml), "own", or "all". With any but ("own",) the keys of
        the result are "BENCHMARK:TEMPLATE".
    engine: `oneshot list engines`; None: the recipe's.
    endpoint: a server to ask instead (evaluation.endpoint).
    journals: the folder that keeps answers as they come, so that a call that was killed goes on;
        None: evaluations/ for a server's, none for a model's.
    """
    from oneshot_rlvr.evaluation.prompts import asked_in

    subject = None if endpoint is not None else subject_of(model)
    recipe = recipe_of(subject)
    given = given_settings(
        seed,
        samples=samples,
        temperature=temperature,
        questions=questions,
        max_new_tokens=max_new_tokens,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=None if stop is None else list(stop),
        system=system,
        template_arguments=None if template_arguments is None else dict(template_arguments),
    )
    advised = _advised(decoding, subject, note or log.info)
    found = {
        name: find_benchmark(name, recipe, given, data_dir, recommended=advised)
        for name in benchmarks
    }
    named = told_apart({name: benchmark for name, (benchmark, _) in found.items()})
    asked = [
        (name if tuple(prompts) == ("own",) else f"{name}:{way.name}", way, config)
        for name, (_, config) in found.items()
        for way in asked_in(named[name], prompts)
    ]
    if subject is None:
        assert endpoint is not None
        return _evaluate_served(endpoint, recipe, asked, Path(journals or FOLDER), seed, progress)
    from oneshot_rlvr.evaluation import evaluate as answer_and_grade
    from oneshot_rlvr.evaluation import grading_config
    from oneshot_rlvr.rewards import Scorer

    loaded = load_subject(subject, engine)
    results = {}
    with Scorer(grading_config(recipe.reward), seed=seed) as scorer:
        for key, way, config in asked:
            config, usual = _for_template(way, config), recipe.model.template_arguments
            results[key] = answer_and_grade(
                loaded.engine,
                loaded.tokenizer,
                scorer,
                way.benchmark,
                config,
                max_new_tokens=recipe.rollouts.max_new_tokens,
                max_prompt_tokens=max_prompt_tokens or recipe.rollouts.max_prompt_tokens,
                chat_template=way.chat_template or recipe.model.chat_template,
                template_arguments=usual if way.chat_template != "none" else None,
                model=subject.name,
                prompt=way.name,
                progress=progress and partial(progress, key),
                source=loaded.source,
                journal=None
                if journals is None
                else journal_file(Path(journals), way.benchmark.name, way.name),
            )
    return results


def _for_template(way: Asked, config: BenchmarkConfig) -> BenchmarkConfig:
    """A way of asking that is bare has no chat template that could read arguments."""
    if way.chat_template != "none":
        return config
    return config.model_copy(update={"template_arguments": None})


def _advised(
    decoding: str, subject: Subject | None, note: Callable[[str], None]
) -> dict[str, Any] | None:
    """What the model recommends, told; None for the benchmark's own decoding."""
    from oneshot_rlvr.errors import ConfigError
    from oneshot_rlvr.evaluation.decoding import GENERATION_CONFIG, recommended

    if decoding == "benchmark":
        return None
    if decoding != "recommended":
        raise ConfigError(f'decoding is "{decoding}"; wanted "benchmark" or "recommended".')
    if subject is None:
        raise ConfigError(
            f'decoding is "recommended", which reads {GENERATION_CONFIG} of a model that lies '
            "here, and an endpoint's does not. Give its values: --temperature, --top-p ..."
        )
    from oneshot_rlvr.policy.generation import generation_config_file

    file = generation_config_file(subject.path, subject.recipe.model.revision)
    advised = recommended(file, subject.path)
    values = ", ".join(f"{key} {value:g}" for key, value in advised.items())
    note(f"decoding that {subject.name} recommends ({GENERATION_CONFIG}): {values}")
    return advised


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
                _for_template(way, config),
                max_new_tokens=recipe.rollouts.max_new_tokens,
                journal=journal_file(journals, way.benchmark.name, way.name),
                chat_template=way.chat_template or "auto",
                prompt=way.name,
                progress=progress and partial(progress, key),
            )
    return results


def folder_of(label: str, out: str | Path | None = None, run: Path | None = None) -> Path:
    """Where the answers of a model go: `out`, in the folder of the run whose result it is, or a
    folder of its name under evaluations/."""
    from oneshot_rlvr.evaluation.store import slug

    if out:
        return Path(out)
    return FOLDER / slug(label) if run is None else run / ASKED


def journal_file(folder: Path, benchmark: str, prompt: str) -> Path:
    """Keeps answers as they come."""
    from oneshot_rlvr.evaluation.store import slug

    return folder / f"{slug(benchmark)}.{slug(prompt)}.journal.jsonl"
