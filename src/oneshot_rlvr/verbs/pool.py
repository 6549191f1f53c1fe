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

from oneshot_rlvr.config import BenchmarkConfig, Recipe, parse_recipe
from oneshot_rlvr.errors import DataError
from oneshot_rlvr.evaluation import Benchmark, evaluate
from oneshot_rlvr.records import Run
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example

NAMED_GOLDS = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What a history or a probe cost. Answers are rollouts; tokens are generated ones."""

    answers: int
    tokens: int
    seconds: float
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """`samples`: graded answers of a probe (columns of records.schema); `run`: a history's."""

    cost: Cost
    notes: list[str]
    samples: Sequence[Mapping[str, Any]] = ()
    run: Run | None = None


def train_over(
    recipe: Recipe,
    pool: str | Path,
    examples: Sequence[Example],
    *,
    verifier: str = "math_answer",
    visits: int | None = None,
    out: Path,
    progress: Any = None,
) -> Tried:
    """Trains the recipe's model on the pool instead of its own examples, and evaluates nothing.

    `visits` sets the steps so that every example is asked about so many times; None keeps the
    recipe's. An unfinished run of the same settings in `out` goes on, a finished one is reused.
    """
    with Scorer(recipe.reward, seed=recipe.train.seed) as scorer:
        bad = scorer.bad_golds(examples)
    fit = len(examples) - len(bad)
    if not fit:
        raise DataError(f"{pool}: no gold is accepted by its own verifier. The first: {bad[0][1]}")
    steps = recipe.train.steps
    if visits is not None:
        steps = max(1, math.ceil(visits * fit / recipe.rollouts.prompts_per_step))
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
    notes = _told(bad)
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
    journals: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tried:
    """`rollouts` answers of the model at `path` to every example, graded; nothing is trained.

    `recipe` says how it is loaded and decoded; `temperature` None is that of its rollouts. `name`
    is part of what a seed means. `journals`: a folder that keeps answers as they come, so that a
    probe that was killed goes on; what it cost is then told of this call alone.
    """
    from oneshot_rlvr.policy import load_policy
    from oneshot_rlvr.policy.fingerprint import fingerprint
    from oneshot_rlvr.rollouts import make_engine
    from oneshot_rlvr.train.checkpoint import refuse_damaged_model

    if temperature is None:
        temperature = recipe.rollouts.temperature
    with Scorer(recipe.reward, seed=seed) as scorer:
        bad = scorer.bad_golds(examples)
        unfit = {name for name, _ in bad}
        fit = [example for example in examples if example.id not in unfit]
        if not fit:
            raise DataError(f"no gold is accepted by its own verifier. The first: {bad[0][1]}")
        refuse_damaged_model(path)
        policy = load_policy(recipe.model.model_copy(update={"path": path}))
        engine = make_engine(recipe.rollouts.engine, policy, recipe.rollouts)
        started = time.perf_counter()
        result = evaluate(
            engine,
            policy.tokenizer,
            scorer,
            Benchmark(name, fit),
            BenchmarkConfig(samples=rollouts, temperature=temperature, seed=seed),
            max_new_tokens=max_new_tokens or recipe.rollouts.max_new_tokens,
            max_prompt_tokens=recipe.rollouts.max_prompt_tokens,
            chat_template=recipe.model.chat_template,
            check_golds=False,
            progress=progress,
            source=f"{fingerprint(policy)} {policy.device.type} {recipe.rollouts.engine}",
            journal=None if journals is None else journals / f"{name}.journal.jsonl",
        )
        seconds = time.perf_counter() - started
    tokens = sum(int(sample["tokens"]) for sample in result.samples)
    return Tried(Cost(len(result.samples), tokens, seconds), _told(bad), samples=result.samples)


def _told(bad: Sequence[tuple[str, str]]) -> list[str]:
    if not bad:
        return []
    named = ", ".join(repr(name) for name, _ in bad[:NAMED_GOLDS])
    more = ", ..." if len(bad) > NAMED_GOLDS else ""
    return [
        f"{len(bad)} examples whose gold their own verifier rejects were not asked: {named}{more}"
    ]
