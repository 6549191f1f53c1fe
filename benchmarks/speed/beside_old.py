"""This checkout beside an older one: the same work in turns, the ratio new / old of each case.

    python benchmarks/speed/beside_old.py OLD_CHECKOUT [--turns 5] [--cases sampling-0.8M-full ...]

Every measurement is a process of its own with PYTHONPATH at one of the two checkouts, old and new
in turns, each first as often as the other. A process warms up with one call and reports the fastest
of some more, with the process's CPU seconds beside. Each side keeps its compiled loops in a folder
of its own. A ratio below 1 means faster. Run it on an idle machine; with `--limit 1.03` it ends
with 1 where the median of a case's ratios is above that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

SAMPLING = [f"sampling-{size}-{kind}" for size in ("0.8M", "3.2M") for kind in ("full", "natural")]
STEPS = [f"{part}-{shape}" for shape in ("50x128", "300x64") for part in ("update", "step")]
CASES = [*SAMPLING, *STEPS]
MEAN = 40  # tokens of natural lengths
HERE = Path(__file__).resolve().parents[2]


def main() -> int:
    """Prints a table; see above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", nargs="?", type=Path, help="another checkout of this repository")
    parser.add_argument("--new", type=Path, default=HERE)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rollouts", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES, metavar="CASE")
    parser.add_argument("--limit", type=float)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return 0
    if args.old is None:
        parser.error("name the other checkout")
    sides = {"old": args.old.resolve(), "new": args.new.resolve()}
    slow = []
    with tempfile.TemporaryDirectory() as cache:
        for cases in _groups(args.cases):
            for name, checkout in sides.items():
                _run(checkout, f"{cache}/{name}", args, cases)  # compiles
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
            for turn in range(args.turns):
                for name in list(sides) if turn % 2 == 0 else list(sides)[::-1]:
                    taken[name].append(_run(sides[name], f"{cache}/{name}", args, cases))
            slow += [case for case in cases if _row(case, taken) > (args.limit or float("inf"))]
    if slow:
        print(f"above {args.limit}: {', '.join(slow)}")
    return int(bool(slow))


def _groups(cases: list[str]) -> list[list[str]]:
    """Cases that one process measures together: a step and its update, else one alone."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        key = case if case.startswith("sampling") else case.split("-")[1]
        groups.setdefault(key, []).append(case)
    return list(groups.values())


def _row(case: str, taken: dict[str, list[dict[str, float]]]) -> float:
    """Prints a case's ratios as soon as they are there; the median of those of wall time."""
    cells, medians = [], []
    for key in (case, f"{case} cpu"):
        pairs = zip(taken["new"], taken["old"], strict=True)
        ratios = [new[key] / old[key] for new, old in pairs]
        medians.append(median(ratios))
        cells.append(f"{medians[-1]:.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    seconds = median(new[case] for new in taken["new"])
    print(f"{case:24} new/old {cells[0]}, CPU {cells[1]}; new {seconds:.3f} s", flush=True)
    return medians[0]


def _run(
    checkout: Path, cache: str, args: argparse.Namespace, cases: list[str]
) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--measure"]
    for name in ("repeats", "rollouts", "threads"):
        command += [f"--{name}", str(getattr(args, name))]
    env = os.environ | {
        "PYTHONPATH": str(checkout / "src"),
        "NUMBA_CACHE_DIR": cache,
        "OMP_NUM_THREADS": str(args.threads),
    }
    done = subprocess.run(
        [*command, "--cases", *cases], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of the cases in this process; imports what PYTHONPATH names."""
    import dataclasses
    import time

    import torch

    from oneshot_rlvr.config import Recipe
    from oneshot_rlvr.policy import keep_freed_pages
    from oneshot_rlvr.policy.random_model import random_policy
    from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
    from oneshot_rlvr.train.step import TrainStep
    from oneshot_rlvr.types import Example, Graded, Prompt, Reason, Verdict

    keep_freed_pages()
    torch.set_num_threads(args.threads)
    shapes = {
        "0.8M": {"hidden": 128, "intermediate": 384},
        "3.2M": {"hidden": 256, "intermediate": 768},
    }

    def model(size: str, natural: bool = False):  # type: ignore[no-untyped-def]
        policy = random_policy(
            "qwen2", vocabulary=544, layers=4, heads=4, kv_heads=2, scale=0.02,
            tie_word_embeddings=True, **shapes[size],
        )  # fmt: skip
        if not natural:
            return dataclasses.replace(policy, eos_ids=(10**9,))
        head = policy.model.lm_head
        bias = torch.zeros(head.weight.shape[0])
        bias[policy.eos_ids[0]] = torch.tensor(len(bias) / MEAN).log()
        head.bias = torch.nn.Parameter(bias)
        return policy

    def fastest(found: dict[str, float], calls: dict[str, list[tuple[float, float]]]) -> None:
        for case, taken in calls.items():
            if case in args.cases:
                found[case] = min(wall for wall, _ in taken[1:])
                found[f"{case} cpu"] = min(cpu for _, cpu in taken[1:])

    def clocks() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    found: dict[str, float] = {}
    for case in (c for c in SAMPLING if c in args.cases):
        _, size, kind = case.split("-")
        engine = make_engine("shared_prefix", model(size, kind == "natural"))
        asked = [Prompt(0, Example("0", "", ""), tuple(range(50)))]
        taken = []
        for _ in range(args.repeats + 1):
            began = clocks()
            engine.generate(asked, args.rollouts, Sampling(1.0, 128), StreamKey(0, "beside", 1))
            taken.append(tuple(b - a for a, b in zip(began, clocks(), strict=True)))
        fastest(found, {case: taken})
    for shape in ("50x128", "300x64"):
        if not {f"update-{shape}", f"step-{shape}"} & set(args.cases):
            continue
        prompt, tokens = map(int, shape.split("x"))
        policy = model("3.2M")
        recipe = {
            "rollouts": {
                "prompts_per_step": 1, "group_size": args.rollouts, "temperature": 1.0,
                "max_new_tokens": tokens,
            },
            "algorithm": {"kl_coefficient": 0.0, "entropy_coefficient": 0.0},
            "train": {"micro_batch_tokens": 16896},
        }  # fmt: skip
        engine, trainer = (
            make_engine("shared_prefix", policy),
            TrainStep(policy, Recipe.model_validate(recipe)),
        )
        asked = [Prompt(0, Example("0", "", ""), tuple(i % 256 for i in range(prompt)))]
        calls: dict[str, list[tuple[float, float]]] = {f"update-{shape}": [], f"step-{shape}": []}
        for _ in range(args.repeats + 1):
            began = clocks()
            rollouts = engine.generate(
                asked, args.rollouts, Sampling(1.0, tokens), StreamKey(0, "beside", 1)
            )
            sampled = clocks()
            graded = [
                Graded(
                    r, Verdict(right, Reason.CORRECT if right else Reason.MISMATCH), float(right)
                )
                for r in rollouts
                for right in [r.index % 2 == 0]
            ]
            trainer.update(graded)
            ended = clocks()
            calls[f"update-{shape}"].append((ended[0] - sampled[0], ended[1] - sampled[1]))
            calls[f"step-{shape}"].append((ended[0] - began[0], ended[1] - began[1]))
        fastest(found, calls)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
