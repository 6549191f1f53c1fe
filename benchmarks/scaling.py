"""The tables of docs/scaling.md, from the cost model: `python benchmarks/scaling.py` rewrites them.

A table stands between `<!-- NAME -->` and `<!-- end -->`; the text around them is written by hand.
`--check` only compares, and fails where a table is not what the model says (a test does that too).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from oneshot_rlvr.config import Recipe, load_recipe
from oneshot_rlvr.train.cost_model import (
    A100,
    GB,
    H100,
    PUBLISHED_PARAMETERS,
    QWEN_1P5B,
    QWEN_7B,
    R1_1P5B,
    RTX4090,
    SHAPES,
    Assumptions,
    Gpu,
    Memory,
    Shape,
    Work,
    cache_tokens,
    hours_between_failures,
    lora_parameters,
    lost_share,
    step_seconds,
    training_memory,
)

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
ASSUMED = Assumptions()

# Recipe -> the GPU it names, how many, and the mean length of an answer that is assumed for it.
PLACES: dict[str, tuple[Gpu, int, int]] = {
    "gpu_24gb_qwen25_math_1p5b_pi1": (RTX4090, 1, 800),
    "gpu_80gb_qwen25_math_1p5b_pi1": (A100, 1, 800),
    "gpu_8x80gb_qwen25_math_1p5b_pi1": (A100, 8, 800),
    "llama32_3b": (A100, 8, 800),
    "r1_distill": (A100, 8, 3500),
    "verl_cluster": (A100, 32, 800),
}
PROMPT = 120  # tokens of pi_1 with its instruction, about


def shape_of(recipe: Recipe) -> Shape:
    """The model's shape, by the end of its name."""
    return SHAPES[recipe.model.path.rpartition("/")[2]]


def memory_of(recipe: Recipe, ranks: int) -> Memory:
    """What training takes on each GPU."""
    shape, lora = shape_of(recipe), recipe.model.lora
    return training_memory(
        shape,
        ranks=ranks,
        weight_bytes=2 if recipe.model.dtype == "bfloat16" else 4,
        micro_batch_tokens=recipe.train.micro_batch_tokens,
        checkpointing=recipe.model.gradient_checkpointing,
        activation_bytes=2 if "bfloat16" in (recipe.model.dtype, recipe.model.autocast) else 4,
        lora_parameters=0 if lora is None else lora_parameters(shape, lora.rank),
    )


def work_of(recipe: Recipe, mean: int) -> Work:
    """One step of a recipe."""
    rollouts = recipe.rollouts
    return Work(
        rows=rollouts.prompts_per_step,
        group=rollouts.group_size,
        prompt=PROMPT,
        mean=mean,
        most=rollouts.max_new_tokens,
        # Adapters are switched off for the reference: a forward pass all the same.
        reference=recipe.algorithm.kl_coefficient > 0,
    )


def _head(*cells: str) -> Iterable[str]:
    yield f"| {' | '.join(cells)} |"
    yield "|---" * len(cells) + "|"


def recipes_table() -> Iterable[str]:
    """What the recipes for GPUs take and cost."""
    yield from _head(
        "recipe",
        "GPUs",
        "training, GB a GPU",
        "while sampling, GB",
        "answers at full length at once",
        "a step, s",
        "2,000 steps, GPU-hours",
        "days",
    )
    for name, (gpu, gpus, mean) in PLACES.items():
        recipe = load_recipe(name)
        shape, memory = shape_of(recipe), memory_of(recipe, gpus)
        share = recipe.rollouts.vllm.memory_share
        full = recipe.rollouts.max_prompt_tokens + recipe.rollouts.max_new_tokens
        at_once = cache_tokens(shape, gpu, share) // full
        seconds = step_seconds(shape, gpu, gpus, work_of(recipe, mean), ASSUMED)["step"]
        hours = seconds * recipe.train.steps / 3600
        yield (
            f"| {name} | {gpus} x {gpu.name} | {memory.total / GB:.1f} | "
            f"{(memory.resident + share * gpu.memory) / GB:.1f} | {at_once:,} | {seconds:,.0f} | "
            f"{hours * gpus:,.0f} | {hours / 24:.1f} |"
        )


PAPER_RUNS: tuple[tuple[str, Shape, Work, int], ...] = (
    ("Qwen2.5-Math-1.5B, pi_1 or pi_13", QWEN_1P5B, Work(128, 8, PROMPT, 800, 3072), 2000),
    ("the same, full pool", QWEN_1P5B, Work(128, 8, 150, 800, 3072), 2000),
    ("its first 500 steps: the history", QWEN_1P5B, Work(128, 8, 150, 800, 3072), 500),
    ("Qwen2.5-Math-7B, pi_1", QWEN_7B, Work(128, 8, PROMPT, 800, 3072), 2000),
    ("R1-Distill-1.5B, pi_1, cut at 8,192", R1_1P5B, Work(128, 8, PROMPT, 3500, 8192), 2000),
)


def paper_table() -> Iterable[str]:
    """What the paper's runs cost."""
    yield from _head(
        "run",
        "steps",
        "rollouts",
        "tokens, assumed mean",
        "tokens at most",
        "a step on 8 A100, s",
        "GPU-hours on 8 A100",
        "on 1 A100",
        "on 8 H100",
    )
    for name, shape, work, steps in PAPER_RUNS:
        cells = [
            f"{steps * work.rollouts / 1e6:.2f} M",
            f"{steps * work.tokens / 1e9:.2f} G ({work.mean:,})",
            f"{steps * work.rollouts * work.most / 1e9:.1f} G",
            f"{step_seconds(shape, A100, 8, work, ASSUMED)['step']:,.0f}",
        ]
        for gpu, gpus in ((A100, 8), (A100, 1), (H100, 8)):
            seconds = step_seconds(shape, gpu, gpus, work, ASSUMED)["step"]
            cells.append(f"{seconds * steps * gpus / 3600:,.0f}")
        yield f"| {name} | {steps:,} | {' | '.join(cells)} |"


