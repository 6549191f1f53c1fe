"""What run.json tells of a run: all that is needed to do it again and to judge it.

Recipe, inputs, model, versions, machine, commit. No clocks, no names of people.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import Recipe, fingerprint
from oneshot_rlvr.evaluation import Benchmark
from oneshot_rlvr.running.prepare import Prepared
from oneshot_rlvr.types import Example

PACKAGES = ("oneshot-rlvr", "torch", "transformers", "tokenizers", "numpy", "math-verify")


def describe(recipe: Recipe, ready: Prepared, threads: int) -> dict[str, Any]:
    """run.json's "info" of a run in this process."""
    policy = ready.policy
    return about(
        recipe,
        ready.examples,
        ready.benchmarks,
        model={
            "name": policy.name,
            # Which commit of the hub an unset model.revision meant.
            "hub_commit": getattr(policy.model.config, "_commit_hash", None),
            "parameters": sum(p.numel() for p in policy.model.parameters()),
            "dtype": str(policy.dtype).removeprefix("torch."),
            "device": str(policy.device),
        },
        engine=ready.engine.name,
        threads=threads,
    )


def about(
    recipe: Recipe,
    examples: Sequence[Example],
    benchmarks: Mapping[str, Benchmark],
    **own: Any,
) -> dict[str, Any]:
    """What is told of every run, wherever it runs, with what its backend says of its `own`."""
    return {
        "name": recipe.name,
        "fingerprint": fingerprint(recipe),
        "recipe": recipe.model_dump(mode="json"),
        "derived": recipe.derived(),
        "examples": [asdict(example) for example in examples],
        "held_out": {
            name: {
                "benchmark": benchmark.name,
                "questions": len(benchmark.examples),
                "sha256": digest(benchmark.examples),
            }
            for name, benchmark in benchmarks.items()
        },
        **own,
        "seed": recipe.train.seed,
        "versions": versions(),
        "machine": machine(),
    }


def digest(examples: Sequence[Example]) -> str:
    """SHA-256 (hex) of chats, golds and verifiers, in order."""
    told = [[example.chat(), example.answer, example.verifier] for example in examples]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of what decides a result, and the commit where the package runs from a checkout."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = git_commit()
    return found if commit is None else {**found, "git_commit": commit}


def git_commit() -> str | None:
    """The checkout's commit, "-dirty" appended where files differ from it; None outside one."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout.strip()


def machine() -> dict[str, str | int]:
    """Processor, cores, memory and GPU, as far as they can be told."""
    import psutil
    import torch

    told: dict[str, str | int] = {
        "system": platform.system(),
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }
    if torch.cuda.is_available():
        told["gpu"] = torch.cuda.get_device_name()
    return told


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()
