"""A pool tried by a model: a short training run over it (history), or the base alone (probe).

Both end in what `selection` reads: records of a run, or graded samples. Golds that their own
verifier rejects are left out and counted (the published pool of 1,209 has one): no model could
ever be right on them. Not here: scores and rankings.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oneshot_rlvr.config import BenchmarkConfig, Recipe, parse_recipe
from oneshot_rlvr.config.sections import CUTS
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.evaluation import Benchmark, evaluate
from oneshot_rlvr.records import Run
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.selection.certainty import ERROR, Race, looks
from oneshot_rlvr.types import Example

NAMED_GOLDS = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What a history or a probe cost. Answers are rollouts; tokens are generated ones. peak_bytes:
    the most memory the process (on a GPU: the device) has held; 0 where it was not measured."""

    answers: int
    tokens: int
    seconds: float
    steps: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """`samples`: graded answers of a probe (columns of records.schema); `run`: a history's;
    `alignment`: by example id, of gradients."""

    cost: Cost
    notes: list[str]
    samples: Sequence[Mapping[str, Any]] = ()
    run: Run | None = None
    alignment: Mapping[str, float] | None = None


def train_over(
    recipe: Recipe,
    pool: str | Path,
    examples: Sequence[Example],
    *,
    verifier: str = "math_answer",
    visits: int | None = None,
    needed: int = 1,
    out: Path,
    progress: Any = None,
) -> Tried:
    """Trains the recipe's model on the pool instead of its own examples, and evaluates nothing.

    `visits` sets the steps so that every example is asked about in so many of them; None keeps the
    recipe's, and as many as give the `needed` visits. An unfinished run of the same settings in
    `out` goes on, a finished one is reused. ConfigError, before anything is trained, for fewer
    visits than are needed.
    """
    if visits is not None and visits < needed:
        raise ConfigError(
            f"--visits is {visits} and the score needs {needed} of every example. Give "
            f"--visits {needed} or more, or another --score."
        )
    with Scorer(recipe.reward, seed=recipe.train.seed) as scorer:
        bad = scorer.bad_golds(examples)
    fit = len(examples) - len(bad)
    if not fit:
        raise DataError(f"{pool}: no gold is accepted by its own verifier. The first: {bad[0][1]}")
    # A step is one visit at most, however often its rows come back to an example.
    wanted = visits or needed
    enough = max(wanted, math.ceil(wanted * fit / recipe.rollouts.prompts_per_step), 1)
    steps = enough if visits is not None else max(recipe.train.steps, enough)
    data = recipe.model_dump(mode="json")
    data["name"] = f"history of {Path(pool).stem}"
    data["examples"] = {
        "path": str(pool),
        "verifier": verifier,
        "exclude": [name for name, _ in bad],
    }
    data["evaluation"] = {}
    data["train"] |= {"steps": steps, "checkpoint_rule": "final"}
    from oneshot_rlvr.backends.local import run

    result = run(parse_recipe(data), out=out, resume=True, progress=progress)
    recorded = Run(result.directory)
    notes = told_bad(bad)
    if result.reused:
        notes.append(f"reused the finished run in {out} (same settings)")
    return Tried(cost_of(recorded), notes, run=recorded)


def cost_of(run: Run) -> Cost:
    """What a run's steps took, from its records; checkpoints included."""
    metrics, timings = run.metrics(), run.timings()
    derived = run.info["derived"]
    return Cost(
        answers=int(derived["rollouts_per_step"]) * len(metrics),
        tokens=int(metrics["train/tokens"].sum()) if len(metrics) else 0,
        seconds=float(timings["step_seconds"].sum()) if "step_seconds" in timings else 0.0,
        steps=len(metrics),
    )


