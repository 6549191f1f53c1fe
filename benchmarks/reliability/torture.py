"""Harms runs, evaluations, commands, caches, servers and graders at random; counts what came of it.

    python benchmarks/reliability/torture.py [--minutes 20] [--seed 0] [--write docs/reliability.md]

A try survives where the work ends as an undisturbed one, or the harm is told in one of our errors
and what was written before is still there. It is lost where neither holds, and silently wrong
where something harmed or half-written passes for whole. Servers are on loopback; files are in a
folder of its own, which is removed. Exit code 1 where anything was lost or silently wrong.

The time counts from the start, preparations included; after it only what is cheap and was not met
yet is tried, once. Every kind is tried once, then the cheap ones more often: what is kept equal is
seconds times the root of tries, by which one of 20 ms has some 80 for one of 15 s. A try draws from
the seed, its kind and its number alone: `--only KIND` repeats it. A kind that ended badly three
times is tried no more. No outcome is a matter of time, but for a command that takes 20 minutes
instead of seconds.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import math
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

BEGAN = time.monotonic()
logging.disable(logging.WARNING)  # what readers say of damage, thousands of times
os.environ["OMP_NUM_THREADS"] = "1"  # forks must find no threads
os.environ["TORTURE"] = str(os.getpid())

import strangers  # noqa: E402
from commands import COMMANDS, Commands  # noqa: E402
from common import LOST, SURVIVED, WRONG, NotSurvived, command, fresh  # noqa: E402
from damage import KINDS, Damage  # noqa: E402

import oneshot_rlvr.backends.local  # noqa: E402
import oneshot_rlvr.policy  # noqa: E402
import oneshot_rlvr.report.page  # noqa: E402
import oneshot_rlvr.rollouts  # noqa: E402, F401
from oneshot_rlvr.examples.writers import own_row  # noqa: E402
from oneshot_rlvr.records import RunWriter  # noqa: E402
from oneshot_rlvr.tiny import tasks  # noqa: E402

BAD_ENDS = 3  # of a kind; what is broken fails at once, and would take every turn


@dataclass(slots=True)
class Kind:
    """What, a try of it, and how those so far have ended."""

    what: str
    attempt: Callable[[], str]
    cheap: bool = False
    ended: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def try_once(self, draw: random.Random, seed: int) -> None:
        """One more, drawing by its number."""
        number = self.ended.total()
        draw.seed(f"{seed}/{self.what}/{number}")
        began = time.monotonic()
        self.ended[judged(self.attempt, f"{self.what} (try {number})")] += 1
        self.seconds += time.monotonic() - began

    @property
    def turn(self) -> float:
        """The lowest is tried next."""
        return self.seconds * math.sqrt(self.ended.total())

    @property
    def broken(self) -> bool:
        return self.ended[LOST] + self.ended[WRONG] >= BAD_ENDS


STUDY = """name = "small"
base = "tiny_one_shot"
seeds = [0]
intervals = "questions"
controls = ["base"]
[set]
"train.steps" = 2
"train.save_every" = 1
"train.eval_every" = 0
"train.threads" = 1
"rollouts.prompts_per_step" = 2
"rollouts.group_size" = 8
"rollouts.max_new_tokens" = 32
"evaluation.validation" = "none"
"evaluation.test" = "none"
[benchmarks.pool]
benchmark = "file"
path = "{pool}"
samples = 2
temperature = 1.0
[arms.outcome]
"""
"""One arm, trained once, and the base; a worker process each."""


def prepare(folder: Path) -> tuple[Path, Path]:
    """(inputs, where a run was stopped). Inputs: a pool, a recipe for its history, a study, a
    finished run, graded answers."""
    inputs = fresh(folder / "inputs")
    rows = [own_row(example) for example in tasks.generate("add", 0, 6, "train")]
    (inputs / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (inputs / "history.toml").write_text(
        'name = "history"\n[model]\npath = "tiny"\n[examples]\npath = "unused.jsonl"\n'
        "[rollouts]\nprompts_per_step = 6\ngroup_size = 4\nmax_new_tokens = 24\n"
        "[train]\nsteps = 2\nthreads = 1\nsave_every = 1\n"
    )
    (inputs / "study.toml").write_text(STUDY.format(pool=inputs / "pool.jsonl"))
    made = fresh(folder / "made")
    command(COMMANDS["train"].argv.split(), made).expect(0)
    (made / "out").rename(inputs / "run")
    stopped = fresh(folder / "stopped")
    _stop_after(2, stopped)
    command(COMMANDS["evaluate"].argv.split(), fresh(folder / "asked")).expect(0)
    (folder / "asked" / "out").rename(inputs / "answers")
    return inputs, stopped


def _stop_after(step: int, folder: Path) -> None:
    """The same run, interrupted in its last step."""

    def interrupted() -> None:
        record = RunWriter.rollouts

        def then_stop(self: RunWriter, at: int, *told: Any, **more: Any) -> None:
            record(self, at, *told, **more)
            if at > step:
                raise KeyboardInterrupt

        RunWriter.rollouts = then_stop  # type: ignore[method-assign]

    command(COMMANDS["train"].argv.split(), folder, before=interrupted).expect(130)


def kinds(commands: Commands, damage: Damage, folder: Path) -> Iterator[list[Kind]]:
    """Every kind of try in groups, each for one process: those of a verb together, as they share
    its undisturbed run."""
    draw = commands.draw
    yield [
        Kind(
            f"one bit or a cut in a file, then {reader}",
            partial(one, damage),
            cheap=one != Damage.resumed,
        )
        for reader, one in KINDS.items()
    ]
    yield [
        *(
            Kind(f"a server that {kind}", partial(strangers.bad_server, kind, folder, draw), True)
            for kind in strangers.KINDS
        ),
        Kind(
            "a server that sends elsewhere", partial(strangers.server_elsewhere, folder, draw), True
        ),
    ]
    yield [
        Kind(f"a verifier that {way}", partial(strangers.bad_grader, way, folder, draw), True)
        for way in (*strangers.SOUND, *strangers.BROKEN)
    ]
    for name in COMMANDS:
        yield [
            Kind(f"{name}, killed", partial(commands.killed, name)),
            Kind(f"{name}, no room", partial(commands.out_of_room, name)),
            Kind(f"{name}, two at once", partial(commands.two_at_once, name)),
        ]
    yield [
        Kind("compiled loops: a damaged file", commands.damaged_cache),
        Kind("compiled loops: none yet, and killed", commands.cold_cache),
    ]


def torture(minutes: float, seed: int, workers: int, only: list[str]) -> dict[str, Counter[str]]:
    """Tries until the time is over, in so many processes."""
    ends = BEGAN + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="torture.") as name:
        folder = Path(name).resolve()
        inputs, stopped = prepare(folder)
        told, children = [], []
        for worker in range(workers):
            told.append(folder / f"{worker}.json")
            child = os.fork()
            if child == 0:
                code = 70
                try:
                    own = fresh(folder / f"worker{worker}")
                    counted = _tries(inputs, stopped, own, (worker, workers), seed, ends, only)
                    told[-1].write_text(json.dumps(counted))
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if any(codes):
            raise SystemExit(f"a process of the tries ended with {codes}")
        found: dict[str, Counter[str]] = {}
        for path in told:
            for what, some in json.loads(path.read_text()).items():
                found[what] = found.get(what, Counter()) + Counter(some)
    return found


def _tries(
    inputs: Path,
    stopped: Path,
    own: Path,
    share: tuple[int, int],
    seed: int,
    ends: float,
    only: list[str],
) -> dict[str, Counter[str]]:
    os.environ["TORTURE"] = str(os.getpid())
    draw = random.Random()
    commands = Commands(inputs, fresh(own / "commands"), draw)
    damage = Damage(
        inputs / "run", stopped / "out", COMMANDS["train"].argv.split(), inputs / "answers",
        fresh(own / "damage"), draw,
    )  # fmt: skip
    groups = list(kinds(commands, damage, fresh(own / "strangers")))
    chosen = [[kind for kind in group if any(w in kind.what for w in only)] for group in groups]
    mine = [kind for group in [g for g in chosen if g][share[0] :: share[1]] for kind in group]
    while sound := [
        kind
        for kind in mine
        if not kind.broken and (time.monotonic() < ends or (kind.cheap and not kind.ended))
    ]:
        min(sound, key=lambda kind: kind.turn).try_once(commands.draw, seed)
    return {
        kind.what: kind.ended + Counter(milliseconds=round(1e3 * kind.seconds)) for kind in mine
    }


def judged(attempt: Callable[[], str], what: str) -> str:
    """How a try ended; what was none of ours was not survived."""
    try:
        return attempt()
    except NotSurvived as error:
        print(f"{error.outcome}: {what}: {error}", file=sys.stderr, flush=True)
        return error.outcome
    except Exception as error:
        print(f"{LOST}: {what}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return LOST


def table(counted: dict[str, Counter[str]]) -> str:
    """Markdown."""
    lines = ["| what | tries | survived | lost | silently wrong |", "|---|---|---|---|---|"]
    rows = [*counted.items(), ("all", sum(counted.values(), Counter()))]
    for what, c in rows:
        tries = c[SURVIVED] + c[LOST] + c[WRONG]
        lines.append(f"| {what} | {tries} | {c[SURVIVED]} | {c[LOST]} | {c[WRONG]} |")
    return "\n".join(lines)


PAGE = """# Reliability

