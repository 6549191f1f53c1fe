"""What the records' guard costs: of a step, of `doctor`, of a report.

    python benchmarks/reliability/cost.py [--steps 6] [--repeats 200] [--folder runs/scale]

A short training of the packaged recipe gives the records of real steps and their seconds. Each
step's records are then written again and again, with and without manifest, checksums and looks at
the lock (and, told apart, without fsync too), in turns that alternate: the differences, over a
step's seconds, are the cost. Then a generated run of a million rollouts is looked over by
`oneshot doctor` and reported, each in a process of its own. Writes
benchmarks/results/reliability_cost.json, which docs/reliability.md shows. Targets: 1 % of a step;
20 s and 500 MB for `doctor`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
RESULT = ROOT / "benchmarks" / "results" / "reliability_cost.json"
STEPS_OF_A_MILLION = 1_000  # of 1,024 rollouts

Written = list[tuple[str, tuple[Any, ...]]]


def recorded(steps: int, folder: Path) -> tuple[list[Written], list[float]]:
    """What a training wrote for each step, and the seconds of each."""
    import oneshot_rlvr
    from oneshot_rlvr.records import Run, RunWriter

    calls: dict[int, Written] = {}
    with replaced(RunWriter, {}) as put:
        for name in ("rollouts", "metrics", "timings"):
            put(name, _noting(name, getattr(RunWriter, name), calls))
        overrides = {"train.steps": steps, "train.save_every": steps, "evaluation.test": None}
        overrides |= {"evaluation.validation": None, "train.checkpoint_rule": "final"}
        oneshot_rlvr.train("tiny_one_shot", overrides=overrides, out=folder / "run")
    seconds = Run(folder / "run").timings()["step_seconds"].tolist()
    return [calls[step] for step in sorted(calls)], seconds


def _noting(
    name: str, write: Callable[..., None], calls: dict[int, Written]
) -> Callable[..., None]:
    def noting(self: Any, step: int, *told: Any) -> None:
        calls.setdefault(step, []).append((name, told))
        write(self, step, *told)

    return noting


@contextmanager
def replaced(target: Any, values: dict[str, Any]) -> Iterator[Callable[[str, Any], None]]:
    """Attributes replaced for a while."""
    before: dict[str, Any] = {}

    def put(name: str, value: Any) -> None:
        before.setdefault(name, getattr(target, name))
        setattr(target, name, value)

    try:
        for name, value in values.items():
            put(name, value)
        yield put
    finally:
        for name, value in before.items():
            setattr(target, name, value)


def of_a_step(written: list[Written], seconds: list[float], repeats: int) -> dict[str, Any]:
    """CPU and wall milliseconds of a step's records in each way, and shares of a step."""
    from oneshot_rlvr.records import files, manifest

    nothing = {"add": lambda *given, **told: None}
    ways: dict[str, list[tuple[Any, dict[str, Any]]]] = {
        "guarded": [],
        "without the guard": [(manifest, nothing), (files.Lock, {"check": lambda self: None})],
        "without fsync too": [
            (manifest, nothing),
            (files.Lock, {"check": lambda self: None}),
            (files.os, {"fsync": lambda handle: None}),
        ],
    }
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for repeat in range(repeats + 1):
        for way, patches in ways.items():
            one = _written(written[repeat % len(written)], patches)
            if repeat:
                taken[way].append(one)
    step = statistics.median(seconds)
    told: dict[str, Any] = {"step_seconds": step, "rollouts": len(written[0][0][1][0])}
    for way, times in taken.items():
        told[way] = {
            "cpu_ms": 1e3 * statistics.median(t[0] for t in times),
            "wall_ms": 1e3 * statistics.median(t[1] for t in times),
        }
    for name, way in (("guard", "without the guard"), ("guard and fsync", "without fsync too")):
        for kind in ("cpu_ms", "wall_ms"):
            more = told["guarded"][kind] - told[way][kind]
            told.setdefault(f"{name}, % of a step", {})[kind[:-3]] = more / step / 10
    return told


def _written(calls: Written, patches: list[tuple[Any, dict[str, Any]]]) -> tuple[float, float]:
    """(CPU, wall) seconds of writing one step."""
    from oneshot_rlvr.records import RunWriter

    with (
        tempfile.TemporaryDirectory() as name,
        RunWriter.create(Path(name) / "run", {}) as writer,
        ExitStack() as stack,
    ):
        for target, values in patches:
            stack.enter_context(replaced(target, values))
        cpu, wall = time.process_time(), time.perf_counter()
        for what, told in calls:
            getattr(writer, what)(1, *told)
        return time.process_time() - cpu, time.perf_counter() - wall


def of_a_million(folder: Path) -> dict[str, Any]:
    """Seconds and peak megabytes of `doctor` and `report` on a generated run."""
    from selection_and_analysis import PEAK, ROLLOUTS, make_run

    run = folder / "million"
    if not (folder / "made").exists():
        make_run(run, STEPS_OF_A_MILLION)
        (folder / "made").touch()
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    told: dict[str, Any] = {
        "rollouts": STEPS_OF_A_MILLION * ROLLOUTS,
        "megabytes": round(size / 2**20),
    }
    for verb in ("doctor", "report"):
        code = (
            "import sys; from oneshot_rlvr.cli import main; code = main(sys.argv[1:]); "
            f"print({PEAK}, file=sys.stderr); sys.exit(code)"
        )
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, verb, str(run)], capture_output=True, text=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        told[verb] = {
            "seconds": round(time.perf_counter() - began, 2),
            "cpu_seconds": round(
                after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2
            ),
            "peak_megabytes": round(int(done.stderr.split()[-1]) / 1024),
        }
    return told


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("runs/scale"), help="generated run")
    args = parser.parse_args()
    from oneshot_rlvr import __version__

    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        written, seconds = recorded(args.steps, Path(name))
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, oneshot-rlvr {__version__}",
        "step": of_a_step(written, seconds, args.repeats),
        "million": of_a_million(args.folder),
    }
    text = json.dumps(results, indent=1)
    print(text)
    RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
