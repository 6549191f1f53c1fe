"""Estimated and measured peak memory: the embedded model and a random one of 30 M parameters.

Each run is a process of its own, whose highest resident memory the kernel tells. Prints a table
that docs/training.md shows. `python benchmarks/footprint.py`
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = {"train.steps": 2, "evaluation.validation": None, "evaluation.test": None}
CASES = [
    ("tiny, 2,048 tokens", "tiny", {"train.micro_batch_tokens": 2048}),
    ("tiny, 16,384 tokens", "tiny", {"train.micro_batch_tokens": 16384}),
    ("30 M, 2,048 tokens", "random", {"train.micro_batch_tokens": 2048}),
    ("30 M, 16,384 tokens", "random", {"train.micro_batch_tokens": 16384}),
]


def random_model(folder: Path) -> str:
    """Eight layers of width 512: 30 M parameters beside a small vocabulary."""
    from oneshot_rlvr.policy import save_policy
    from oneshot_rlvr.policy.random_model import byte_tokenizer, random_policy

    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    policy = random_policy(
        "qwen2", hidden=512, layers=8, heads=8, kv_heads=4, intermediate=1920, scale=0.02,
        tokenizer=byte_tokenizer(template),
    )  # fmt: skip
    return str(save_policy(policy, folder / "model"))


def one(path: str, overrides: str, out: str) -> None:
    """In the measured process: the run, then its peak."""
    from oneshot_rlvr.backends.local import run
    from oneshot_rlvr.config import load_recipe
    from oneshot_rlvr.train.footprint import estimate, peak_bytes, read_shape

    changes = {**json.loads(overrides), **STEPS, "train.threads": 1}
    if path != "tiny":
        changes["model.path"] = path
    recipe = load_recipe("tiny_one_shot", changes)
    shape, device = read_shape(recipe)
    expected = estimate(recipe, shape, device, recipe.train.micro_batch_tokens).peak
    run(recipe, out=out)
    peak = peak_bytes("cpu")
    print(json.dumps({"parameters": shape.parameters, "estimated": expected, "measured": peak}))


def main() -> None:
    """All cases, one after the other."""
    print("| run | parameters | estimated MiB | measured MiB | estimate / measured |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(Path(folder))
        for number, (name, kind, overrides) in enumerate(CASES):
            path = "tiny" if kind == "tiny" else model
            command = [sys.executable, __file__, "one", path, json.dumps(overrides)]
            done = subprocess.run(
                [*command, f"{folder}/run{number}"],
                capture_output=True, text=True, check=True, timeout=900,
            )  # fmt: skip
            told = json.loads(done.stdout.splitlines()[-1])
            expected, peak = (told[key] / 2**20 for key in ("estimated", "measured"))
            ratio = f"{expected / peak:.2f}"
            print(f"| {name} | {told['parameters']:,} | {expected:.0f} | {peak:.0f} | {ratio} |")


if __name__ == "__main__":
    one(*sys.argv[2:]) if sys.argv[1:2] == ["one"] else main()
