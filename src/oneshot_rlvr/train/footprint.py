"""How much memory a run will need, estimated from the model's configuration alone.

For `--dry-run`: no weights are read. What is held throughout (weights, gradients, optimizer,
reference, critic) is exact; activations and the sampler's cache are counted per token from the
layer's widths, and assume that every answer is as long as it may be. How far the estimate is from
measured peaks is told in docs/training.md (`benchmarks/footprint.py`).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ModelError, OneshotError
from oneshot_rlvr.policy.gguf import is_gguf
from oneshot_rlvr.policy.head import KEPT_BYTES, LARGEST_COMPILED
from oneshot_rlvr.policy.load import _as_model_error, _dtype, _source, device_of
from oneshot_rlvr.policy.lora import rank_for
from oneshot_rlvr.rollouts.capacity import budget_bytes

HEADROOM = 0.85
"""Share of the free memory that a proposal fills; the rest is fragmentation and surprise."""

PROGRAM_BYTES = {"cpu": 700 << 20, "cuda": 1 << 30}
"""Python with torch and transformers imported; on a GPU, CUDA's context. Measured."""

ROLLOUT_BYTES, RECORD_TOKEN_BYTES = 1500, 120
"""A graded rollout as Python holds it, and each of its tokens: id (36 bytes), log-probability (32),
text, and an update's masks, weights and advantages in float64. Counted, not measured."""

LARGEST, SMALLEST = 1 << 17, 1 << 8


@dataclass(frozen=True, slots=True)
class Shape:
    """What memory depends on; `weight_bytes` is the size of one weight."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    weight_bytes: int

    @classmethod
    def of(cls, config: Any, parameters: int, weight_bytes: int) -> Shape:
        """From a transformers configuration."""
        heads = config.num_attention_heads
        return cls(
            parameters=parameters,
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            intermediate=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_width=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocabulary=config.vocab_size,
            weight_bytes=weight_bytes,
        )


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes by what holds them. `update` and `sampling` take turns; the rest is always there."""

    held: dict[str, int]
    update: int
    sampling: int
    rollouts: int = 0
    """Of a step's answers as records, in the machine's own memory (on a CPU part of `held`)."""

    @property
    def peak(self) -> int:
        """The most at any time."""
        return sum(self.held.values()) + max(self.update, self.sampling)


def estimate(recipe: Recipe, shape: Shape, device: str, micro_batch_tokens: int) -> Footprint:
    """What a run of `recipe` holds with micro-batches of so many tokens."""
    n, b = shape.parameters, shape.weight_bytes
    trained = _adapter_parameters(recipe, shape) if recipe.model.lora is not None else n
    moments = 8 + (4 if b < 4 else 0)  # two float32 averages; masters of narrow weights
    held = {
        "program": PROGRAM_BYTES[device],
        "weights": n * b,
        "gradients": trained * b,
        "optimizer": trained * moments,
    }
    if recipe.algorithm.kl_coefficient and recipe.model.lora is None:
        held["KL reference"] = n * b
    if recipe.algorithm.critic == "own":
        held["critic"] = n * (2 * b + moments)
    rollouts = recipe.derived()["rollouts_per_update"]
    longest = recipe.rollouts.max_prompt_tokens + recipe.rollouts.max_new_tokens
    tokens = min(micro_batch_tokens, rollouts * longest)
    kept = recipe.derived()["rollouts_per_step"]
    kept *= ROLLOUT_BYTES + RECORD_TOKEN_BYTES * recipe.rollouts.max_new_tokens
    if device == "cpu":
        held["rollouts"] = kept
    update = tokens * _token_bytes(recipe, shape, device) + _logit_bytes(shape, device, tokens)
    return Footprint(held, update, _cache_bytes(recipe, shape, device), kept)


def _token_bytes(recipe: Recipe, shape: Shape, device: str) -> int:
    """What one token of a micro-batch leaves behind for the backward pass.

    A decoder layer keeps its two inputs and their norms, queries, keys and values, the attention's
    output, and three tensors of the MLP's width; recomputed layers keep their input only.
    """
    attention = (shape.heads + 2 * shape.kv_heads) * shape.head_width
    layer = 6 * shape.hidden + 2 * attention + 3 * shape.intermediate
    kept = shape.layers * layer
    if recipe.model.gradient_checkpointing:
        kept = shape.layers * shape.hidden + layer
    # With bfloat16 products on a CPU what is kept stays float32.
    narrow = recipe.model.autocast is not None and device != "cpu"
    width = 2 if narrow or shape.weight_bytes == 2 else 4
    return kept * width


def _logit_bytes(shape: Shape, device: str, tokens: int) -> int:
    """The logits that the output head keeps at most for the backward pass (`policy/head.py`)."""
    compiled = device == "cpu" and shape.vocabulary * shape.hidden <= LARGEST_COMPILED
    return 0 if compiled else min(4 * tokens * shape.vocabulary, KEPT_BYTES)


def _cache_bytes(recipe: Recipe, shape: Shape, device: str) -> int:
    """Keys and values of the rollouts in flight, at their full length, as far as the sampler's
    own limit lets them be in flight together."""
    rows = recipe.derived()["rollouts_per_step"]
    tokens = rows * recipe.rollouts.max_new_tokens
    wanted = tokens * shape.layers * 2 * shape.kv_heads * shape.head_width * shape.weight_bytes
    return min(wanted, budget_bytes(torch.device(device)))


def _adapter_parameters(recipe: Recipe, shape: Shape) -> int:
    assert recipe.model.lora is not None
    return recipe.model.lora.rank * _numbers_of_rank_one(shape)


