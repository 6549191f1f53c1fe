"""What makes two runs the same run: resolved recipe, seed, the files that it reads, and the code.

Two studies that name the same run share it, and a finished one is never repeated. Keys on which
none of a run's numbers depends on purpose do not count (`NO_IDENTITY`; threads change the last bits
of a sum and no more). Of the code, the rooms that a run goes through: a change of a page or of a
command's words repeats nothing.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import BenchmarkConfig, Recipe

NO_IDENTITY = (
    "name",
    "note",
    "tracking",
    "backend.python",
    "backend.ray_address",
    "backend.start_minutes",
    "backend.stall_minutes",
    "reward.workers",
    "train.threads",
    "train.save_every",
    "train.keep_checkpoints",
    "train.max_skipped_updates",
    "train.micro_batch_tokens",
    "rollouts.vllm",
)

AFTER_A_RUN = ("analysis", "cli", "report", "selection", "study", "verbs")
"""Rooms that come before or after a run and change no number in it."""

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "math-verify")

_WHOLE = 64 << 20
"""Files up to here are read whole; of larger ones (weights) the size and both ends."""


def run_identity(recipe: Recipe) -> str:
    """Hex; equal exactly when two runs are the same. The seed is the recipe's."""
    told = recipe.model_dump(mode="json")
    told.pop("evaluation")
    validation = recipe.evaluation.validation
    told["validation"] = None if validation is None else _with_content(validation)
    told["examples"]["path"] = content(recipe.examples.path)
    told["model"]["path"] = content(recipe.model.path)
    for key in NO_IDENTITY:
        *tables, leaf = key.split(".")
        here: dict[str, Any] = told
        for table in tables:
            here = here.get(table, {})
        here.pop(leaf, None)
    return _hash("run", told, code_version())


def answers_identity(
    of: str, recipe: Recipe, benchmark: BenchmarkConfig, prompt: str, shots: bool
) -> str:
    """Hex, of the answers that the model `of` (a run's identity or a base's) gives to a benchmark.

    Of the recipe what decides how a question is put and cut.
    """
    shown = recipe.examples.model_dump(mode="json") | {"path": content(recipe.examples.path)}
    told: Mapping[str, Any] = {
        "benchmark": _with_content(benchmark),
        "prompt": prompt,
        "template": recipe.model.chat_template,
        "max_new_tokens": benchmark.max_new_tokens or recipe.rollouts.max_new_tokens,
        "max_prompt_tokens": recipe.rollouts.max_prompt_tokens,
        "shots": shown if shots else None,
    }
    return _hash("answers", of, told, code_version())


def base_identity(recipe: Recipe) -> str:
    """Hex, of the model that a run begins with."""
    model = recipe.model.model_dump(mode="json")
    for key in ("lora", "gradient_checkpointing", "autocast"):
        model.pop(key)
    model["path"] = content(recipe.model.path)
    sampler = recipe.rollouts.engine, recipe.rollouts.autocast
    return _hash("base", model, *sampler, code_version())


@cache
def code_version() -> str:
    """Hex, of the package's files that a run goes through and of the packages that it computes
    with."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*")):
        room = path.relative_to(package).parts[0]
        if path.suffix in (".py", ".toml", ".safetensors", ".json") and room not in AFTER_A_RUN:
            if "__pycache__" in path.parts or room == "recipes":
                continue
            digest.update(path.relative_to(package).as_posix().encode())
            digest.update(path.read_bytes())
    for name in PACKAGES:
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    return digest.hexdigest()[:16]


def _with_content(benchmark: BenchmarkConfig) -> dict[str, Any]:
    """A benchmark's keys, with what its files hold for their places."""
    told: dict[str, Any] = benchmark.model_dump(mode="json")
    told["path"] = content(benchmark.path)
    if benchmark.benchmark.endswith(".toml"):
        told["benchmark"] = content(benchmark.benchmark)
    return told


def content(path: str | None) -> Any:
    """What a path holds, where it is a file or a folder here (wherever that lies); a hub's name
    stands for itself."""
    if path is None or not (here := Path(path).expanduser()).exists():
        return path
    if here.is_file():
        return _file(here)
    return {p.name: _file(p) for p in sorted(here.iterdir()) if p.is_file()}


def _file(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE:
            return hashlib.sha256(file.read()).hexdigest()
        digest = hashlib.sha256(str(size).encode() + file.read(1 << 20))
        file.seek(-(1 << 20), 2)
        digest.update(file.read())
        return digest.hexdigest()


def _hash(*told: Any) -> str:
    words = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(words.encode()).hexdigest()[:16]
