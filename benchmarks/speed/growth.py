"""Growth of sampling and of an update with rollouts, prompt length and response length.

    python benchmarks/speed/growth.py [--size 0.8M]

Linear in rollouts means a constant time per token. What a prefix token costs is told from the
slope over prompt lengths, as FLOPs at the matmul rate of the run, beside attention's own
4 x layers x width for every new token.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from common import SHAPES, matmul_peak, model, prompt, save, settle
from step_beside_trl import _graded

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.train.step import TrainStep

BASE = {"rollouts": 256, "prompt": 50, "tokens": 64}
AXES = {
    "rollouts": [64, 128, 256, 512, 1024],
    "prompt": [20, 100, 300, 1000],
    "tokens": [16, 32, 64, 128, 256],
}


def main() -> None:
    """All three axes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="0.8M")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    settle(args.threads)
    policy = model(args.size)
    engine = make_engine("shared_prefix", policy)
    settings = {
        "rollouts": {"prompts_per_step": 1, "group_size": 2, "temperature": 1.0},
        "algorithm": {"kl_coefficient": 0.0, "entropy_coefficient": 0.0},
        "train": {"micro_batch_tokens": 8192},
    }
    trainer = TrainStep(policy, Recipe.model_validate(settings))
    points = [(axis, {**BASE, axis: value}) for axis, values in AXES.items() for value in values]
    taken: list[list[tuple[float, float, float]]] = [[] for _ in points]
    for repeat in range(args.repeats + 1):
        for place, (_, at) in enumerate(points):
            key, asked = StreamKey(0, "growth", repeat), [prompt(at["prompt"])]
            began = time.perf_counter()
            rollouts = engine.generate(asked, at["rollouts"], Sampling(1.0, at["tokens"]), key)
            sampled = time.perf_counter() - began
            graded = [_graded(r) for r in rollouts]
            began = time.perf_counter()
            trainer.update(graded)
            updated = time.perf_counter() - began
            if repeat:
                taken[place].append((sampled, updated, matmul_peak()))
    rows = []
    for (axis, at), times in zip(points, taken, strict=True):
        new = at["rollouts"] * at["tokens"]
        rows.append(
            {
                "axis": axis,
                **at,
                "sampling us/token": 1e6 * median(t[0] for t in times) / new,
                "update us/token": 1e6 * median(t[1] for t in times) / new,
                "sampling FLOPs/token at peak": median(t[0] * t[2] for t in times) / new,
            }
        )
    shape = SHAPES[args.size]
    by_prompt = [row for row in rows if row["axis"] == "prompt"]
    slope = (
        by_prompt[-1]["sampling FLOPs/token at peak"] - by_prompt[0]["sampling FLOPs/token at peak"]
    ) / (by_prompt[-1]["prompt"] - by_prompt[0]["prompt"])
    attention = 4 * shape["layers"] * shape["hidden"]
    told = {
        "prefix token FLOPs": slope,
        "attention's own FLOPs": attention,
        "times attention's own": slope / attention,
    }
    print(told)
    save("growth", vars(args) | told, rows)


if __name__ == "__main__":
    main()