def _numbers_of_rank_one(shape: Shape) -> int:
    """Numbers of adapters of rank 1 on every linear layer: what each reads and what it writes."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    attention = 2 * (shape.hidden + queries) + 2 * (shape.hidden + keys)
    return shape.layers * (attention + 3 * (shape.hidden + shape.intermediate))


def with_rank(recipe: Recipe, shape: Shape | None = None) -> Recipe:
    """The recipe with a number where `model.lora.rank` is 0, which says: as the data need.

    The same number for the same recipe and model. ModelError where the model's configuration, of
    which `shape` is made unless it is given, cannot be read.
    """
    lora = recipe.model.lora
    if lora is None or lora.rank:
        return recipe
    if shape is None:
        with _as_model_error(f'model.path "{recipe.model.path}"'):
            shape = read_shape(recipe)[0]
    rank = rank_for(recipe.derived()["rollouts_total"], _numbers_of_rank_one(shape))
    model = recipe.model.model_copy(update={"lora": lora.model_copy(update={"rank": rank})})
    return recipe.model_copy(update={"model": model})


def propose(recipe: Recipe, shape: Shape, device: str, free: int) -> int | None:
    """The largest power of two for train.micro_batch_tokens that fits; None where none does."""
    tokens = LARGEST
    while tokens >= SMALLEST:
        if estimate(recipe, shape, device, tokens).peak <= HEADROOM * free:
            return tokens
        tokens //= 2
    return None


def read_shape(recipe: Recipe) -> tuple[Shape, str]:
    """The model's shape and the device it will run on, from its configuration; no weights.

    ModelError or OSError where the configuration cannot be read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    options: dict[str, Any] = {"revision": recipe.model.revision}
    trusted = recipe.model.trust_remote_code
    source = _source(recipe.model.path)
    if is_gguf(source):
        options["gguf_file"] = Path(source).name
        source = str(Path(source).parent)
    config = AutoConfig.from_pretrained(source, trust_remote_code=trusted, **options)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)
    device = device_of(recipe.model.device)
    # A run in float16 is planned on machines that would refuse to train it.
    half = recipe.model.dtype == "float16"
    weight_bytes = 2 if half else torch.finfo(_dtype(recipe.model.dtype, device)).bits // 8
    parameters = sum(p.numel() for p in model.parameters())
    return Shape.of(config.get_text_config(), parameters, weight_bytes), device.type


def free_bytes(device: str) -> int:
    """What is free now on the GPU, or in this machine's memory."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    import psutil

    return int(psutil.virtual_memory().available)


def peak_bytes(device: str) -> int:
    """The most held so far: by tensors on the GPU, else by this process. 0 where the system does
    not say.

    Linux is asked for the peak of this process's own memory (VmHWM of proc(5)): what getrusage(2)
    tells begins, in a process that was started, with the peak of the one that started it.
    """
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # not POSIX
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def described(recipe: Recipe) -> list[str]:
    """The estimate and the proposal in words, a line each; one line that says why not."""
    try:
        shape, device = read_shape(recipe)
    except Exception as error:  # whatever a loader raises: the dry run's other lines stand
        return [f"memory:    not estimated: {unread(error)}"]
    recipe, asked = with_rank(recipe, shape), recipe
    now = recipe.train.micro_batch_tokens
    footprint, free = estimate(recipe, shape, device, now), free_bytes(device)
    parts = ", ".join(f"{name} {_size(size)}" for name, size in footprint.held.items())
    proposal = propose(recipe, shape, device, free)
    fits = "fits" if footprint.peak <= HEADROOM * free else "does NOT fit"
    lines = [
        f"the model: {shape.parameters:,} parameters, {8 * shape.weight_bytes} bits each, {device}",
        *_rank_told(asked, recipe, shape),
        f"memory:    about {_size(footprint.peak)} at most: {parts}; and in turns: sampling "
        f"{_size(footprint.sampling)}, an update {_size(footprint.update)}",
        f"           {fits} into the {_size(free)} that are free here",
    ]
    if device != "cpu":
        here = free_bytes("cpu")
        enough = "fits" if footprint.rollouts <= HEADROOM * here else "does NOT fit"
        lines.append(
            f"           a step's rollouts as records: about {_size(footprint.rollouts)} of this "
            f"machine's own memory; {enough} into the {_size(here)} that are free"
        )
    if proposal is None:
        lines.append("           no micro-batch fits: a smaller model, LoRA (model.lora), fewer "
                     "rollouts at a time or a larger machine is needed")  # fmt: skip
    else:
        lines.append(
            f"           train.micro_batch_tokens is {now:,}; up to {proposal:,} would fit"
        )
    return lines


def refused(recipe: Recipe) -> str | None:
    """Why the device here would not train such weights; None where it would."""
    try:
        _dtype(recipe.model.dtype, device_of(recipe.model.device))
    except ModelError as error:
        return str(error).rstrip(".")
    return None


def unread(error: Exception) -> str:
    """Why no shape could be read: our own sentence, or a loader's first words."""
    words = " ".join(str(error).split())
    if isinstance(error, OneshotError):
        return words.rstrip(".")
    return f"the model's configuration cannot be read ({words[:160].rstrip('.')})"


def _rank_told(asked: Recipe, recipe: Recipe, shape: Shape) -> list[str]:
    if asked == recipe or recipe.model.lora is None:
        return []
    rollouts = recipe.derived()["rollouts_total"]
    return [
        f"adapters:  rank {recipe.model.lora.rank}, {_adapter_parameters(recipe, shape):,} numbers "
        f"on every linear layer, for {rollouts:,} rollouts of one bit each"
    ]


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