Written by `make torture`: random harm to runs, evaluations, every verb that writes (but `import`,
whose files are large), compiled loops, servers on loopback and graders. A try survives where the
work ends as an undisturbed one (equal to the byte where files are compared), or the harm is told in
one error and what was written before is still there. It is lost where neither holds, and silently
wrong where something harmed or half-written passes for whole. Every kind is tried once, then the
cheap ones more often.

- *killed*: SIGKILL just before a random change of a file, or SIGKILL or SIGTERM at a random time,
  up to three times; then the same command to its end.
- *no room*: a disk of a random size that fills, or a limit to a file's size, told in one error;
  then the same command with room.
- *two at once*: the same command in two processes.
- *one bit or a cut*: of every file of a run in turn, of stored answers, journals and compiled
  loops.
- *a server*: a bad one, then a good one for the rest. *A verifier*: a broken one is an error and no
  wrong answer, a sound one that does odd things gives every text its own verdict.

{table}

Measured {date} in {minutes:g} minutes, seed {seed}, oneshot-rlvr {version}, Python {python},
{machine}, {cores} cores. A part of it runs in CI (`make torture-part`). Kills of training between
any two calls, with an empty cache of compiled loops, are in `tests/backends/test_kill.py`.
{cost}"""

COST = """
## What it costs

