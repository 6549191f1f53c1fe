"""`select`: a pool -> its examples ranked by a score of their history, and training sets.

The history is given, made by training over the pool, or replaced by a probe of a model (`pool`);
the scores are in `selection`, the mix with diversity in `mixing`, the files in `training_sets`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oneshot_rlvr.config import Recipe, resolve_recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.examples import load_published
from oneshot_rlvr.records.files import refuse_unwritable, write_outputs
from oneshot_rlvr.selection import (
    SCORES,
    History,
    Ranking,
    from_run,
    from_samples,
    rank,
    read_history,
)
from oneshot_rlvr.selection.history import without_visits
from oneshot_rlvr.types import Example
from oneshot_rlvr.verbs.mixing import mixed
from oneshot_rlvr.verbs.subjects import Subject, find_benchmark, find_model
from oneshot_rlvr.verbs.training_sets import (
    BATCH,
    SIZES,
    ranking_file,
    refuse_no_ranking,
    training_sets,
)

if TYPE_CHECKING:
    from oneshot_rlvr.evaluation import Benchmark
    from oneshot_rlvr.selection.gradient import Alignment
    from oneshot_rlvr.verbs.pool import Cost


@dataclass(frozen=True, slots=True)
class Selection:
    """The ranking, what making its history cost (None: it was there), and the files written."""

    ranking: Ranking
    examples: Mapping[str, Example]
    cost: Cost | None
    notes: list[str]
    files: list[Path]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the history comes from: exactly one of `path`, `recipe`, `rollouts`; none for scores
    that need none. `visits` is for a recipe, `out` for a recipe and a probe; `model`,
    `model_recipe` and what follows for a probe, `validation` and what follows for one that takes
    gradients."""

    path: str | Path | None = None
    recipe: Recipe | None = None
    visits: int | None = None
    out: Path | None = None
    rollouts: int | None = None
    model: str = ""
    model_recipe: Recipe | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None
    stop_early: int | None = None
    validation: Benchmark | None = None
    alignment: Alignment = "cosine"
    gradients_of: str = "last_layer"


