"""How long a run will take: from steps measured here, or from the cost model for a named GPU.

What a step does is counted from recipe and shape; seconds come from two measured steps, or from
`train/cost_model.py`. Answers change their length in training, which nobody knows before: a
forecast takes a mean length for all of them, and the limit (every answer as long as it may be)
beside it. Not here: measuring (`verbs/forecast.py`), words of the terminal.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from oneshot_rlvr.config import BenchmarkConfig, Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.train import cost_model
from oneshot_rlvr.train.cost_model import GPUS, Assumptions, Gpu, Work
from oneshot_rlvr.train.footprint import Shape

PROMPT_TOKENS = 128
"""A prompt's length where examples have not been read as tokens: about that of the paper's pi_1."""

CPU = Assumptions(
    training_efficiency=0.35,
    prefill_efficiency=0.35,
    bandwidth_efficiency=0.6,
    decode_overhead_seconds=0.0004,
    step_overhead_seconds=0.05,
    recomputed_forward=0.0,
)
"""What is taken for granted of this package's own engine on a CPU, in shares of the speed of a
large float32 product measured here. How far that is from measured steps: `benchmarks/hours.py`."""

ON_A_GPU = Assumptions()

SERVED_SHARE = 0.5  # of a GPU's memory, for vLLM


@dataclass(frozen=True, slots=True)
class Place:
    """Hardware that a run is to go on: `count` devices of a kind, and what is assumed of it."""

    gpu: Gpu
    count: int = 1
    assumed: Assumptions = ON_A_GPU


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds of a step and of the whole run, evaluations included, with answers of `mean` tokens.

    evaluating: of the whole run's seconds, those of evaluations.
    """

    mean: float
    step: float
    run: float
    evaluating: float


def place_named(text: str) -> Place:
    """H100, or H100:8 for eight. ConfigError for another name or count."""
    match = re.fullmatch(r"([A-Za-z0-9 ]+?)(?::(\d+))?", text.strip())
    known = {name.lower(): gpu for name, gpu in GPUS.items()}
    name = (match[1] if match else text).lower().replace(" ", "")
    if match is None or name not in known or match[2] == "0":
        raise ConfigError(
            f'--gpu is "{text}".{nearest(text, GPUS)} Known: {", ".join(GPUS)}; with a number of '
            "them as in H100:8."
        )
    return Place(known[name], int(match[2] or 1))


def model_shape(shape: Shape, name: str) -> cost_model.Shape:
    """The cost model's view of a shape; ties and biases as the count of parameters tells."""
    guesses = [
        cost_model.Shape(
            name, shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.head_width,
            shape.intermediate, shape.vocabulary, tied, biased,
        )
        for tied in (True, False)
        for biased in (True, False)
    ]  # fmt: skip
    return min(guesses, key=lambda guess: abs(guess.parameters - shape.parameters))


def work_of(recipe: Recipe, mean: float, prompt: int = PROMPT_TOKENS) -> Work:
    """One step, with answers of `mean` tokens."""
    most = recipe.rollouts.max_new_tokens
    reference = bool(recipe.algorithm.kl_coefficient)
    return Work(
        recipe.rollouts.prompts_per_step, recipe.rollouts.group_size, prompt,
        max(1, round(min(mean, most))), most, reference,
    )  # fmt: skip


def evaluated_answers(recipe: Recipe, count: Callable[[BenchmarkConfig], int]) -> int:
    """Answers that the whole run's evaluations ask for. `count` tells a set's questions.

    Validation: the base, every `eval_every` steps, and the end; test: base and result.
    """
    steps, every = recipe.train.steps, recipe.train.eval_every
    validation, test = recipe.evaluation.validation, recipe.evaluation.test
    times = 1 + (math.ceil(steps / every) if every else 1)
    answers = 0
    if validation is not None:
        answers += times * count(validation) * validation.samples
    if test is not None:
        answers += 2 * count(test) * test.samples
    return answers


def from_measured(
    recipe: Recipe, step: float, sampling: float, mean: float, answers: int
) -> Forecast:
    """From seconds of a measured step, of which `sampling` were generating its answers."""
    each = sampling / recipe.derived()["rollouts_per_step"]
    evaluating = answers * each
    return Forecast(mean, step, recipe.train.steps * step + evaluating, evaluating)


def on_place(
    recipe: Recipe, shape: Shape, place: Place, mean: float, answers: int,
    prompt: int = PROMPT_TOKENS,
) -> Forecast:  # fmt: skip
    """From the cost model. ConfigError where not one answer fits beside the weights."""
    model, work = model_shape(shape, recipe.model.path), work_of(recipe, mean, prompt)
    updates = recipe.train.epochs  # every rollout is differentiated so often
    assumed = place.assumed
    if not recipe.model.gradient_checkpointing:
        assumed = replace(assumed, recomputed_forward=0.0)
    try:
        sampling = cost_model.sampling_seconds(
            model, place.gpu, place.count, work, assumed, SERVED_SHARE
        )
    except ValueError:
        raise ConfigError(
            f"{recipe.model.path} leaves no room for an answer on a {place.gpu.name}; name a "
            "larger one."
        ) from None
    training = cost_model.training_seconds(model, place.gpu, place.count, work, assumed)
    moving = cost_model.synchronising_seconds(model, place.gpu, place.count, assumed)
    step = sampling + updates * training + moving + assumed.step_overhead_seconds
    evaluating = answers * sampling / work.rollouts
    return Forecast(mean, step, recipe.train.steps * step + evaluating, evaluating)


def here(memory: int) -> Place:
    """This machine as the cost model sees it: the speed of a float32 product and of a copy, each
    measured for a fifth of a second with the threads that torch has now."""
    import torch

    size = 768
    a, b = torch.rand(size, size), torch.rand(size, size)
    block, into = torch.rand(1 << 23), torch.empty(1 << 23)
    products = _rate(lambda: torch.mm(a, b), 2.0 * size**3)
    copied = _rate(lambda: into.copy_(block), 2.0 * 4 * len(block))
    return Place(Gpu("this machine", memory, products, copied, copied), 1, CPU)


def _rate(work: Callable[[], object], amount: float, seconds: float = 0.2) -> float:
    """Amount per second, the best of what fits into the time."""
    work()  # warm-up
    best, ends = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        work()
        best = max(best, amount / max(1e-9, time.perf_counter() - began))
    return best
