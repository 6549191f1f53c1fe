"""What a run starts from, read and checked before anything is trained or written.

A mistake costs seconds here and hours later, so everything that can be known is asked: names,
examples and their golds, held-out sets, the model, and whether every prompt fits it. Cheap things
come first. Not here: run directories.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from oneshot_rlvr.algorithms import ALGORITHMS
from oneshot_rlvr.config import BenchmarkConfig, Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.evaluation import Benchmark, load_benchmark
from oneshot_rlvr.evaluation.decoding import refuse_special_stops, template_arguments
from oneshot_rlvr.evaluation.run import refuse_repeats
from oneshot_rlvr.examples import load_examples
from oneshot_rlvr.examples.controls import without_suffix
from oneshot_rlvr.examples.likeness import near_duplicates, same_questions
from oneshot_rlvr.examples.prompting import encode_prompts, with_system
from oneshot_rlvr.policy import Policy, load_policy
from oneshot_rlvr.rewards import ARMS, Scorer
from oneshot_rlvr.rewards.arms import Arm
from oneshot_rlvr.rollouts import ENGINES, Engine, make_engine
from oneshot_rlvr.train.checkpoint import refuse_damaged_model
from oneshot_rlvr.train.resampling import refuse_single_prompt
from oneshot_rlvr.train.trackers import load_trackers
from oneshot_rlvr.types import Example

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """`benchmarks`: "validation" and "test", as far as the recipe has them."""

    examples: list[Example]
    prompt_tokens: list[tuple[int, ...]]
    benchmarks: dict[str, Benchmark]
    policy: Policy
    engine: Engine


def prepare(recipe: Recipe, scorer: Scorer) -> Prepared:
    """Reads and checks. Errors of `oneshot_rlvr.errors` for what cannot work."""
    ALGORITHMS.load(recipe.algorithm.name)
    ENGINES.load(recipe.rollouts.engine)
    load_trackers(recipe)
    examples, benchmarks = read_sets(recipe, scorer, held_out(recipe))
    refuse_damaged_model(recipe.model.path)
    policy = load_policy(recipe.model)
    prompts = _fitting_prompts(recipe, policy, examples, benchmarks)
    engine = make_engine(recipe.rollouts.engine, policy, recipe.rollouts)
    return Prepared(examples, prompts, benchmarks, policy, engine)


def read_sets(
    recipe: Recipe, scorer: Scorer, asked: Mapping[str, BenchmarkConfig]
) -> tuple[list[Example], dict[str, Benchmark]]:
    """The training examples and the held-out sets of `asked`, each gold held against its verifier.
    Errors as `prepare`."""
    for config in asked.values():
        refuse_repeats(config)
    examples = load_examples(recipe.examples)
    if recipe.algorithm.dynamic_sampling:
        refuse_single_prompt(examples)
    scorer.check_golds(examples)
    _check_labels(recipe, examples)
    _warn_of_hidden_choices(examples)
    benchmarks = {name: load_benchmark(config) for name, config in asked.items()}
    keep_apart(examples, benchmarks)
    for benchmark in benchmarks.values():
        scorer.check_golds(benchmark.examples)
    return examples, benchmarks


def _warn_of_hidden_choices(examples: list[Example]) -> None:
    """Tells of questions that do not show the options they are about: nobody shows them for it."""
    hidden = [
        example
        for example in examples
        if (texts := _option_texts(example.extra.get("choices")))
        and not any(text in " ".join(turn["content"] for turn in example.chat()) for text in texts)
    ]
    if hidden:
        log.warning(
            "%d of %d questions show none of their choices, for example %r: the model sees the "
            "question alone, so write the options into it",
            len(hidden),
            len(examples),
            " ".join(hidden[0].question.split())[:120],
        )


def _option_texts(choices: Any) -> list[str]:
    if isinstance(choices, Mapping):
        choices = choices.get("text", list(choices.values()))
    return [str(text) for text in choices] if isinstance(choices, list | tuple) else []


def held_out(recipe: Recipe) -> dict[str, BenchmarkConfig]:
    """The held-out sets that the recipe has, by name."""
    sets = {"validation": recipe.evaluation.validation, "test": recipe.evaluation.test}
    return {name: config for name, config in sets.items() if config is not None}


def keep_apart(examples: list[Example], benchmarks: Mapping[str, Benchmark]) -> None:
    """ConfigError where two sets share a question: such a result would prove nothing.

    Questions are compared, not prompts (`examples.likeness`). Near-duplicates are told in the log:
    whether one gives the other away is for a reader to say.
    """
    sets = {"training": [_question(example, None) for example in examples]}
    for name, benchmark in benchmarks.items():
        sets[name] = [_question(example, benchmark) for example in benchmark.examples]
    for one, other in combinations(sets, 2):
        shared = same_questions(sets[one], sets[other])
        if shared:
            are = "question is" if len(shared) == 1 else "questions are"
            example = min(" ".join(sets[other][pair.other].split()) for pair in shared)
            raise ConfigError(
                f"{len(shared)} {are} in both the {one} and the {other} set, for example "
                f"{example[:80]!r}; held-out sets must share none. Change one of the sets, "
                "or the seed of a generated one."
            )
        near = near_duplicates(sets[one], sets[other]) if one == "training" else []
        if near:
            texts = [sets[one][near[0].one], sets[other][near[0].other]]
            log.warning(
                "%d questions of the %s set are nearly the same as one of the %s set (%.0f %% of "
                "their word runs), for example %r and %r: read them, and leave them out if one "
                "gives the other away",
                len({pair.other for pair in near}),
                other,
                one,
                100 * near[0].alike,
                *(" ".join(text.split())[:120] for text in texts),
            )


def _question(example: Example, benchmark: Benchmark | None) -> str:
    """What is asked, with its options where it has some: "which of these" alone is no question."""
    if example.extra.get("choices"):
        return example.question
    return (
        without_suffix(example).question if benchmark is None else benchmark.bare_question(example)
    )


def _check_labels(recipe: Recipe, examples: list[Example]) -> None:
    """ConfigError where the arm trains on other labels and an example has no such label."""
    arm: Arm = ARMS.load(recipe.reward.arm)
    if arm.relabel is not None:
        for example in examples:
            arm.relabel(example, recipe.reward)


def _fitting_prompts(
    recipe: Recipe, policy: Policy, examples: list[Example], benchmarks: dict[str, Benchmark]
) -> list[tuple[int, ...]]:
    """The training prompts' tokens, when prompts and answers of every set fit the model."""
    most, template = recipe.rollouts.max_prompt_tokens, recipe.model.chat_template
    own = "rollouts.max_new_tokens"
    usual = recipe.model.template_arguments
    prompts = encode_prompts(examples, policy.tokenizer, most, template, usual)
    _check_positions(policy, "training", prompts, recipe.rollouts.max_new_tokens, own)
    for name, config in held_out(recipe).items():
        refuse_special_stops(config, policy.tokenizer)
        asked = encode_prompts(
            with_system(benchmarks[name].examples, config.system), policy.tokenizer, most, template,
            template_arguments(config, usual),
        )  # fmt: skip
        new_tokens, key = config.max_new_tokens, f"evaluation.{name}.max_new_tokens"
        if new_tokens is None:
            new_tokens, key = recipe.rollouts.max_new_tokens, own
        _check_positions(policy, name, asked, new_tokens, key)
    return prompts


def _check_positions(
    policy: Policy, name: str, prompts: list[tuple[int, ...]], new_tokens: int, key: str
) -> None:
    limit = getattr(policy.model.config, "max_position_embeddings", None)
    longest = max(map(len, prompts))
    if limit is None or longest + new_tokens <= limit:
        return
    if longest >= limit:
        mend = "leave its long prompts out"
    else:
        mend = f"set {key} to at most {limit - longest}"
    raise ConfigError(
        f"A prompt of the {name} set and its answer may take {longest} + {new_tokens} tokens and "
        f"the model {policy.name} knows {limit} positions; {mend}."
    )
