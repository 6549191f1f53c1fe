"""Harms a run, an evaluation, servers and graders at random, and counts what came of it.

    python benchmarks/reliability/torture.py [--minutes 20] [--seed 0] [--write docs/reliability.md]

A try survives where the work ends as an undisturbed one, or the harm is told in one of our errors
and what was written before is still there. It is lost where neither holds, and silently wrong
where a harmed file passes for a whole one. Servers are on loopback. Exit code 1 where anything was
lost or silently wrong.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import BenchmarkConfig, RewardConfig
from oneshot_rlvr.errors import GraderError, OneshotError, RunError
from oneshot_rlvr.evaluation import Benchmark
from oneshot_rlvr.evaluation.endpoint import Endpoint
from oneshot_rlvr.evaluation.served import evaluate_served
from oneshot_rlvr.records import RunWriter
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rewards.pool import Pool
from oneshot_rlvr.running.examine import examine
from oneshot_rlvr.types import Example

SURVIVED, LOST, WRONG = "survived", "lost", "silently wrong"
START = "import sys; from oneshot_rlvr.cli import main; sys.exit(main(sys.argv[1:]))"
EVALUATE = [
    sys.executable, "-c", START, "evaluate", "tiny", "--benchmarks", "arithmetic",
    "--questions", "60", "--samples-out",
]  # fmt: skip


def harm(path: Path, draw: random.Random) -> None:
    """One bit, or a cut."""
    data = bytearray(path.read_bytes())
    if draw.random() < 0.5 and len(data) > 1:
        data = data[: draw.randrange(len(data))]
    else:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def files_of(run: Path) -> list[Path]:
    """What a run holds, but its lock and page."""
    every = sorted(path for path in run.rglob("*") if path.is_file() and path.stat().st_size)
    return [p for p in every if p.name not in ("run.lock", "report.html", "README.md")]


def damaged_file(run: Path, folder: Path, draw: random.Random) -> str:
    """A finished run with one harmed file: `doctor` must say so."""
    out = folder / "damaged"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(run, out)
    path = draw.choice(files_of(out))
    before = path.read_bytes()
    harm(path, draw)
    if path.read_bytes() == before:
        return SURVIVED
    try:
        told = examine(out).damage
    except OneshotError:
        return SURVIVED
    if told or same_values(path, before):
        return SURVIVED
    print(f"not noticed: {path.relative_to(out)}", file=sys.stderr)
    return WRONG


def same_values(path: Path, before: bytes) -> bool:
    """Whether a JSON file says what it said: a blank for another blank harms nothing."""
    if path.suffix != ".json":
        return False
    try:
        return bool(json.loads(path.read_bytes()) == json.loads(before))
    except ValueError:
        return False


def killed(command: list[str], out: Path, draw: random.Random, seconds: float) -> str:
    """SIGKILL after a random time; whatever is left is for `whole` to judge."""
    process = subprocess.Popen(
        command, cwd=out.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(draw.random() * seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return SURVIVED


def killed_evaluation(straight: Path, folder: Path, draw: random.Random, seconds: float) -> str:
    """Killed once or twice, then let end: the answers of an undisturbed one."""
    out = folder / "evaluated"
    shutil.rmtree(out, ignore_errors=True)
    killed([*EVALUATE, str(out)], out, draw, seconds)
    done = subprocess.run([*EVALUATE, str(out)], capture_output=True, timeout=300, check=False)
    if done.returncode:
        return LOST
    return SURVIVED if answers(out) == answers(straight) else WRONG


def answers(folder: Path) -> list[tuple[Any, ...]]:
    """(question, sample, text, correct) of the stored answers."""
    from oneshot_rlvr.evaluation.store import read_samples

    rows = [row for path in sorted(folder.glob("*.parquet")) for row in read_samples(path)]
    return sorted((r["example_id"], r["sample"], r["text"], r["correct"]) for r in rows)


EXAMPLES = [Example(f"e{i}", f"What is {i}?", str(i), "numeric") for i in range(30)]


@contextmanager
def server(draw: random.Random, dies_after: int) -> Iterator[str]:
    """Answers rightly, lies about tokens, sends garbage, cuts off; and dies."""
    asked, lock = Counter[str](), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                asked["all"] += 1
                dead, way = asked["all"] > dies_after, draw.random()
            number = body["messages"][-1]["content"].split()[2].rstrip("?")
            tokens = draw.choice([3, -5, 10**12, None, "x"])
            reply = {
                "choices": [{"message": {"content": f"\\boxed{{{number}}}"}}],
                "usage": {"completion_tokens": tokens},
            }
            data = json.dumps(reply).encode()
            if way < 0.1:
                data = data[: len(data) // 2]
            status = 503 if dead or way > 0.9 else 200
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join(60)


def bad_server(folder: Path, draw: random.Random) -> str:
    """A server that dies, lies and babbles; then a good one. Every question is right in the end."""
    journal = folder / "served" / "j.jsonl"
    shutil.rmtree(journal.parent, ignore_errors=True)
    config = BenchmarkConfig(benchmark="file", samples=1, temperature=0.0, seed=1)
    result = None
    for dies_after in (draw.randrange(60), 10**9, 10**9):
        with server(draw, dies_after) as url, Scorer(RewardConfig(workers=0), seed=0) as scorer:
            endpoint = Endpoint(
                url, "m", concurrency=4, retries=2, timeout_seconds=10, first_pause_seconds=0.001
            )
            try:
                result = evaluate_served(
                    endpoint, scorer, Benchmark("b", EXAMPLES), config,
                    max_new_tokens=9, journal=journal,
                )  # fmt: skip
            except OneshotError:
                continue
    if result is None:
        return LOST
    right = result.summary["overall"]["accuracy"]["value"] == 1.0
    counted = all(s["tokens"] in (3, None) for s in result.samples)
    whole = len(result.samples) + sum(result.failures.values()) == len(EXAMPLES)
    return SURVIVED if right and counted and whole else WRONG


GRADER = """
import os, random, time
def grade(text, example):
    way = text.split()[1]
    if way == "exit":
        raise SystemExit(1)
    if way == "leave":
        os._exit(0)
    if way == "fork" and os.fork() == 0:
        return not text.startswith("right")
    return text.startswith("right")
