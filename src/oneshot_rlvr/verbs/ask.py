"""`ask`: one question -> the answers of a run's base and of its result, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.verbs.loading import load_subject
from oneshot_rlvr.verbs.subjects import base_of, find_model


def ask(
    model: str | Path,
    text: str,
    *,
    temperature: float = 0.0,
    samples: int = 1,
    seed: int = 0,
    max_new_tokens: int | None = None,
    engine: str | None = None,
    **decoding: Any,
) -> dict[str, list[tuple[str, bool]]]:
    """Answers to one question, side by side: {"base": ..., "trained": ...} of a run, {name: ...} of
    any other model. Each answer is (text, whether it ended by itself). Greedy unless a temperature
    is given; both sides are asked with the recipe's prompt suffix, and draw the same numbers.
    `decoding`: top_p, top_k, min_p, repetition_penalty, stop, system, template_arguments, as
    `evaluate` takes them."""
    from pydantic import ValidationError

    from oneshot_rlvr.config import BenchmarkConfig
    from oneshot_rlvr.errors import DataError
    from oneshot_rlvr.evaluation.decoding import prompts_of, sampling_of
    from oneshot_rlvr.rollouts import StreamKey
    from oneshot_rlvr.settings import explain
    from oneshot_rlvr.types import Example

    if not text.strip():
        raise DataError("the question is blank; give --ask a text.")
    if temperature == 0 and samples > 1:
        raise ConfigError(f"{samples} greedy answers are one; give --temperature above 0.")
    try:
        given = {key: value for key, value in decoding.items() if value is not None}
        config = BenchmarkConfig(
            temperature=temperature, samples=samples, max_new_tokens=max_new_tokens, **given
        )
    except ValidationError as error:
        raise ConfigError(explain(error, BenchmarkConfig)) from None
    trained = find_model(model)
    sides = {"base": base_of(trained), "trained": trained} if trained.run else {str(model): trained}
    suffix = trained.recipe.examples.prompt_suffix
    question = f"{text} {suffix}" if suffix and not text.rstrip().endswith(suffix) else text
    answers = {}
    for side, subject in sides.items():
        loaded, rollouts = load_subject(subject, engine), subject.recipe.rollouts
        prompts = prompts_of(
            [Example("asked", question, "")],
            loaded.tokenizer,
            config,
            max_prompt_tokens=rollouts.max_prompt_tokens,
            chat_template=subject.recipe.model.chat_template,
            arguments=subject.recipe.model.template_arguments,
        )
        sampling = sampling_of(config, config.max_new_tokens or rollouts.max_new_tokens)
        drawn = loaded.engine.generate(prompts, samples, sampling, StreamKey(seed, "ask"))
        answers[side] = [(rollout.text, rollout.finished) for rollout in drawn]
        del loaded
    return answers
