"""What a run on verl starts from: read and checked here, written as the files verl reads.

    training.parquet     the rows of every step, in order
    validation.parquet   the questions of the validation set, if there is one
    examples.json        examples with golds and options, for the reward
    reward.json          how they are graded and rewarded

Not here: the model. verl loads it; `check_prompts` asks its tokenizer alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr.backends.exporters import refuse_gguf
from oneshot_rlvr.backends.verl.data import (
    TRAINING,
    VALIDATION,
    asking_rows,
    training_rows,
    write_examples,
    write_parquet,
)
from oneshot_rlvr.backends.verl.reward import write_spec
from oneshot_rlvr.backends.verl.translate import AUTO_ENGINE, Places, Target
from oneshot_rlvr.config import BenchmarkConfig, ModelConfig, Recipe
from oneshot_rlvr.errors import ConfigError, ModelError
from oneshot_rlvr.evaluation import Benchmark, load_benchmark
from oneshot_rlvr.evaluation.decoding import template_arguments
from oneshot_rlvr.evaluation.run import refuse_repeats
from oneshot_rlvr.examples import load_examples
from oneshot_rlvr.examples.prompting import encode_prompts, opening, with_system
from oneshot_rlvr.rewards import ARMS, Scorer
from oneshot_rlvr.types import Example


@dataclass(frozen=True, slots=True)
class Inputs:
    """`benchmarks`: "validation" and "test", as far as the recipe has them."""

    examples: list[Example]
    benchmarks: dict[str, Benchmark]


def read_inputs(recipe: Recipe, held_out: dict[str, BenchmarkConfig], scorer: Scorer) -> Inputs:
    """Reads and checks examples and held-out sets. ConfigError, DataError for what cannot work."""
    from oneshot_rlvr.running.prepare import keep_apart

    for config in held_out.values():
        refuse_repeats(config)
    examples = load_examples(recipe.examples)
    scorer.check_golds(examples)
    relabel = ARMS.load(recipe.reward.arm).relabel
    for example in examples if relabel is not None else []:
        relabel(example, recipe.reward)
    benchmarks = {name: load_benchmark(config) for name, config in held_out.items()}
    keep_apart(examples, benchmarks)
    for benchmark in benchmarks.values():
        scorer.check_golds(benchmark.examples)
    return Inputs(examples, benchmarks)


def write_inputs(recipe: Recipe, inputs: Inputs, directory: Path, records: Path) -> Places:
    """Writes the files that verl and the reward read. What stood there is written anew."""
    rollouts, train = recipe.rollouts, recipe.train
    rows = training_rows(inputs.examples, rollouts.prompts_per_step, train.steps, train.seed)
    training = write_parquet(rows, directory / "training.parquet")
    validation = None
    sets = {TRAINING: inputs.examples}
    config = recipe.evaluation.validation
    if config is not None and "validation" in inputs.benchmarks:
        sets[VALIDATION] = with_system(inputs.benchmarks["validation"].examples, config.system)
        validation = write_parquet(asking_rows(sets[VALIDATION]), directory / "validation.parquet")
    examples = write_examples(sets, directory / "examples.json")
    spec = write_spec(
        directory / "reward.json", reward=recipe.reward, examples=examples, seed=train.seed
    )
    return Places(training, validation, spec, records)


def check_prompts(recipe: Recipe, inputs: Inputs, model: str) -> None:
    """ConfigError, DataError where a prompt or its answer does not fit the model."""
    from oneshot_rlvr.running.prepare import held_out

    tokenizer = _tokenizer(recipe.model, model)
    positions = _positions(recipe.model, model)
    most, template = recipe.rollouts.max_prompt_tokens, recipe.model.chat_template
    if template == "auto" and not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            f'the tokenizer of model.path "{recipe.model.path}" has no chat template, which verl '
            'needs. Set model.chat_template = "none" for the bare question.'
        )
    sets = {"training": inputs.examples}
    sets |= {name: benchmark.examples for name, benchmark in inputs.benchmarks.items()}
    for name, examples in sets.items():
        config = held_out(recipe).get(name)
        asked = with_system(examples, None if config is None else config.system)
        arguments = recipe.model.template_arguments
        if config is not None:
            arguments = template_arguments(config, arguments)
        longest = max(map(len, encode_prompts(asked, tokenizer, most, template, arguments)))
        new_tokens = recipe.rollouts.max_new_tokens
        if positions is not None and longest + new_tokens > positions:
            raise ConfigError(
                f"A prompt of the {name} set and its answer may take {longest} + {new_tokens} "
                f"tokens and the model {recipe.model.path} knows {positions} positions; lower "
                "rollouts.max_new_tokens."
            )


def _tokenizer(config: ModelConfig, model: str) -> Any:
    """The tokenizer, which is its own file's. ModelError where it is not, or cannot be loaded."""
    from transformers import AutoTokenizer

    from oneshot_rlvr.policy.tokenizer_guard import check_tokenizer

    with _as_model_error(config):
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=config.trust_remote_code)
    check_tokenizer(tokenizer, model, name=config.path)
    return tokenizer


def _positions(config: ModelConfig, model: str) -> int | None:
    """How many positions the model knows."""
    from transformers import AutoConfig

    with _as_model_error(config):
        shape = AutoConfig.from_pretrained(model, trust_remote_code=config.trust_remote_code)
    return getattr(shape, "max_position_embeddings", None)


@contextmanager
def _as_model_error(config: ModelConfig) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise ModelError(
            f'The tokenizer of model.path "{config.path}" could not be loaded: '
            f"{' '.join(str(error).split())[:300]}"
        ) from error


def model_source(path: str) -> str:
    """What verl loads: a directory, absolute because its workers run elsewhere, or a hub name.

    ConfigError for a GGUF file, which it does not.
    """
    refuse_gguf(path, "verl")
    if path == "tiny":
        from oneshot_rlvr import tiny

        return str(tiny.weights_directory())
    local = Path(path).expanduser()
    return str(local.resolve()) if local.is_dir() else path


def target_for(recipe: Recipe, places: Places, device: str | None = None) -> Target:
    """`device` None: that of the recipe, where `auto` means a GPU (nothing is asked here)."""
    asked = device or recipe.model.device
    kind = "cpu" if asked == "cpu" else "cuda"
    engine = AUTO_ENGINE if recipe.rollouts.engine == "auto" else recipe.rollouts.engine
    dtype = recipe.model.dtype
    if dtype == "auto":
        dtype = "bfloat16" if kind == "cuda" else "float32"
    model = model_source(recipe.model.path)
    opens = recipe.model.chat_template == "none" and bool(opening(_tokenizer(recipe.model, model)))
    return Target(places, model, kind, engine, dtype, opens)