def probe(
    path: str,
    recipe: Recipe,
    examples: Sequence[Example],
    *,
    rollouts: int,
    temperature: float | None = None,
    seed: int = 0,
    max_new_tokens: int | None = None,
    name: str = "pool",
    stop_early: int | None = None,
    journals: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tried:
    """`rollouts` answers of the model at `path` to every example, graded; nothing is trained.

    `recipe` says how it is loaded and decoded; `temperature` None is that of its rollouts. `name`
    is part of what a seed means. `stop_early` K: an example is asked no further once it is certain
    whether it is among the first K by pass rate (`selection.certainty`). `journals`: a folder that
    keeps answers as they come, so that a probe that was killed goes on; its cost is then told of
    this call alone.
    """
    from oneshot_rlvr.policy import load_policy
    from oneshot_rlvr.policy.fingerprint import fingerprint
    from oneshot_rlvr.rollouts import make_engine
    from oneshot_rlvr.train.checkpoint import refuse_damaged_model

    if temperature is None:
        temperature = recipe.rollouts.temperature
    # As training draws; greedy answers are the same whatever is cut off.
    cut = {key: getattr(recipe.rollouts, key) for key in CUTS} if temperature else {}
    with Scorer(recipe.reward, seed=seed) as scorer:
        bad = scorer.bad_golds(examples)
        unfit = {name for name, _ in bad}
        fit = [example for example in examples if example.id not in unfit]
        if not fit:
            raise DataError(f"no gold is accepted by its own verifier. The first: {bad[0][1]}")
        refuse_damaged_model(path)
        policy = load_policy(recipe.model.model_copy(update={"path": path}))
        engine = make_engine(recipe.rollouts.engine, policy, recipe.rollouts)
        source = f"{fingerprint(policy)} {policy.device.type} {recipe.rollouts.engine}"
        file = name if stop_early is None else f"{name}.look"
        started = time.perf_counter()

        def ask(asked: Sequence[Example], answers: int, look: int, before: int) -> list[Any]:
            """That many more answers to each; every look has draws of its own."""
            return evaluate(
                engine,
                policy.tokenizer,
                scorer,
                Benchmark(f"{name} {look}" if look else name, list(asked)),
                BenchmarkConfig(samples=answers, temperature=temperature, seed=seed, **cut),
                max_new_tokens=max_new_tokens or recipe.rollouts.max_new_tokens,
                max_prompt_tokens=recipe.rollouts.max_prompt_tokens,
                chat_template=recipe.model.chat_template,
                template_arguments=recipe.model.template_arguments,
                check_golds=False,
                progress=progress
                and (lambda done, _: progress(before + done, len(fit) * rollouts)),
                source=source,
                journal=None
                if journals is None
                else journals / f"{file}{look or ''}.journal.jsonl",
            ).samples

        notes = told_bad(bad)
        if stop_early is None:
            samples = ask(fit, rollouts, 0, 0)
        else:
            samples, saved = _asked_until_certain(fit, rollouts, stop_early, ask)
            notes += saved
        seconds = time.perf_counter() - started
    tokens = sum(int(sample["tokens"]) for sample in samples)
    return Tried(Cost(len(samples), tokens, seconds), notes, samples=samples)


def _asked_until_certain(
    examples: Sequence[Example],
    rollouts: int,
    first: int,
    ask: Callable[[Sequence[Example], int, int, int], list[Any]],
) -> tuple[list[Any], list[str]]:
    """Samples of all examples, each asked until it is settled; and what that saved, in words."""
    race = Race(len(examples), first, rollouts)
    place = {example.id: number for number, example in enumerate(examples)}
    right_E = np.zeros(len(examples), dtype=np.int64)
    samples: list[Any] = []
    had = 0
    for number, total in enumerate(looks(rollouts)):
        asked = [example for example, is_open in zip(examples, race.open_E, strict=True) if is_open]
        if not asked:
            break
        for sample in ask(asked, total - had, number, len(samples)):
            right_E[place[sample["example_id"]]] += bool(sample["correct"])
            samples.append({**sample, "sample": had + int(sample["sample"])})
        had = total
        if total < rollouts:
            race.look(right_E, total)
    most, done = len(examples) * rollouts, int((~race.open_E).sum())
    saved = f"stopping early saved {most - len(samples):,} of {most:,} answers"
    if not done:
        return samples, [f"{saved}: no example was certain before its last answer"]
    return samples, [
        f"{saved}: {done} of {len(examples)} examples were settled before their last one; with "
        f"probability {1 - ERROR:.2f} at least, none of these was settled wrongly as among the "
        f"first {first} or not"
    ]


def told_bad(bad: Sequence[tuple[str, str]]) -> list[str]:
    """What is noted of examples that were left out, (id, why) each."""
    if not bad:
        return []
    named = ", ".join(repr(name) for name, _ in bad[:NAMED_GOLDS])
    more = ", ..." if len(bad) > NAMED_GOLDS else ""
    return [
        f"{len(bad)} examples whose gold their own verifier rejects were not asked: {named}{more}"
    ]
