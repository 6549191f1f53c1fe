"""Runs per hour of a study on one core and on two, and the shortest study: docs/performance.md.

    python benchmarks/speed/study.py

On an idle machine. Four runs of one arm and four seeds, one at a time on one thread and two at
once, alternating; then a study of one arm and one seed with compiled kernels, all of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import tomli_w

from oneshot_rlvr.verbs.study import study

RESULTS = Path(__file__).parent / "results" / "study.json"
ONE = {
    "name": "one",
    "base": "tiny_one_shot",
    "seeds": [0],
    "intervals": "questions",
    "benchmarks": {"test": {"benchmark": "tiny", "questions": 10, "samples": 4,
                            "temperature": 0.6, "seed": 20261122}},
    "arms": {"outcome": {}},
    "claims": [{"name": "it helps", "arm": "outcome", "against": "base"}],
}  # fmt: skip


def seconds_of(tables: dict, folder: Path, slots: int | None) -> float:
    """Seconds of a whole study in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / "study.toml"
    file.write_text(tomli_w.dumps(tables))
    began = time.monotonic()
    found = study(file, out=folder / "out", runs=folder / "arms", slots=slots)
    if found.failures:
        raise SystemExit(str(found.failures))
    return time.monotonic() - began


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    four = {**ONE, "name": "four", "seeds": [0, 1, 2, 3], "intervals": "seeds and questions",
            "set": {"train.steps": args.steps}}  # fmt: skip
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "study"
        seconds_of(ONE, folder, None)  # compiles
        alone = min(seconds_of(ONE, folder, None) for _ in range(args.turns))
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(args.turns):
            for slots, found in times.items():
                found.append(seconds_of(four, folder, slots))
    hour = {slots: 4 * 3600 / min(found) for slots, found in times.items()}
    told = {"one_arm_one_seed_seconds": alone, "runs_per_hour": hour, "ratio": hour[2] / hour[1]}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
