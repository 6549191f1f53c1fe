"""A pool's policy gradients beside a validation set's: what the score `gradient` reads.

Both sets are answered by the model, graded, and differentiated one example at a time; what stays of
an example is its product with the validation set's gradient. Nothing is trained. Not here: the
gradient (`train.alignment`), the score (`selection.gradient`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.config.sections import CUTS
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.selection.gradient import ALIGNMENTS, Alignment, alignment
from oneshot_rlvr.types import Example
from oneshot_rlvr.verbs.pool import Cost, Tried, told_bad

if TYPE_CHECKING:
    from oneshot_rlvr.evaluation import Benchmark
    from oneshot_rlvr.train.alignment import Gradients
    from oneshot_rlvr.types import Graded

PLACES = ("last_layer", "adapters")
CALL_ROWS = 1024
"""Answers that one call of the engine holds."""


def align(
    path: str,
    recipe: Recipe,
    examples: Sequence[Example],
    validation: Benchmark,
    *,
    rollouts: int,
    kind: Alignment = "cosine",
    place: str = "last_layer",
    temperature: float | None = None,
    seed: int = 0,
    max_new_tokens: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tried:
    """`rollouts` answers to every example and validation question, and each example's alignment.

    kind: cosine, inner_product or learnability (`selection.gradient`). place: last_layer or
    adapters, whose weights the gradients are of. The rest as for `verbs.pool.probe`.
    ConfigError where the sets share a question or one answer has nothing to be compared with;
    DataError where no example has a valid gold, or the validation set no gradient.
    """
    from oneshot_rlvr.evaluation import grading_config
    from oneshot_rlvr.policy import load_policy
    from oneshot_rlvr.rollouts import Sampling, make_engine
    from oneshot_rlvr.running.prepare import keep_apart
    from oneshot_rlvr.train.alignment import Gradients, Validation, inner, norm
    from oneshot_rlvr.train.checkpoint import refuse_damaged_model
    from oneshot_rlvr.train.footprint import peak_bytes

    if rollouts < 2:
        raise ConfigError(
            f"probe is {rollouts}; a policy gradient compares answers to one question and needs at "
            "least 2."
        )
    if kind not in ALIGNMENTS:
        raise ConfigError(f'alignment is "{kind}"; wanted {", ".join(ALIGNMENTS)}.')
    if place not in PLACES:
        raise ConfigError(f'gradients are of "{place}"; wanted {" or ".join(PLACES)}.')
    keep_apart(list(examples), {"validation": validation})
    heat = recipe.rollouts.temperature if temperature is None else temperature
    if heat == 0:
        raise ConfigError("at temperature 0 all answers are one; give a temperature above 0.")
    recipe = recipe.model_copy(
        update={"rollouts": recipe.rollouts.model_copy(update={"temperature": heat})}
    )
    # Drawn from what is scored: the distribution that training cuts.
    cut = {key: getattr(recipe.rollouts, key) for key in CUTS}
    sampling = Sampling(heat, max_new_tokens or recipe.rollouts.max_new_tokens, **cut)
    with Scorer(grading_config(recipe.reward), seed=seed) as scorer:
        bad = scorer.bad_golds(examples)
        unfit = {name for name, _ in bad}
        fit = [example for example in examples if example.id not in unfit]
        if not fit:
            raise DataError(f"no gold is accepted by its own verifier. The first: {bad[0][1]}")
        scorer.check_golds(validation.examples)
        refuse_damaged_model(path)
        policy = load_policy(recipe.model.model_copy(update={"path": path}))
        engine = make_engine(recipe.rollouts.engine, policy, recipe.rollouts)
        gradients = Gradients.of(policy, recipe, place, seed)  # type: ignore[arg-type]
        answering = _Answering(engine, policy, scorer, recipe, sampling, rollouts, seed)
        most = (len(fit) + len(validation.examples)) * rollouts
        started = time.perf_counter()
        aim = Validation.empty(gradients)
        for graded in answering.of(validation.examples, f"align:{validation.name}"):
            aim.add(gradients.policy_gradient(graded), _solved(graded))
            _tell(progress, answering.answers, most)
        target, samples = aim.aim(kind), []
        norms: dict[str, float] = {}
        inners: dict[str, float] = {}
        solved: dict[str, float] = {}
        for graded in answering.of(fit, "align:pool"):
            own = gradients.policy_gradient(graded)
            name = graded[0].rollout.example_id
            norms[name] = 0.0 if own is None else norm(own)
            inners[name] = 0.0 if own is None else inner(own, target)
            solved[name] = _solved(graded)
            samples += [
                {
                    "example_id": name,
                    "correct": g.verdict.correct,
                    "extracted": g.verdict.extracted,
                }
                for g in graded
            ]
            _tell(progress, answering.answers, most)
        seconds = time.perf_counter() - started
    names = list(norms)
    score_E = alignment(
        np.array([inners[name] for name in names]),
        np.array([norms[name] for name in names]),
        norm(target),
        np.array([solved[name] for name in names]),
        kind,
    )
    cost = Cost(
        answering.answers, answering.tokens, seconds, peak_bytes=peak_bytes(policy.device.type)
    )
    notes = [*told_bad(bad), *_notes(aim.agreement, gradients, place, validation, norms)]
    return Tried(cost, notes, samples, alignment=dict(zip(names, score_E.tolist(), strict=True)))


def _solved(graded: Sequence[Graded]) -> float:
    """The share of right answers."""
    return sum(g.verdict.correct for g in graded) / len(graded)


class _Answering:
    """Answers questions and gives them graded, question after question; counts what it took."""

    def __init__(
        self, engine: Any, policy: Any, scorer: Scorer, recipe: Recipe, sampling: Any,
        rollouts: int, seed: int,
    ):  # fmt: skip
        self._engine, self._policy, self._scorer = engine, policy, scorer
        self._recipe, self._sampling, self._rollouts, self._seed = recipe, sampling, rollouts, seed
        self.answers = self.tokens = 0

    def of(self, examples: Sequence[Example], purpose: str) -> Iterator[Sequence[Graded]]:
        """The graded answers of each, in order; a draw depends on (seed, purpose, place)."""
        from oneshot_rlvr.examples.prompting import encode_prompts
        from oneshot_rlvr.rollouts import StreamKey
        from oneshot_rlvr.types import Prompt

        tokens_E = encode_prompts(
            examples,
            self._policy.tokenizer,
            self._recipe.rollouts.max_prompt_tokens,
            self._recipe.model.chat_template,
            self._recipe.model.template_arguments,
        )
        prompts = [
            Prompt(row, example, tokens)
            for row, (example, tokens) in enumerate(zip(examples, tokens_E, strict=True))
        ]
        by_id = {example.id: example for example in examples}
        size, key = max(1, CALL_ROWS // self._rollouts), StreamKey(self._seed, purpose)
        for start in range(0, len(prompts), size):
            call = prompts[start : start + size]
            drawn = self._engine.generate(call, self._rollouts, self._sampling, key)
            graded = self._scorer.score(drawn, by_id, 0)
            for number in range(len(call)):
                own = graded[number * self._rollouts : (number + 1) * self._rollouts]
                self.answers += len(own)
                self.tokens += sum(len(g.rollout.tokens) for g in own)
                yield own


def _notes(
    agreement: float, gradients: Gradients, place: str, validation: Benchmark, norms: Any
) -> list[str]:
    told = [
        f"gradients of {gradients.size:,} weights ({place.replace('_', ' ')}), "
        f"{sum(value == 0 for value in norms.values()):,} of {len(norms):,} examples have none"
    ]
    if np.isfinite(agreement):
        doubt = "; below 0.1 the set is too small to say a direction" if agreement < 0.1 else ""
        told.append(
            f"the gradients of the two halves of the {len(validation.examples)} validation "
            f"questions have a cosine of {agreement:.2f}{doubt}"
        )
    return told


def _tell(progress: Callable[[int, int], None] | None, done: int, most: int) -> None:
    if progress is not None:
        progress(done, most)
