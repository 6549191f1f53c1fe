"""Questions in, graded samples and their summary out.

Every question gets K answers, drawn from streams addressed by (seed, benchmark, question, sample):
a sample depends neither on the batch it is generated in nor on how many others are asked for, and
two models evaluated with one seed are compared on common random numbers. Rows go to the engine in
calls of bounded size, and only texts and verdicts outlive a call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.config import BenchmarkConfig, RewardConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.evaluation import contamination, decoding
from oneshot_rlvr.evaluation.benchmark import Benchmark
from oneshot_rlvr.evaluation.decoding import prompts_of, sampling_of
from oneshot_rlvr.evaluation.grading import Answer, Grader, graded, still_graded
from oneshot_rlvr.evaluation.journal import Journal, Reply
from oneshot_rlvr.evaluation.store import identity_of
from oneshot_rlvr.examples.prompting import ChatTokenizer, encode_prompts
from oneshot_rlvr.records.files import clean_text
from oneshot_rlvr.records.summary import summarise
from oneshot_rlvr.rollouts import Sampling, StreamKey
from oneshot_rlvr.types import Prompt, Rollout

if TYPE_CHECKING:
    from oneshot_rlvr.rollouts import Engine

SAMPLES_PER_STREAM = 64
"""Samples of a question that one engine call may hold; sample s is index s % 64 of stream s // 64.

Part of what a seed means: changing it changes the samples.
"""

Progress = Callable[[int, int], None]
"""Called with (answers done, answers in all) after every engine call."""


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """`samples`: one dict per answer (evaluation.grading), by question, then sample.

    `failures` counts, by reason, answers that a server never gave, or that a file lacks; they are
    in no number.
    """

    samples: list[dict[str, Any]]
    summary: dict[str, Any]
    failures: dict[str, int] = field(default_factory=dict)
    identity: str = ""
    """Names the evaluation (store.identity_of); "" where nobody asked for it."""
    expected: int | None = None
    """How many answers were asked for."""


def grading_config(reward: RewardConfig) -> RewardConfig:
    """How evaluation grades in a run: true golds, whatever arm trains and however it shapes; only
    the processes that grade (their number, deadline, memory and sandbox) are the run's."""
    return RewardConfig(
        arm="outcome",
        timeout_seconds=reward.timeout_seconds,
        workers=reward.workers,
        memory_megabytes=reward.memory_megabytes,
        sandbox=reward.sandbox,
    )


def refuse_repeats(config: BenchmarkConfig) -> None:
    """ConfigError for several greedy samples."""
    if config.temperature == 0 and config.samples > 1:
        raise ConfigError(
            f"samples is {config.samples} at temperature 0, which is one answer {config.samples} "
            "times. Set samples = 1, or a temperature above 0."
        )


def refuse_without_questions(benchmark: Benchmark, rows: Sequence[Any]) -> None:
    """DataError where nothing is left to ask or to sum up."""
    if not rows:
        raise DataError(f'benchmark "{benchmark.name}" leaves no question to ask or to sum up.')