DEEPSCALER = (
    ("8K", 1040, 8, Work(128, 8, 300, 3900, 8192)),
    ("16K", 480, 32, Work(128, 16, 300, 4800, 16384)),
    ("24K", 230, 32, Work(128, 16, 300, 6000, 24576)),
)
DEEPSCALER_PUBLISHED_HOURS = 3800


def check_table() -> Iterable[str]:
    """Published figures beside the model's."""
    yield from _head(
        "what",
        "published",
        "by the model",
    )
    for name, count in PUBLISHED_PARAMETERS.items():
        yield f"| parameters of {name} | {count:,} | {SHAPES[name].parameters:,} |"
    hours = deepscaler_hours()
    off = hours / DEEPSCALER_PUBLISHED_HOURS - 1
    yield (
        f"| DeepScaleR-1.5B, A100-hours of its three stages | {DEEPSCALER_PUBLISHED_HOURS:,} | "
        f"{hours:,.0f} ({off:+.0%}) |"
    )


def deepscaler_hours(assumed: Assumptions = ASSUMED) -> float:
    """A100-hours of DeepScaleR's stages."""
    return sum(
        steps * gpus * step_seconds(R1_1P5B, A100, gpus, work, assumed)["step"] / 3600
        for _, steps, gpus, work in DEEPSCALER
    )


def sensitivity_table() -> Iterable[str]:
    """What a step owes to each assumption."""
    from dataclasses import replace

    work = Work(128, 8, PROMPT, 800, 3072)
    base = step_seconds(QWEN_1P5B, A100, 8, work, ASSUMED)["step"]
    yield from _head(
        "assumption",
        "taken",
        "half of it: a step",
        "twice: a step",
    )
    for field in (
        "training_efficiency", "bandwidth_efficiency", "decode_overhead_seconds",
        "step_overhead_seconds", "length_spread",
    ):  # fmt: skip
        taken = getattr(ASSUMED, field)
        changed = [
            step_seconds(QWEN_1P5B, A100, 8, work, replace(ASSUMED, **{field: taken * factor}))
            for factor in (0.5, 2.0)
        ]
        shifts = " | ".join(f"{seconds['step'] / base - 1:+.0%}" for seconds in changed)
        yield f"| `{field}` | {taken:g} | {shifts} |"


def growth_table() -> Iterable[str]:
    """Rollouts against GPUs."""
    yield from _head(
        "rollouts a step",
        "GPUs",
        "sampling, s",
        "training, s",
        "synchronising, s",
        "a step, s",
        "tokens/s a GPU",
        "of ideal",
    )
    for rows in (128, 1024, 8192):
        ideal = None
        for gpus in (8, 32, 128, 1024):
            work = Work(rows, 8, 150, 2000, 8192)
            parts = step_seconds(QWEN_7B, H100, gpus, work, ASSUMED)
            rate = work.tokens / parts["step"] / gpus
            ideal = ideal or rate
            yield (
                f"| {work.rollouts:,} | {gpus:,} | {parts['sampling']:,.0f} | "
                f"{parts['training']:,.0f} | {parts['synchronising']:.1f} | {parts['step']:,.0f} | "
                f"{rate:,.0f} | {rate / ideal:.0%} |"
            )


def model_table() -> Iterable[str]:
    """What each model takes."""
    yield from _head(
        "model",
        "parameters",
        "weights, 16 bits, GB",
        "training state, GB",
        "with the reference, GB",
        "keys and values of a token, KiB",
        "training, TFLOP per 1,000 tokens",
    )
    for shape in SHAPES.values():
        memory = training_memory(shape)
        state = (memory.weights + memory.gradients + memory.optimizer) / GB
        flops = (4 + 1) * 1000 * shape.forward_flops(500) / 1e12
        yield (
            f"| {shape.name} | {shape.parameters / 1e9:.2f} G | {2 * shape.parameters / GB:.1f} | "
            f"{state:.0f} | {state + memory.reference / GB:.0f} | {shape.cache_bytes / 1024:.0f} | "
            f"{flops:.0f} |"
        )


def failure_table() -> Iterable[str]:
    """How often a job of that size is interrupted."""
    yield from _head(
        "GPUs",
        "hours between failures",
        "lost, checkpoint every 20 min",
        "every 2 h",
    )
    for gpus in (8, 64, 256, 1024, 4096):
        often, rarely = (lost_share(gpus, hours, 0.5) for hours in (1 / 3, 2.0))
        yield f"| {gpus:,} | {hours_between_failures(gpus):,.0f} | {often:.1%} | {rarely:.1%} |"


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "models": model_table,
    "growth": growth_table,
    "paper": paper_table,
    "recipes": recipes_table,
    "check": check_table,
    "sensitivity": sensitivity_table,
    "failures": failure_table,
}


def filled(page: str) -> str:
    """The page with every table as the model says it now."""

    def fill(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n" + "\n".join(TABLES[match[1]]()) + "\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", fill, page, flags=re.DOTALL)


def main() -> int:
    """Rewrites the tables, or compares them (`--check`)."""
    page = PAGE.read_text(encoding="utf-8")
    new = filled(page)
    if "--check" in sys.argv:
        return int(new != page)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