Manifest, checksums and looks at the lock take {guard[cpu]:.2f} % of a step's time
({guard[wall]:.2f} % on the clock) with the packaged recipe: {rollouts} rollouts, {step:.2f} s.
`oneshot doctor` reads every byte of a run of {many:,} rollouts ({size:,} MB) in
{doctor[seconds]:.1f} s with {doctor[peak_megabytes]} MB; a report of it takes
{report[seconds]:.1f} s and {report[peak_megabytes]} MB.
`python benchmarks/reliability/cost.py`; {where}.
"""


def cost() -> str:
    """What cost.py measured, where it has."""
    path = Path(__file__).resolve().parents[1] / "results" / "reliability_cost.json"
    if not path.exists():
        return ""
    told = json.loads(path.read_text(encoding="utf-8"))
    step, million = told["step"], told["million"]
    return COST.format(
        guard=step["guard, % of a step"],
        rollouts=step["rollouts"],
        step=step["step_seconds"],
        many=million["rollouts"],
        size=million["megabytes"],
        doctor=million["doctor"],
        report=million["report"],
        where=told["machine"],
    )


def write(path: Path, text: str, minutes: float, seed: int) -> None:
    """docs/reliability.md."""
    from oneshot_rlvr import __version__

    told = PAGE.format(
        table=text,
        date=datetime.date.today(),
        minutes=minutes,
        seed=seed,
        version=__version__,
        python=platform.python_version(),
        machine=platform.machine(),
        cores=os.cpu_count(),
        cost=cost(),
    )
    path.write_text(told, encoding="utf-8")


def main() -> int:
    """The table, and the page where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that try")
    parser.add_argument(
        "--only", action="append", metavar="TEXT", help="kinds whose name holds this; repeatable"
    )
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--seconds", action="store_true", help="tell what each kind took")
    args = parser.parse_args()
    counted = torture(args.minutes, args.seed, args.workers, args.only or [""])
    if args.seconds:
        for what, c in counted.items():
            tries = max(1, c[SURVIVED] + c[LOST] + c[WRONG])
            print(f"{c['milliseconds'] / tries:8.0f} ms  {what}", file=sys.stderr)
    text = table(counted)
    print(text)
    if args.write:
        write(Path(args.write), text, args.minutes, args.seed)
    return int(any(c[LOST] or c[WRONG] for c in counted.values()))


if __name__ == "__main__":
    sys.exit(main())