def evaluate(
    engine: Engine,
    tokenizer: ChatTokenizer,
    scorer: Grader,
    benchmark: Benchmark,
    config: BenchmarkConfig,
    *,
    max_new_tokens: int,
    max_prompt_tokens: int,
    chat_template: str = "auto",
    template_arguments: Mapping[str, Any] | None = None,
    model: str = "",
    prompt: str = "own",
    progress: Progress | None = None,
    check_golds: bool = True,
    max_rows: int = 1024,
    max_tokens: int = 4_000_000,
    source: str = "",
    journal: Path | None = None,
) -> EvaluationResult:
    """Sample `config.samples` answers to every question, grade them, sum up.

    `config.max_new_tokens`, where set, comes before the argument. `max_rows` and `max_tokens`
    (answers, and prompt plus new tokens) bound one engine call; neither changes a result. `model`
    and `prompt` are names, for the record: a template is applied before (prompts.py).
    `template_arguments` are the chat template's where `config` has none of its own.
    `journal` keeps answers and verdicts as they come: another call, after a kill for example, asks
    only for those that it lacks. `source` names what answers: weights and engine.
    `check_golds` may be False when this benchmark's golds have been checked before. ConfigError for
    several greedy samples; DataError for a prompt that is too long or a bad gold.
    """
    refuse_repeats(config)
    arguments = decoding.template_arguments(config, template_arguments)
    prompts_Q = prompts_of(
        benchmark.examples, tokenizer, config, max_prompt_tokens=max_prompt_tokens,
        chat_template=chat_template, arguments=arguments,
    )  # fmt: skip
    benchmark = replace(benchmark, examples=[prompt.example for prompt in prompts_Q])
    if check_golds:
        scorer.check_golds(benchmark.examples)
    new_tokens = config.max_new_tokens or max_new_tokens
    sampling = sampling_of(config, new_tokens)
    facts = facts_of(benchmark, config, new_tokens, model, prompt, arguments)
    placed: dict[tuple[int, int], dict[str, Any]] = {}
    total = len(prompts_Q) * config.samples
    kept = None if journal is None else Journal(journal)
    keys = _keys(prompts_Q, benchmark, config, new_tokens, source) if kept is not None else {}
    if kept is not None:
        try:
            placed |= _kept(kept, keys, benchmark, scorer, facts)
        except BaseException:
            kept.close()
            raise
        if progress is not None and placed:
            progress(len(placed), total)
    try:
        for stream, group_size in _streams(config.samples):
            key = StreamKey(config.seed, f"evaluation:{benchmark.name}", stream)
            first = stream * SAMPLES_PER_STREAM
            lacking = [
                prompt
                for prompt in prompts_Q
                if any((prompt.row, first + k) not in placed for k in range(group_size))
            ]
            for prompts in _calls(lacking, group_size, new_tokens, max_rows, max_tokens):
                rollouts = engine.generate(prompts, group_size, sampling, key)
                answers = [_answer(rollout, benchmark, stream) for rollout in rollouts]
                at = [
                    (rollout.row, answer.sample)
                    for rollout, answer in zip(rollouts, answers, strict=True)
                ]
                if kept is not None:
                    for place, answer in zip(at, answers, strict=True):
                        reply = Reply(clean_text(answer.text), answer.tokens, answer.finished)
                        kept.answered(keys[place], reply)
                for place, row in zip(at, graded(answers, scorer, facts), strict=True):
                    placed[place] = row
                    if kept is not None:
                        kept.graded(keys[place], row)
                if progress is not None:
                    progress(len(placed), total)
    finally:
        if kept is not None:
            kept.close()
    asked_Q = [_as_asked(prompt.tokens, tokenizer) for prompt in prompts_Q]
    samples = [
        {**placed[q, k], "asked": asked}
        for q, asked in enumerate(asked_Q)
        for k in range(config.samples)
    ]
    if kept is None:
        return EvaluationResult(samples, summed_up(samples, facts))
    told = {**facts, "samples": config.samples, "source": source, "template": chat_template}
    identity = identity_of(told, benchmark.examples)
    return EvaluationResult(samples, summed_up(samples, facts), {}, identity, total)


def _as_asked(tokens: Sequence[int], tokenizer: ChatTokenizer) -> str | None:
    """The prompt as the model sees it, template and special tokens included; None where the
    tokenizer cannot tell."""
    decode = getattr(tokenizer, "decode", None)
    return None if decode is None else str(decode(list(tokens), skip_special_tokens=False))


def _keys(
    prompts_Q: Sequence[Prompt],
    benchmark: Benchmark,
    config: BenchmarkConfig,
    new_tokens: int,
    source: str,
) -> dict[tuple[int, int], str]:
    """A name for every answer, of all on which it depends: (question, sample) -> key."""
    keys = {}
    drawing = decoding.described(config)  # of the prompt, its tokens tell
    for prompt in prompts_Q:
        told = [source, config.seed, benchmark.name, config.temperature, new_tokens, prompt.row]
        told += [drawing] if drawing != "{}" else []
        for sample in range(config.samples):
            words = json.dumps([*told, list(map(int, prompt.tokens)), sample])
            keys[prompt.row, sample] = hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
    return keys


def _kept(
    journal: Journal,
    keys: Mapping[tuple[int, int], str],
    benchmark: Benchmark,
    scorer: Grader,
    facts: Mapping[str, Any],
) -> dict[tuple[int, int], dict[str, Any]]:
    """What the journal knows, graded as it would be now."""
    placed: dict[tuple[int, int], dict[str, Any]] = {}
    ungraded = []
    for place, key in keys.items():
        example, row = benchmark.examples[place[0]], journal.rows.get(key)
        if row is not None and still_graded(row, example):
            placed[place] = {**row, **facts}
        elif key in journal.answers:
            ungraded.append((place, key, journal.answers[key], example))
    answers = [
        Answer(example, place[1], reply.text, reply.tokens, reply.finished)
        for place, _, reply, example in ungraded
    ]
    rows = graded(answers, scorer, facts) if answers else []
    for (place, key, _, _), row in zip(ungraded, rows, strict=True):
        placed[place] = row
        journal.graded(key, row)
    return placed


