"""A program: does a run straight, then again in sittings that SIGKILL ends at random moments.

    python kill_and_resume.py RECIPE FOLDER SEED

It imports once and forks every sitting. A sitting counts its calls, of Python and of C alike, and
kills itself at a number drawn before: any line between two calls can be the last. Two more die in
the middle of writing a checkpoint's file and of a line of metrics. Prints where each died, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.config import Recipe, load_recipe
from oneshot_rlvr.records import files
from oneshot_rlvr.train import checkpoint
from oneshot_rlvr.train.loop import Silent

KILLS, LONGEST_SHARE = 6, 0.15  # six sittings of at most 15 % each do not finish the run


def die(where: str) -> None:
    os.write(int(os.environ["TELL"]), (where + "\n").encode())
    os.kill(os.getpid(), signal.SIGKILL)


class Counting(Silent):
    """From the first step on, counts calls; dies at one of them."""

    def __init__(self, last: int | None):
        self.calls, self.last = 0, last

    def start(self, total_steps: int) -> None:
        sys.setprofile(self._count)

    def _count(self, frame: Any, event: str, argument: Any) -> None:
        self.calls += event in ("call", "c_call")
        if self.calls == self.last:
            die(f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}")


def half_of_a_checkpoint(recipe: Recipe, out: Path) -> None:
    save = checkpoint.save_file

    def save_half(tensors: Any, path: Path) -> None:
        save(tensors, path)
        os.truncate(path, path.stat().st_size // 2)
        die("half of a checkpoint")

    checkpoint.save_file = save_half
    run(recipe, out=out, resume=True)


def half_of_a_line(recipe: Recipe, out: Path) -> None:
    append = files.append_line

    def append_half(path: Path, line: bytes, **how: bool) -> None:
        if path.name != "metrics.jsonl":
            append(path, line, **how)
            return
        with path.open("ab") as file:
            file.write(line[: len(line) // 2])
            file.flush()
        die("half of a line")

    files.append_line = append_half
    run(recipe, out=out, resume=True)


def sitting(work: Callable[[], None]) -> str:
    """Works in a fork; what it told before it ended ('' where it ended by itself)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.environ["TELL"] = str(writing)
        try:
            work()
        except BaseException as error:
            os.write(writing, f"error: {error!r}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read().strip()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed == (text != "" and not text.startswith(("error", "calls"))), (text, status)
    return text


def main(recipe: Recipe, folder: Path, seed: int) -> list[str]:
    def straight() -> None:
        counting = Counting(None)
        run(recipe, out=folder / "straight", progress=counting)
        sys.setprofile(None)
        os.write(int(os.environ["TELL"]), f"calls {counting.calls}".encode())

    out, draw = folder / "killed", random.Random(seed)
    # What the first run of all compiles and keeps on disk is no work of the later ones: counted, it
    # would draw numbers that no sitting reaches.
    assert sitting(lambda: run(recipe, out=folder / "first")) == ""
    word, _, calls = sitting(straight).partition(" ")
    assert word == "calls", (word, calls)
    deaths = []
    for number in range(KILLS):
        last = draw.randrange(1, int(int(calls) * LONGEST_SHARE))
        deaths.append(
            sitting(lambda last=last: run(recipe, out=out, resume=True, progress=Counting(last)))
        )
        if number == KILLS // 2:
            deaths.append(sitting(lambda: half_of_a_line(recipe, out)))
            deaths.append(sitting(lambda: half_of_a_checkpoint(recipe, out)))
    assert sitting(lambda: run(recipe, out=out, resume=True)) == ""
    return deaths


if __name__ == "__main__":
    print(json.dumps(main(load_recipe(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
