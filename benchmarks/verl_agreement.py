"""Does verl train what the local backend trains? Two answers on the embedded model, in float32.

    python benchmarks/verl_agreement.py terms      minutes: one run of two steps on verl; each is
                                                   done again here on verl's rollouts and weights
    python benchmarks/verl_agreement.py curves     30 steps, three seeds on each backend; the
                                                   rewards of the last ten
    --engine hf|vllm                               what verl samples with
    --runs DIR                                     where the six runs lie; finished ones are reused
    --only verl-0, --minutes 5                     one of them, and stopped (to be continued) then

Needs `make peers`. Prints a table and writes benchmarks/results/verl_agreement_{terms,curves}.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
from pathlib import Path
from statistics import fmean
from typing import Any

import oneshot_rlvr
from oneshot_rlvr.backends.verl.agreement import differences
from oneshot_rlvr.records import Run
from oneshot_rlvr.train.stopping import Stopping

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
STEPS = 30
LAST = 10
BOUND = 1e-4
COMMON = {
    "model.device": "cpu",
    "model.dtype": "float32",
    "rollouts.max_prompt_tokens": 64,
    "rollouts.max_new_tokens": 96,
    "evaluation.validation": None,
    "evaluation.test": None,
}


def terms(engine: str) -> dict[str, Any]:
    """Differences of loss, its terms and advantages in two steps."""
    os.environ["ONESHOT_VERL_DETAIL"] = "1"
    settings = {"train.steps": 2, "train.save_every": 1, "rollouts.prompts_per_step": 4}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        train("verl", engine, {**settings, "rollouts.group_size": 4}, out)
        found = {step: differences(out, step) for step in (1, 2)}
        values = Run(out).metrics().set_index("step")
    print(f"| quantity | step 1, verl | difference | step 2, verl | difference |\n|{'---|' * 5}")
    for name in found[1]:
        cells = []
        for step in (1, 2):
            value = f"{values.loc[step, name]:.6f}" if name in values else "largest of all tokens"
            cells += [value, f"{found[step][name]:.1e}"]
        print(f"| {name} | {' | '.join(cells)} |")
    worst = max(max(step.values()) for step in found.values())
    print(f"\nlargest difference {worst:.1e}, bound {BOUND:.0e}")
    return {"engine": engine, "differences": found, "largest": worst, "within": worst < BOUND}


def curves(engine: str, runs: Path, only: str | None, minutes: float | None) -> dict[str, Any]:
    """Mean training reward of the last steps, per backend and seed, and whether ranges overlap.

    Runs that are finished in `runs` are taken as they are; {} while some are not.
    """
    settings = {
        "train.steps": STEPS,
        "train.save_every": 5,
        "train.keep_checkpoints": 1,
        "train.threads": 1,
        "rollouts.prompts_per_step": 16,
    }
    rewards: dict[str, list[float]] = {"local": [], "verl": []}
    steps: dict[str, list[list[float]]] = {"local": [], "verl": []}
    missing = []
    for seed in SEEDS:
        for backend in rewards:
            name = f"{backend}-{seed}"
            out = runs / name
            if only in (None, name):
                train(backend, engine, {**settings, "train.seed": seed}, out, minutes)
            if not (out / "run.json").exists() or Run(out).status != "finished":
                missing.append(name)
                continue
            reward = Run(out).metrics()["train/reward"]
            steps[backend].append([round(value, 4) for value in reward])
            rewards[backend].append(fmean(reward.tail(LAST)))
            print(f"{name}: {rewards[backend][-1]:.3f}")
    if missing:
        print(f"not finished yet: {', '.join(missing)}")
        return {}
    ranges = {name: (min(values), max(values)) for name, values in rewards.items()}
    (low, high), other = ranges["local"], ranges["verl"]
    means = {name: fmean(values) for name, values in rewards.items()}
    within = low <= means["verl"] <= high and other[0] <= means["local"] <= other[1]
    print(
        f"means {means}, ranges {ranges}: each mean {'' if within else 'not '}in the other's range"
    )
    return {
        "engine": engine,
        "rewards": rewards,
        "means": means,
        "within": within,
        "reward_by_step": steps,
    }


def train(
    backend: str,
    engine: str,
    settings: dict[str, Any],
    out: Path,
    minutes: float | None = None,
) -> None:
    """One run of the embedded recipe, continued where it stopped; stopped after `minutes`."""
    own = {"backend.name": backend, "rollouts.engine": engine if backend == "verl" else "auto"}
    stopping = Stopping()
    if minutes is not None:
        timer = threading.Timer(60 * minutes, stopping.ask)
        timer.daemon = True
        timer.start()
    overrides = {**COMMON, **settings, **own}
    oneshot_rlvr.train(
        "tiny_one_shot", overrides=overrides, out=out, resume=True, stopping=stopping
    )


def main() -> None:
    """Runs one of the two and keeps its numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["terms", "curves"])
    parser.add_argument("--engine", choices=["hf", "vllm"], default="hf")
    parser.add_argument("--runs", type=Path, default=Path("runs/verl_agreement"))
    parser.add_argument("--only", metavar="BACKEND-SEED")
    parser.add_argument("--minutes", type=float)
    args = parser.parse_args()
    if args.what == "terms":
        result = terms(args.engine)
    else:
        result = curves(args.engine, args.runs, args.only, args.minutes)
    if not result:
        return
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"verl_agreement_{args.what}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
