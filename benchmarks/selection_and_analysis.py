"""Selection and analysis at scale: 100,000 examples x 60 visits, and a run of 2 million rollouts.

    python benchmarks/selection_and_analysis.py [--folder DIR] [--out FILE.json]

Makes its own inputs (the run once; a folder that holds it is reused), then times each task in a
process of its own that may use 2 cores, and tells that process's peak memory. The run has the
records' layout and the lengths of real answers: 2,000 parts of 1,024 rollouts, answers of about
230 tokens. Targets: ranking in 2 s, analysis in 60 s and 1 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from oneshot_rlvr.records import RunWriter, manifest, schema, summarise

EXAMPLES, VISITS = 100_000, 60
STEPS, ROLLOUTS, ANSWERS, TOKENS = 2_000, 1_024, 4_096, 230
CORES = 2
SCORES = ("variance", "limr", "pass_rate", "gain", "random")

RANK = """
import json, sys, time
from oneshot_rlvr.selection import rank, read_history
times = {}
def lap(name, began): times[name] = time.perf_counter() - began
began = time.perf_counter(); history = read_history(sys.argv[1]); lap("read", began)
for name in sys.argv[2].split(","):
    began = time.perf_counter(); rank(history, name).to_table(); lap(name, began)
print(json.dumps(times))
"""

ANALYSE = """
import json, sys, time
from oneshot_rlvr.analysis import analyse
began = time.perf_counter()
found = analyse([sys.argv[1]])
row = found.tables["saturation"].iloc[0]
print(json.dumps({
    "analyse": time.perf_counter() - began,
    "rollouts": int(found.tables["reflection"].groupby("steps")["answers"].first().sum()),
    "saturation_step": int(row["saturation_step"]),
    "gibberish_step": int(row["gibberish_step"]),
}))
"""


def make_history(path: Path) -> None:
    """The table (example, visit, accuracy) with 6 million rows, in eighths."""
    accuracy = np.random.default_rng(0).integers(0, 9, (EXAMPLES, VISITS)) / 8
    table = {
        "example": np.repeat(np.arange(EXAMPLES), VISITS).astype(str),
        "visit": np.tile(np.arange(VISITS, dtype=np.int32), EXAMPLES),
        "accuracy": accuracy.ravel(),
    }
    pq.write_table(pa.table(table), path, compression="zstd")


def make_run(directory: Path, steps: int = STEPS) -> None:
    """A run that saturates at step 100 and turns to gibberish at 1,400."""
    generator = np.random.default_rng(0)
    letters = np.array(
        ["".join(generator.choice(list("aeioulnrst"), 6)) for _ in range(3_000)], dtype=str
    )
    plain = [_answer(generator, letters[:1_000]) for _ in range(ANSWERS)]
    broken = [_answer(generator, letters[1_000:]) for _ in range(256)]
    texts = pa.array(plain + broken)
    lists = _lists(generator, len(texts))
    info = {"examples": [{"id": "x", "question": "The wind?", "domain": "algebra"}]}
    with RunWriter.create(directory, info) as writer:
        (directory / schema.ROLLOUTS).mkdir()
        for step in range(1, steps + 1):
            share = min(1.0, step / 100)
            correct = generator.random(ROLLOUTS) < (1.0 if step >= 100 else share)
            rows = generator.integers(0, ANSWERS, ROLLOUTS)
            if step >= 1_400:
                rows[:: ROLLOUTS // 128] = generator.integers(ANSWERS, len(texts), 128)
            _write_part(directory, step, texts.take(rows), lists, rows, correct)
            writer.metrics(step, _metrics(step, float(correct.mean())))
            writer.timings(step, {"step_seconds": 30.0})
            if step % 100 == 0:
                samples = _samples(generator, 0.4 + 0.3 * min(1.0, step / 1_500))
                summary = summarise(samples, benchmark="b", temperature=0.6, seed=0)
                writer.evaluation("validation", step, samples, summary)
        writer.finish({"step": steps})


def _answer(generator: np.random.Generator, words: np.ndarray) -> str:
    said = generator.choice(words, 100).tolist()
    for word, chance in (("Wait,", 0.05), ("recheck", 0.04), ("12.8 = 3 * 4 + 0.8", 1.0)):
        if generator.random() < chance:
            said.insert(int(generator.integers(0, 100)), word)
    return " ".join(said) + " \\boxed{12.8}"


def _lists(generator: np.random.Generator, count: int) -> dict[str, pa.Array]:
    """Tokens and log-probabilities of every answer, and a prompt. The analysis reads none of it."""
    offsets = np.arange(count + 1, dtype=np.int32) * TOKENS
    tokens = generator.integers(0, 32_000, count * TOKENS).astype(np.int32)
    logprobs = -generator.integers(0, 100, count * TOKENS).astype(np.float32) / 100
    return {
        "tokens": pa.ListArray.from_arrays(offsets, tokens),
        "logprobs": pa.ListArray.from_arrays(offsets, logprobs),
    }


def _write_part(
    directory: Path,
    step: int,
    texts: pa.Array,
    lists: dict[str, pa.Array],
    rows: np.ndarray,
    correct: np.ndarray,
) -> None:
    columns = {
        "step": np.full(ROLLOUTS, step),
        "row": np.arange(ROLLOUTS) // 8,
        "index": np.arange(ROLLOUTS) % 8,
        "example_id": ["x"] * ROLLOUTS,
        "prompt_tokens": [list(range(120))] * ROLLOUTS,
        "tokens": lists["tokens"].take(rows),
        "logprobs": lists["logprobs"].take(rows),
        "text": texts,
        "finished": np.ones(ROLLOUTS, dtype=bool),
        "correct": correct,
        "reason": np.where(correct, "correct", "mismatch"),
        "extracted": np.where(correct, "12.8", "13"),
        "score": correct.astype(float),
        "reward": correct.astype(float),
        "advantage": correct - correct.mean(),
    }
    arrays = [pa.array(columns[f.name], f.type) for f in schema.ROLLOUT_COLUMNS]
    table = pa.Table.from_arrays(arrays, schema=schema.ROLLOUT_COLUMNS)
    path = schema.rollout_part(directory, step)
    pq.write_table(table, path, compression="zstd")
    manifest.add_file(directory, step, path.relative_to(directory).as_posix())


def _metrics(step: int, accuracy: float) -> dict[str, float]:
    return {
        "train/accuracy": accuracy,
        "train/entropy_nats": 0.3 + 1 / step,
        "train/tokens": float(ROLLOUTS * TOKENS),
        "train/tokens_mean": float(TOKENS),
    }


def _samples(generator: np.random.Generator, share: float) -> list[dict[str, Any]]:
    skills = np.clip(share + 0.3 * np.random.default_rng(1).standard_normal(500), 0, 1)
    return [
        {
            "example_id": f"q{q}", "group": "", "domain": "algebra", "family": "f",
            "question": "?", "answer": "1", "sample": 0, "text": "1", "tokens": 3,
            "finished": True, "correct": bool(generator.random() < skill), "reason": "correct",
            "extracted": "1", "boxed": True,
        }
        for q, skill in enumerate(skills)
    ]  # fmt: skip


PEAK = "next(int(line.split()[1]) for line in open('/proc/self/status') if line[:6] == 'VmHWM:')"
"""KiB, of a process's own memory; getrusage's figure begins with that of the starting process."""


def measure(code: str, *arguments: str) -> dict[str, Any]:
    """What the code printed (JSON), with the wall seconds and peak memory of its process."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint({PEAK})", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    seconds = time.perf_counter() - began
    told, peak = done.stdout.splitlines()
    return {
        **json.loads(told),
        "process_seconds": round(seconds, 2),
        "peak_megabytes": round(int(peak) / 1024),
        "cores": len(cores),
    }


def main() -> None:
    """Make what is not there, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/scale"), help="inputs")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--make-only", action="store_true")
    args = parser.parse_args()
    history, run = args.folder / "history.parquet", args.folder / "run"
    args.folder.mkdir(parents=True, exist_ok=True)
    if not history.exists():
        make_history(history)
    if not (run / "made").exists():
        make_run(run)
        (run / "made").touch()
    if args.make_only:
        return
    size = sum(path.stat().st_size for path in run.rglob("*.parquet"))
    results = {
        "ranking": {
            "examples": EXAMPLES, "visits": VISITS, **measure(RANK, str(history), ",".join(SCORES)),
        },
        "analysis": {
            "steps": STEPS, "run_megabytes": round(size / 2**20), **measure(ANALYSE, str(run)),
        },
    }  # fmt: skip
    text = json.dumps(results, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
