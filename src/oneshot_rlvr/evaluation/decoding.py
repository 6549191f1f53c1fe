"""How answers are decoded beyond their temperature: what is asked, recorded, sent, or recommended.

One place for what a benchmark's table may say of top-p, top-k, min-p, a repetition penalty, stop
texts, a system turn and a chat template's arguments. Torch-free. Not here: drawing (`rollouts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import BenchmarkConfig
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.examples.prompting import ChatTokenizer, encode_prompts, with_system
from oneshot_rlvr.rollouts import Sampling
from oneshot_rlvr.types import Example, Prompt

DRAWING = ("top_p", "top_k", "min_p", "repetition_penalty")
"""What changes which token is taken, beside the temperature."""

KEYS = (*DRAWING, "stop", "system", "template_arguments")
"""All of it, by the names of `BenchmarkConfig`."""

GENERATION_CONFIG = "generation_config.json"


def sampling_of(config: BenchmarkConfig, max_new_tokens: int) -> Sampling:
    """What an engine is asked with."""
    return Sampling(
        temperature=config.temperature,
        max_new_tokens=max_new_tokens,
        stop=tuple(config.stop),
        **{key: getattr(config, key) for key in DRAWING},
    )


def prompts_of(
    examples: Sequence[Example],
    tokenizer: ChatTokenizer,
    config: BenchmarkConfig,
    *,
    max_prompt_tokens: int,
    chat_template: str = "auto",
    arguments: Mapping[str, Any] | None = None,
) -> list[Prompt]:
    """What a model is asked, row by row, with the benchmark's system turn and the template's
    arguments: its own, else `arguments`. ConfigError for stop texts that no text can have and for
    arguments that no template reads, DataError for a prompt that is too long."""
    refuse_special_stops(config, tokenizer)
    asked = with_system(examples, config.system)
    tokens_Q = encode_prompts(
        asked, tokenizer, max_prompt_tokens, chat_template, template_arguments(config, arguments)
    )
    return [
        Prompt(row=q, example=example, tokens=tokens)
        for q, (example, tokens) in enumerate(zip(asked, tokens_Q, strict=True))
    ]


def described(config: BenchmarkConfig, arguments: Mapping[str, Any] | None = None) -> str:
    """JSON of all that is not off, keys sorted: "{}" for a benchmark's plain decoding.

    `arguments` are the template's that hold, where the benchmark has none of its own.
    """
    usual = {key: BenchmarkConfig.model_fields[key].get_default(call_default_factory=True)
             for key in KEYS}  # fmt: skip
    told = {key: getattr(config, key) for key in KEYS if getattr(config, key) != usual[key]}
    told.pop("template_arguments", None)
    holding = template_arguments(config, arguments)
    if holding:
        told["template_arguments"] = holding
    return json.dumps(told, sort_keys=True, ensure_ascii=False)


def template_arguments(
    config: BenchmarkConfig, usual: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The chat template's arguments: the benchmark's own, else the model's."""
    given = config.template_arguments
    return dict((usual or {}) if given is None else given)


def in_words(told: str | None) -> str:
    """`described` for a reader: "top_p 0.95, top_k 20"; "" where nothing is."""
    try:
        values = json.loads(told or "{}")
    except ValueError:
        return ""
    return ", ".join(
        f"{key} {json.dumps(value, ensure_ascii=False) if isinstance(value, str | list | dict) else f'{value:g}'}"  # noqa: E501
        for key, value in values.items()
    )


def refuse_special_stops(config: BenchmarkConfig, tokenizer: Any) -> None:
    """ConfigError for a stop text that no text can have: special tokens are not shown in texts."""
    special = set(getattr(tokenizer, "all_special_tokens", None) or ())
    for words in config.stop:
        if words in special:
            raise ConfigError(
                f"stop has {words!r}, a special token of this tokenizer, which texts do not show. "
                "End-of-text tokens end an answer by themselves; leave it out."
            )


def request_fields(config: BenchmarkConfig) -> dict[str, Any]:
    """What a request to a server says of all this, and nothing of what is off.

    `top_p` and `stop` are the OpenAI protocol's; the rest is what vLLM, SGLang and llama.cpp added
    to it. A penalty goes under both names that are in use.
    """
    fields: dict[str, Any] = {}
    if config.temperature > 0:
        fields |= {key: getattr(config, key) for key in ("top_p", "top_k", "min_p")}
        off = {"top_p": 1.0, "top_k": 0, "min_p": 0.0}
        fields = {key: value for key, value in fields.items() if value != off[key]}
    if config.repetition_penalty != 1:
        fields["repetition_penalty"] = fields["repeat_penalty"] = config.repetition_penalty
    if config.stop:
        fields["stop"] = list(config.stop)
    if config.template_arguments:
        fields["chat_template_kwargs"] = dict(config.template_arguments)
    return fields


def recommended(path: Path | None, model: str) -> dict[str, Any]:
    """The decoding that a model's generation_config.json names, by `BenchmarkConfig`'s keys.

    Only what the file says counts (as in vLLM; a value that transformers would fill in is not
    taken), and `do_sample = false` is greedy. ConfigError where there is no such file (None), or
    where it says nothing of decoding.
    """
    if path is None:
        raise ConfigError(
            f"{model} has no {GENERATION_CONFIG}, so that no decoding is recommended; leave "
            "--decoding out for the benchmark's, or give --temperature, --top-p ..."
        )
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        named = {key: told[key] for key in ("temperature", *DRAWING) if told.get(key) is not None}
        sampled = told.get("do_sample")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read as a generation config: {error}.") from error
    if sampled is None and not named:
        raise ConfigError(
            f"{path} says nothing of decoding (temperature, {', '.join(DRAWING)}, do_sample); "
            "leave --decoding out for the benchmark's, or give --temperature, --top-p ..."
        )
    penalty = {key: named[key] for key in ("repetition_penalty",) if key in named}
    drawn = sampled if sampled is not None else bool(set(named) - {"repetition_penalty"})
    if not drawn or named.get("temperature") == 0:
        return {"temperature": 0.0, **penalty}
    if isinstance(named.get("top_k"), int) and named["top_k"] < 0:
        del named["top_k"]  # vLLM's way to say that it is off
    return {"temperature": 1.0, **named}
