"""Servers that die, lie, are slow or send elsewhere; verifiers that fork, exit and worse."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from common import LOST, SURVIVED, WRONG, NotSurvived, fresh

from oneshot_rlvr.config import BenchmarkConfig, RewardConfig
from oneshot_rlvr.errors import GraderError, OneshotError
from oneshot_rlvr.evaluation import Benchmark
from oneshot_rlvr.evaluation.endpoint import Endpoint
from oneshot_rlvr.evaluation.served import evaluate_served
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rewards.pool import Pool
from oneshot_rlvr.types import Example

PATIENCE_SECONDS = 600.0  # for what comes at once, however busy the machine
KEY = "a-key-that-must-not-travel"
EXAMPLES = [Example(f"e{i}", f"What is {i}?", str(i), "numeric") for i in range(30)]
TOKENS = [3, -5, 10**12, 2**63, None, "x", True, 3.5, [3], {"n": 3}]
ODD = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b"<html>\x1b[2J</html>", b'{"choices": []}',
    b'{"choices": [{"message": {"content": 5}}]}', b'{"choices": {"0": 1}}', b'{"choices": [null]}',
    b'{"choices": [{"message": null}]}', b'{"error": {"message": "\x1b]0;stolen\x07"}}',
    b"[" * 100_000, b'{"choices": [{"message": {"content": NaN}}]}',
]  # fmt: skip


@dataclass(slots=True)
class Manners:
    """How a server behaves: shares of requests, and the request after which it is dead."""

    dies_after: int = 10**9
    odd: float = 0.0
    cut: float = 0.0
    refuses: float = 0.0
    slow: float = 0.0
    lies: bool = False
    elsewhere: str = ""
    met: Counter[str] = field(default_factory=Counter)

    def of(self, way: float) -> str:
        """What becomes of a request, by a number of 0 to 1."""
        for what in ("odd", "cut", "refuses", "slow"):
            way -= getattr(self, what)
            if way < 0:
                return what
        return "answers"


@contextmanager
def server(draw: random.Random, manners: Manners) -> Iterator[str]:
    """Its address, with /v1."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(200, b'{"data": [{"id": "m"}]}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                manners.met["asked"] += 1
                manners.met["key"] += KEY in str(self.headers)
                dead = manners.met["asked"] > manners.dies_after
                way, tokens, odd = draw.random(), draw.choice(TOKENS), draw.choice(ODD)
            if dead:
                self.close_connection = True
                return
            if manners.elsewhere:
                self.send_response(draw.choice([301, 302, 303, 307, 308]))
                self.send_header("Location", manners.elsewhere + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = _reply(body, tokens if manners.lies else 3, manners.lies)
            what = manners.of(way)
            if what == "slow":
                time.sleep(0.6)
            if what == "cut":
                self._answer(200, data[: len(data) // 2], promised=len(data))
            elif what == "odd":
                self._answer(200, odd)
            elif what == "refuses":
                self._answer(503, b"\x1b[31mbusy")
            else:
                self._answer(200, data)

        def _answer(self, status: int, data: bytes, promised: int | None = None) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(promised or len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # whoever asked has gone
                pass
            self.close_connection = promised is not None

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join(60)


def _reply(body: dict[str, Any], tokens: Any, lies: bool) -> bytes:
    number = body["messages"][-1]["content"].split()[2].rstrip("?")
    choice = {"message": {"content": f"\\boxed{{{number}}}"}, "finish_reason": "stop"}
    reply: dict[str, Any] = {"choices": [choice], "usage": {"completion_tokens": tokens}}
    if lies:  # of one that was asked for, the first counts; and what else it says is not believed
        reply["choices"] += [{"message": {"content": "\\boxed{-1}"}, "index": 0}] * 3
        reply |= {"model": "another", "n": -1, "id": "\x1b[2J"}
    return json.dumps(reply).encode()


KINDS = {
    "dies": lambda draw: Manners(dies_after=draw.randrange(60)),
    "lies": lambda draw: Manners(lies=True),
    "babbles and breaks off": lambda draw: Manners(odd=0.15, cut=0.15, refuses=0.1),
    "is slow": lambda draw: Manners(slow=0.2),
}


def bad_server(kind: str, folder: Path, draw: random.Random) -> str:
    """A bad one, then a good one: every question is right in the end, and counted once."""
    journal = fresh(folder / "served") / "j.jsonl"
    bad = KINDS[kind](draw)
    result = None
    for manners in (bad, Manners(), Manners()):
        slow = manners.slow > 0
        with server(draw, manners) as url, Scorer(RewardConfig(workers=0), seed=0) as scorer:
            endpoint = Endpoint(
                url, "m", concurrency=4, retries=0 if slow else 2, first_pause_seconds=0.001,
                timeout_seconds=0.3 if slow else PATIENCE_SECONDS,
            )  # fmt: skip
            try:
                result = _asked(endpoint, scorer, journal)
            except OneshotError as error:
                if not str(error).strip():
                    raise NotSurvived(LOST, "an error without words") from error
                continue
        right = sum(bool(sample["correct"]) for sample in result.samples)
        if right != len(result.samples):
            raise NotSurvived(WRONG, f"{len(result.samples) - right} right answers are wrong")
        if any(sample["tokens"] not in (3, None) for sample in result.samples):
            raise NotSurvived(WRONG, "numbers of tokens that cannot be are in the records")
        if len(result.samples) + sum(result.failures.values()) != len(EXAMPLES):
            raise NotSurvived(LOST, "answers are neither there nor counted as missing")
        if not result.failures:
            return SURVIVED
    raise NotSurvived(LOST, "a good server did not mend it")


def _asked(endpoint: Endpoint, scorer: Scorer, journal: Path) -> Any:
    config = BenchmarkConfig(benchmark="file", samples=1, temperature=0.0, seed=1)
    return evaluate_served(
        endpoint, scorer, Benchmark("b", EXAMPLES), config, max_new_tokens=9, journal=journal
    )


def server_elsewhere(folder: Path, draw: random.Random) -> str:
    """One that sends to another origin: neither the key nor a question goes there."""
    journal = fresh(folder / "served") / "j.jsonl"
    there = Manners()
    with server(draw, there) as other, Scorer(RewardConfig(workers=0), seed=0) as scorer:
        here = Manners(elsewhere=other.removesuffix("/v1"))
        with server(draw, here) as url:
            try:
                _asked(Endpoint(url, "m", KEY, 4, 1, PATIENCE_SECONDS, 0.001), scorer, journal)
            except OneshotError as error:
                told = str(error)
            else:
                raise NotSurvived(WRONG, "answers of nobody")
    if there.met["asked"] or KEY in told:
        raise NotSurvived(LOST, "the key or a question went to another origin")
    return SURVIVED


GRADER = """
import os, random, signal, sys, time
def grade(text, example):
    word, way = text.split()[:2]
    if way == "exits":
        raise SystemExit(0)
    if way == "leaves":
        os._exit(0)
    if way == "interrupts":
        raise KeyboardInterrupt
    if way == "raises":
        raise ValueError("\\x1b[2J of its own")
    if way == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "hangs":
        time.sleep(3000)
    if way == "lies":
        return 7
    if way == "forks" and os.fork() == 0:
        return word != "right"
    if way == "forks and leaves" and os.fork() == 0:
        os._exit(0)
    if way == "writes":
        os.write(1, b'{"correct": true, "reason": "correct", "number": 1}\\n')
        print('{"correct": true}', flush=True)
    if way == "closes":
        os.close(0)
    if way == "starts":
        os.system("sleep 3000 &")
    return word == "right"
"""
SOUND = ("forks", "writes", "starts")  # what these do changes no verdict
BROKEN = ("exits", "leaves", "interrupts", "raises", "dies", "hangs", "lies")


def bad_grader(way: str, folder: Path, draw: random.Random) -> str:
    """Every text has its own verdict, or the grader is told to be broken; never a reward of 0."""
    (folder / "tortured_grader.py").write_text(GRADER)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    example = Example("x", "q", "g", "custom", extra={"function": "tortured_grader:grade"})
    texts = [f"{draw.choice(['right', 'wrong'])} {way} {n}" for n in range(8)]
    pool = Pool(1, timeout_seconds=0.5 if way == "hangs" else PATIENCE_SECONDS)
    try:
        verdicts = pool.run([(text, example) for text in texts])
    except GraderError as error:
        if way in SOUND:
            raise NotSurvived(LOST, f"a sound verifier is told to be broken: {error}") from error
        return SURVIVED
    finally:
        pool.close()
    if way in BROKEN:
        raise NotSurvived(WRONG, f"a verifier that {way} gave {[v.correct for v in verdicts]}")
    if [v.correct for v in verdicts] != [t.startswith("right") for t in texts]:
        raise NotSurvived(WRONG, f"a verifier that {way} gave texts the verdicts of others")
    if way == "starts" and _lives():
        raise NotSurvived(LOST, "what a verifier started outlives the pool")
    return SURVIVED


def _lives() -> bool:
    """Whether a `sleep 3000` of this process's graders stays, whose workers have ended."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while _sleepers():
        if time.monotonic() > ends:
            return True
        time.sleep(0.02)
    return False


def _sleepers() -> bool:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                told = Path(f"/proc/{name}/cmdline").read_bytes()
                environment = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue
            if told == b"sleep\x003000\x00" and f"TORTURE={os.getpid()}".encode() in environment:
                return True
    return False
