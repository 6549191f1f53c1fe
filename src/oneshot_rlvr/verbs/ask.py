"""`ask`: one question -> the answers of a run's base and of its result, side by side."""

from __future__ import annotations

from pathlib import Path

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
        loaded, rollouts = load_subject(subject, engine), subject.recipe.rollouts
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