"""


def bad_grader(folder: Path, draw: random.Random) -> str:
    """A verifier that forks gives every text its own verdict; one that exits is a broken grader."""
    (folder / "tortured_grader.py").write_text(GRADER)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    example = Example("x", "q", "g", "custom", extra={"function": "tortured_grader:grade"})
    way = draw.choice(["fork", "exit", "leave"])
    texts = [f"{draw.choice(['right', 'wrong'])} {way} {n}" for n in range(8)]
    pool = Pool(1, timeout_seconds=60.0)
    try:
        verdicts = pool.run([(text, example) for text in texts])
    except GraderError:
        return SURVIVED if way != "fork" else LOST
    finally:
        pool.close()
    if way != "fork":
        return WRONG
    same = [v.correct for v in verdicts] == [t.startswith("right") for t in texts]
    return SURVIVED if same else WRONG


def two_writers(run: Path, folder: Path, draw: random.Random) -> str:
    """The second is refused while the first holds the run."""
    out = folder / "shared"
    if not out.exists():
        shutil.copytree(run, out)
    with RunWriter.claim(out):
        try:
            RunWriter.claim(out)
        except RunError:
            return SURVIVED
    return WRONG


def main() -> int:
    """Tries until the time is over; the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", metavar="FILE")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    os.environ["OMP_NUM_THREADS"] = "1"
    counted: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, straight = folder / "run", folder / "straight"
        make_run(run)
        began = time.monotonic()
        subprocess.run([*EVALUATE, str(straight)], check=True, capture_output=True, timeout=300)
        seconds = time.monotonic() - began
        kinds: list[tuple[str, int, Callable[[], str]]] = [
            ("one bit or a cut in a file of a run", 40, lambda: damaged_file(run, folder, draw)),
            ("server that dies, lies and babbles", 4, lambda: bad_server(folder, draw)),
            ("verifier that forks or exits", 2, lambda: bad_grader(folder, draw)),
            ("second writer of a run", 2, lambda: two_writers(run, folder, draw)),
            ("evaluation killed and started again", 1,
             lambda: killed_evaluation(straight, folder, draw, seconds)),
        ]  # fmt: skip
        ends = time.monotonic() + 60 * args.minutes
        while time.monotonic() < ends:
            for what, times, attempt in kinds:
                for _ in range(times):
                    if time.monotonic() > ends:
                        break
                    try:
                        outcome = attempt()
                    except Exception as error:  # what is none of ours was not survived
                        print(f"{what}: {type(error).__name__}: {error}", file=sys.stderr)
                        outcome = LOST
                    counted.setdefault(what, Counter())[outcome] += 1
    text = table(counted)
    print(text)
    if args.write:
        write(Path(args.write), text, args.minutes, args.seed)
    return int(any(c[LOST] or c[WRONG] for c in counted.values()))


def make_run(out: Path) -> None:
    """A small finished run with every kind of file."""
    import oneshot_rlvr

    overrides = {
        "train.steps": 4,
        "train.save_every": 2,
        "train.threads": 1,
        "rollouts.group_size": 8,
        "evaluation.validation.questions": 1,
        "evaluation.test.questions": 1,
    }
    oneshot_rlvr.train("tiny_one_shot", overrides=overrides, out=out)


def table(counted: dict[str, Counter[str]]) -> str:
    """Markdown."""
    lines = ["| what | tries | survived | lost | silently wrong |", "|---|---|---|---|---|"]
    rows = [*counted.items(), ("all", sum(counted.values(), Counter()))]
    for what, c in rows:
        lines.append(f"| {what} | {c.total()} | {c[SURVIVED]} | {c[LOST]} | {c[WRONG]} |")
    return "\n".join(lines)


def write(path: Path, text: str, minutes: float, seed: int) -> None:
    """docs/reliability.md."""
    from oneshot_rlvr import __version__

    cores = os.cpu_count()
    path.write_text(
        "# Reliability\n\n"
        "Written by `make torture`: random harm to a small run, an evaluation, servers on loopback "
        "and graders. A try survives where the work ends as an undisturbed one, or the harm is "
        "told in one error and what was written before is still there.\n\n"
        f"{text}\n\n"
        f"Measured {datetime.date.today()}, {minutes:g} minutes, seed {seed}, oneshot-rlvr "
        f"{__version__}, Python {platform.python_version()}, {platform.machine()}, {cores} cores.\n"
        "\nKills of training at any line are in `tests/backends/test_kill.py`, resumes after "
        "damage in `tests/backends/test_damage.py`, full disks in `tests/backends/test_resume.py`. "
        "Not among these tries: kills of select, study, export and report, and caches of "
        "compiled code.\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