def select(
    pool: str | Path,
    *,
    history: str | Path | None = None,
    make_history: Recipe | str | Path | Mapping[str, Any] | None = None,
    visits: int | None = None,
    history_out: str | Path | None = None,
    probe: int | None = None,
    model: str | Path | None = None,
    temperature: float | None = None,
    max_new_tokens: int | None = None,
    stop_early: int | None = None,
    validation: str | None = None,
    alignment: str | None = None,
    gradients_of: str | None = None,
    score: str | None = None,
    seed: int = 0,
    diversity: float = 0.0,
    category: str | None = None,
    embeddings: str | Path | None = None,
    out: str | Path | None = None,
    sets: str | Path | None = None,
    sizes: Sequence[int] | None = None,
    ranks: Sequence[int] = (),
    batch: int = BATCH,
    columns: str = "auto",
    verifier: str = "math_answer",
    progress: Any = None,
    answered: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
) -> Selection:
    """Ranks a pool of examples by a score, and writes training sets of the first ones.

    pool: a file of examples or a hub data set; `verifier` is for rows that name none.
    history: a run's directory, the paper's JSON, a table (example, visit, accuracy), or graded
        samples. make_history: a recipe to train briefly over the pool with, in `history_out`,
        every example asked about `visits` times (None: the recipe's steps). probe: that many
        answers of `model` to every example, without training, kept in `history_out` as they come.
        One of the three, or none for the scores random and first.
    stop_early: K: a probe asks an example no further once it is certain whether it is among the
        first K by pass rate.
    validation: for the score gradient, which a probe takes: the questions (a benchmark or a file)
        whose policy gradient an example's shall align with, by `alignment` (None: cosine; or
        inner_product, learnability), on the weights of `gradients_of` (None: last_layer; or
        adapters). Such a probe keeps no answers, and begins anew after a kill.
    score: see `oneshot list scores`; None: variance, for a probe pass_rate.
    diversity: 0 (the score alone) to 1, by `category` (a column; None: domain) or `embeddings` (a
        Parquet file with id and embedding).
    out: where the ranking goes (.parquet). sets: a folder for training sets of the first k
        examples for k in `sizes` (None: 1, 2, 4, 16), and of `ranks`, each repeated to `batch`
        rows, in the layout `columns` (own, verl, trl; auto: the pool's, its rows as published).
    progress, answered: told of a history's steps and a probe's answers (done, in all).
    overwrite: `out` and `sets` may replace other files; else RecordsError, and none is written.
    """
    given = [history is not None, make_history is not None, probe is not None]
    if sum(given) > 1:
        raise ConfigError("history, make_history and probe are three ways to one thing; give one.")
    if (probe is None) != (model is None):
        raise ConfigError("a probe asks a model: give both, --probe N and --model MODEL.")
    if probe is not None and probe < 1:
        raise ConfigError(f"probe is {probe}; wanted at least 1 answer an example.")
    gradients = {"validation": validation, "alignment": alignment, "gradients_of": gradients_of}
    _refuse_odd(probe, stop_early, gradients, score)
    _refuse_unused(
        make_history is not None, probe is not None, score,
        {"visits": visits, "history_out": history_out, "temperature": temperature,
         "max_new_tokens": max_new_tokens},
    )  # fmt: skip
    _refuse_impossible(temperature, max_new_tokens)
    if out is not None:
        refuse_no_ranking(out, overwrite=overwrite)
    if sets is not None:
        refuse_unwritable(Path(sets))
    subject = None if model is None else find_model(model)
    source = Source(
        path=history,
        recipe=None if make_history is None else resolve_recipe(make_history),
        visits=visits,
        out=None if history_out is None else Path(history_out),
        rollouts=probe,
        model="" if subject is None else subject.path,
        model_recipe=None if subject is None else subject.recipe,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        stop_early=stop_early,
        validation=None if validation is None else _questions(validation, subject, seed),
        alignment=alignment or "cosine",  # type: ignore[arg-type] # checked where it is used
        gradients_of=gradients_of or "last_layer",
    )
    if subject is not None:
        from oneshot_rlvr.rollouts.threads import set_threads

        set_threads(subject.recipe.train.threads)
    published = load_published(pool, verifier=verifier)
    score = score or default_score(source)
    SCORES.load(score)  # an unknown name is told before anything is trained
    examples = published.examples
    visited, cost, notes = history_of(
        source,
        pool,
        examples,
        score=score,
        verifier=verifier,
        seed=seed,
        progress=progress,
        answered=answered,
    )
    ranking = mixed(
        rank(visited, score, seed=seed),
        examples,
        count=max([*(sizes or SIZES), *ranks]),
        weight=diversity,
        category=category,
        embeddings=embeddings,
    )
    outputs = {} if out is None else ranking_file(ranking, out)
    if sets is not None:
        outputs |= training_sets(
            ranking, published, pool, sets, sizes=sizes, ranks=ranks, batch=batch, columns=columns
        )
    files = write_outputs(outputs, overwrite=overwrite)
    by_id = {example.id: example for example in examples}
    return Selection(ranking, by_id, cost, notes + ranking.notes(), files)


def _refuse_odd(
    probe: int | None,
    stop_early: int | None,
    gradients: Mapping[str, str | None],
    score: str | None,
) -> None:
    """ConfigError for what does not go together."""
    if stop_early is not None and (probe is None or score not in (None, "pass_rate")):
        raise ConfigError(
            "stopping early is a probe's, by pass rate: give --probe N, and no score but pass_rate."
        )
    for key, value in gradients.items():
        if value is not None and (probe is None or score != "gradient"):
            raise ConfigError(
                f"{_flag(key)} is {value} and is for gradients: give --probe N --model MODEL "
                "--score gradient --validation SET, or leave it out."
            )
    if score == "gradient" and gradients["validation"] is None:
        raise ConfigError(
            "score gradient aligns with the gradient of a validation set; give --probe N --model "
            "MODEL --validation SET (a benchmark or a file of examples)."
        )