def probe(
    engine: Engine,
    tokenizer: ChatTokenizer,
    benchmark: Benchmark,
    *,
    max_prompt_tokens: int,
    progress: Progress | None = None,
    max_rows: int = 256,
    max_tokens: int = 1_000_000,
    source: str = "",
    journal: Path | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The contamination probe (contamination.py): rows and summary. Greedy, no chat template.

    `journal` keeps continuations as they come, `source` names what answers: as in `evaluate`.
    """
    cuts = contamination.cuts_of(benchmark)
    asked = contamination.probe_benchmark(benchmark, cuts)
    refuse_without_questions(asked, cuts)
    tokens_Q = encode_prompts(asked.examples, tokenizer, max_prompt_tokens, "none")
    prompts_Q = [
        Prompt(row=q, example=example, tokens=tokens)
        for q, (example, tokens) in enumerate(zip(asked.examples, tokens_Q, strict=True))
    ]
    # As many tokens as the longest rest has, and a few for a tokenizer that cuts it otherwise.
    longest = max(len(tokenizer.encode(c.hidden, add_special_tokens=False)) for c in cuts)
    sampling = Sampling(temperature=0.0, max_new_tokens=longest + 8)
    greedy = BenchmarkConfig(temperature=0.0, samples=1, seed=0)
    keys = _keys(prompts_Q, asked, greedy, sampling.max_new_tokens, source)
    with nullcontext() if journal is None else closing(Journal(journal)) as kept:
        known = {} if kept is None else kept.answers
        texts = {
            prompt.example.id: known[keys[prompt.row, 0]].text
            for prompt in prompts_Q
            if keys[prompt.row, 0] in known
        }
        lacking = [prompt for prompt in prompts_Q if prompt.example.id not in texts]
        for call in _calls(lacking, 1, sampling.max_new_tokens, max_rows, max_tokens):
            stream = StreamKey(0, f"evaluation:{asked.name}", 0)
            for rollout in engine.generate(call, 1, sampling, stream):
                text = clean_text(rollout.text)
                texts[rollout.example_id] = text
                if kept is not None:
                    reply = Reply(text, len(rollout.tokens), rollout.finished)
                    kept.answered(keys[rollout.row, 0], reply)
            if progress is not None:
                progress(len(texts), len(prompts_Q))
    return contamination.probed(benchmark, cuts, texts)


def facts_of(
    benchmark: Benchmark,
    config: BenchmarkConfig,
    new_tokens: int,
    model: str,
    prompt: str,
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """How the answers of one evaluation were asked for: the same in each of its samples.

    `arguments` are the chat template's.
    """
    return {
        "benchmark": benchmark.name,
        "split": config.split,
        "model": model,
        "prompt": prompt,
        "temperature": config.temperature,
        "max_new_tokens": new_tokens,
        "decoding": decoding.described(config, arguments),
        "seed": config.seed,
    }


def summed_up(samples: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of samples that were asked for as `facts` say."""
    named = {key: facts[key] for key in ("benchmark", "temperature", "seed")}
    rest = {key: value for key, value in facts.items() if key not in named}
    return summarise(samples, **named, **rest)


def _streams(samples: int) -> Iterator[tuple[int, int]]:
    """(stream, samples in it) pairs that hold K samples."""
    for stream in range(-(-samples // SAMPLES_PER_STREAM)):
        yield stream, min(SAMPLES_PER_STREAM, samples - stream * SAMPLES_PER_STREAM)


def _calls(
    prompts_Q: Sequence[Prompt], group_size: int, new_tokens: int, max_rows: int, max_tokens: int
) -> Iterator[list[Prompt]]:
    """Questions of like prompt length, longest first: little padding, and too little memory shows
    in the first call. At least one question a call."""
    call: list[Prompt] = []
    for prompt in sorted(prompts_Q, key=lambda p: (-len(p.tokens), p.row)):
        longest = len((call or [prompt])[0].tokens) + new_tokens
        rows = (len(call) + 1) * group_size
        if call and (rows > max_rows or rows * longest > max_tokens):
            yield call
            call = []
        call.append(prompt)
    if call:
        yield call


def _answer(rollout: Rollout, benchmark: Benchmark, stream: int) -> Answer:
    return Answer(
        example=benchmark.examples[rollout.row],
        sample=stream * SAMPLES_PER_STREAM + rollout.index,
        text=rollout.text,
        tokens=len(rollout.tokens),
        finished=rollout.finished,
    )
