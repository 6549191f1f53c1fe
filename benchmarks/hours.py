"""The cost model beside measured steps on this CPU: `python benchmarks/hours.py`.

For each case three steps of a run are taken, two are measured (as `--dry-run` does), and the cost
model is asked for a step with answers of the measured length. Speeds of products and copies are
measured beside each. Wants an idle machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from footprint import random_model

from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.examples import load_examples
from oneshot_rlvr.examples.prompting import encode_prompts
from oneshot_rlvr.policy import load_policy
from oneshot_rlvr.train import hours
from oneshot_rlvr.train.footprint import free_bytes, read_shape
from oneshot_rlvr.verbs.forecast import _measured

SMALL = {"rollouts.prompts_per_step": 2, "rollouts.max_new_tokens": 64}
CASES = [
    ("tiny, 16 rows", "tiny", {}),
    ("tiny, 4 rows", "tiny", {"rollouts.prompts_per_step": 4}),
    ("30 M, 2 rows", "random", SMALL),
    ("30 M, 8 rows", "random", {**SMALL, "rollouts.prompts_per_step": 8}),
]


def main() -> None:
    """All cases, one after the other."""
    import torch

    print("| run | answers of, tokens | model, s | measured, s | model / measured |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(Path(folder))
        for name, kind, overrides in CASES:
            path = "tiny" if kind == "tiny" else model
            changes = {**overrides, "model.path": path, "train.threads": 1}
            recipe = load_recipe("tiny_one_shot", changes)
            torch.set_num_threads(1)
            step, _, mean = _measured(recipe)
            shape, _ = read_shape(recipe)
            policy = load_policy(recipe.model)
            prompt = max(
                map(len, encode_prompts(load_examples(recipe.examples), policy.tokenizer, 4096))
            )
            place = hours.here(free_bytes("cpu"))
            told = hours.on_place(recipe, shape, place, mean, 0, prompt).step
            print(f"| {name} | {mean:.0f} | {told:.2f} | {step:.2f} | {told / step:.2f} |")


if __name__ == "__main__":
    main()