def _refuse_unused(trains: bool, probes: bool, score: str | None, given: Mapping[str, Any]) -> None:
    """ConfigError for a setting of what is not done."""
    keeps = trains or (probes and score != "gradient")
    used = {"visits": trains, "history_out": keeps, "temperature": probes, "max_new_tokens": probes}
    whose = {
        "visits": "--make-history RECIPE",
        "history_out": "--make-history RECIPE, or for a --probe N that takes no gradients",
    }
    for key, value in given.items():
        if value is not None and not used[key]:
            raise ConfigError(
                f"{_flag(key)} is {value} and is for {whose.get(key, '--probe N --model MODEL')}; "
                "give that, or leave it out."
            )


def _refuse_impossible(temperature: float | None, max_new_tokens: int | None) -> None:
    """ConfigError for numbers that no answer can be drawn with."""
    if temperature is not None and not 0 <= temperature < math.inf:
        raise ConfigError(f"--temperature is {temperature:g}; wanted a number from 0 on.")
    if max_new_tokens is not None and max_new_tokens < 1:
        raise ConfigError(f"--max-new-tokens is {max_new_tokens}; wanted at least 1.")


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def _questions(name: str, subject: Subject | None, seed: int) -> Benchmark:
    """The validation set: a benchmark or a file."""
    recipe = Recipe() if subject is None else subject.recipe
    return find_benchmark(name, recipe, {"seed": seed})[0]


def default_score(source: Source) -> str:
    """The paper's variance where there are visits; for a probe, closeness to 1/2."""
    return "pass_rate" if source.rollouts is not None else "variance"


def history_of(
    source: Source,
    pool: str | Path,
    examples: Sequence[Example],
    *,
    score: str,
    verifier: str,
    seed: int,
    progress: Any = None,
    answered: Callable[[int, int], None] | None = None,
) -> tuple[History, Cost | None, list[str]]:
    """The pool's history, what it cost, and what was noted on the way."""
    ids = [example.id for example in examples]
    if source.path is not None:
        return read_history(source.path).of_pool(ids), None, []
    if source.recipe is not None:
        from oneshot_rlvr.verbs.pool import train_over

        out = source.out or Path("runs") / f"history-{Path(pool).stem}"
        tried = train_over(
            source.recipe,
            pool,
            examples,
            verifier=verifier,
            visits=source.visits,
            needed=SCORES.load(score).visits,
            out=out,
            progress=progress,
        )
        assert tried.run is not None
        return from_run(tried.run).of_pool(ids), tried.cost, tried.notes
    if source.rollouts is not None and source.validation is not None:
        from oneshot_rlvr.verbs.aligning import align

        tried = align(
            source.model,
            source.model_recipe or Recipe(),
            examples,
            source.validation,
            rollouts=source.rollouts,
            kind=source.alignment,
            place=source.gradients_of,
            temperature=source.temperature,
            seed=seed,
            max_new_tokens=source.max_new_tokens,
            progress=answered,
        )
        assert tried.alignment is not None
        visited = from_samples(tried.samples)
        aligned = np.array([tried.alignment[name] for name in visited.ids])
        return replace(visited, alignment_E=aligned).of_pool(ids), tried.cost, tried.notes
    if source.rollouts is not None:
        from oneshot_rlvr.verbs.pool import probe

        tried = probe(
            source.model,
            source.model_recipe or Recipe(),
            examples,
            rollouts=source.rollouts,
            temperature=source.temperature,
            seed=seed,
            max_new_tokens=source.max_new_tokens,
            stop_early=source.stop_early,
            journals=source.out or Path("runs") / f"probe-{Path(pool).stem}",
            progress=answered,
        )
        return from_samples(tried.samples).of_pool(ids), tried.cost, tried.notes
    if SCORES.load(score).visits:
        raise ConfigError(
            f"score {score} needs a history: give one (--history), make one (--make-history "
            "RECIPE), or ask the base (--probe N --model MODEL). Without one there are "
            f"{', '.join(name for name in SCORES if not SCORES.load(name).visits)}."
        )
    return without_visits(ids), None, []
