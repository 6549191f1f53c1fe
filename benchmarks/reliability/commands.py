"""Commands that are killed, run out of room, meet cold and damaged caches, and each other.

One row of `COMMANDS` a verb: a new one is tried by adding its row. Whatever befell it, the same
command then ends as an undisturbed one did, or is refused in one error with everything left alone.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from common import (
    LOST,
    SURVIVED,
    WRONG,
    Ended,
    NotSurvived,
    Running,
    SmallDisk,
    command,
    contents,
    fresh,
    harm,
    small_files,
)

from oneshot_rlvr.evaluation.store import read_samples
from oneshot_rlvr.running.examine import examine


@dataclass(frozen=True, slots=True)
class Command:
    """`argv`: of `oneshot`, "{inputs}" being where the inputs are; outputs go below the folder.

    kept: what must be equal in the end: files, by the beginnings of their names or, with a *, by
    pattern. whole: whether each of these is there whole or not at all, at any moment. last: a
    directory that a kill left half is refused, and lacks this file.
    """

    argv: str
    kept: tuple[str, ...]
    whole: bool = True
    last: str = ""


TRAIN = (  # steps, evaluations and checkpoints as ever, and little to compute
    "--train.steps 3 --train.save_every 1 --train.eval_every 2 --train.threads 1 "
    "--rollouts.prompts_per_step 2 --rollouts.group_size 8 --rollouts.max_new_tokens 96 "
    "--evaluation.validation.questions 1 --evaluation.validation.samples 1 "
    "--evaluation.test.questions 1 --evaluation.test.samples 1"
)
KEPT_OF_A_RUN = ("out/metrics", "out/rollouts/", "out/evaluations/", "out/final/", "out/report")
COMMANDS = {
    "train": Command(
        f"train tiny_one_shot --out out --resume {TRAIN}", KEPT_OF_A_RUN[:-1], whole=False
    ),
    "evaluate": Command(
        "evaluate tiny --benchmarks arithmetic --questions 12 --samples 2 --temperature 1 "
        "--samples-out out --out summary.json",
        ("summary.json", "answers"),
        whole=False,
    ),
    "evaluate --contamination": Command(
        "evaluate tiny --contamination --benchmarks {inputs}/pool.jsonl --samples-out out "
        "--out summary.json",
        ("summary.json", "out/pool.contamination/"),
    ),
    "evaluate --regrade": Command(
        "evaluate --regrade {inputs}/answers --samples-out out", ("answers",), whole=False
    ),
    "select --probe": Command(
        "select {inputs}/pool.jsonl --probe 2 --model tiny --max-new-tokens 24 --history-out kept "
        "--out ranking.parquet --sets sets --batch 4 --k 1,2",
        ("ranking.parquet", "sets/"),
    ),
    "select --make-history": Command(
        "select {inputs}/pool.jsonl --make-history {inputs}/history.toml --visits 2 "
        "--history-out out --out ranking.parquet --sets sets --batch 4 --k 1,2",
        ("ranking.parquet", "sets/", "out/metrics", "out/rollouts/"),
        whole=False,
    ),
    "study": Command(
        "study {inputs}/study.toml --out out --runs arms --slots 1",
        ("arms/*/run/metrics.jsonl", "arms/*/run/rollouts/*", "arms/*/run/final/*.safetensors",
         "arms/*/answers/*.parquet"),
        whole=False,
    ),
    "diff": Command(
        "diff {inputs}/run --benchmarks {inputs}/pool.jsonl --questions 2 --max-new-tokens 24 "
        "--out page.html",
        ("page.html",),
    ),
    "extrapolate": Command(
        "extrapolate {inputs}/run@2 {inputs}/run@3 --to 4 --benchmarks {inputs}/pool.jsonl "
        "--questions 2 --samples 1 --max-new-tokens 24 --out out",
        ("out/",),
    ),
    "init": Command("init mine", ("mine/",)),
    "tiny pretrain": Command(
        "tiny pretrain --tokens 0.008 --out out --resume", ("out/model.safetensors",), whole=False
    ),
    "variants": Command(
        "variants {inputs}/pool.jsonl --wrong-labels 1 --out wrong.parquet", ("wrong.parquet",)
    ),
    "report": Command("report {inputs}/run --out page.html", ("page.html",)),
    "analyse": Command("analyse {inputs}/run --out tables", ("tables/",)),
    "export --to trl": Command(
        "export tiny_one_shot --to trl --out out", ("out/",), whole=False, last="out/train.py"
    ),
    "export --to verl": Command(
        "export tiny_one_shot --to verl --out out", ("out/",), whole=False, last="out/run.sh"
    ),
}  # fmt: skip
"""What is killed. Not among them: `demo`, which trains; `import`, whose files are large; verbs that
write nothing (verify, list, runs, watch, doctor)."""


@dataclass(slots=True)
class Straight:
    """A command that nobody disturbed: what it left, its seconds, its changes of files."""

    command: Command
    argv: list[str]
    kept: dict[str, object]
    seconds: float
    changes: int


@dataclass(slots=True)
class Commands:
    """Their tries, in `folder`; `inputs` as in the argv. Undisturbed ones are run when needed."""

    inputs: Path
    folder: Path
    draw: random.Random
    _straight: dict[str, Straight] = field(default_factory=dict)

    def straight(self, name: str) -> Straight:
        """The undisturbed one."""
        if name not in self._straight:
            row = COMMANDS[name]
            argv = row.argv.format(inputs=self.inputs).split()
            out = fresh(self.folder / "straight")
            began = time.monotonic()
            ended = command(argv, out).expect(0)
            seconds = time.monotonic() - began
            self._straight[name] = Straight(row, argv, _kept(out, row.kept), seconds, ended.changes)
            assert self._straight[name].kept, f"{name} left nothing"
        return self._straight[name]

    def killed(self, name: str) -> str:
        """Killed once to three times, at any moment or at a change of a file; then let end."""
        straight, out = self.straight(name), fresh(self.folder / "killed")
        for _ in range(self.draw.choice([1, 1, 2, 3])):
            way = self.draw.random()
            if way < 0.5:
                at = self.draw.randrange(1, straight.changes + 1)
                ended = command(straight.argv, out, dies_at=at)
            else:
                number = signal.SIGKILL if way < 0.8 else signal.SIGTERM
                when = self.draw.random() * straight.seconds
                ended = command(straight.argv, out, signal_after=(number, when))
            _nothing_half(straight, out)
            if ended.code == 0:
                break
        return _goes_on(straight, out, command(straight.argv, out))

    def out_of_room(self, name: str) -> str:
        """No room at some moment, told in one error; then room again."""
        straight, out = self.straight(name), self.folder / "full"
        sizes = [len(data) for data in straight.kept.values() if isinstance(data, bytes)]
        limit = int(self.draw.uniform(0, 1.1) ** 2 * max([100_000, *sizes]))
        fresh(out)
        if self.draw.random() < 0.5 and _disk_in_a_fork(straight, out, 4096 + 2 * limit):
            return SURVIVED
        ended = command(straight.argv, fresh(out), before=small_files(limit))
        _told(ended.expect(0, 1, 2))
        _nothing_half(straight, out)
        return _goes_on(straight, out, command(straight.argv, out))

    def two_at_once(self, name: str) -> str:
        """Two processes: one is refused, or both come to the same; nothing is mixed."""
        straight, out = self.straight(name), fresh(self.folder / "shared")
        both = [Running(straight.argv, out) for _ in range(2)]
        ended = [one.wait().expect(0, 2) for one in both]
        if all(one.code for one in ended) and not straight.command.last:
            raise NotSurvived(LOST, f"both were refused: {ended[0].said[-200:]}")
        _nothing_half(straight, out)
        return _goes_on(straight, out, command(straight.argv, out))

    def cold_cache(self) -> str:
        """No loop is compiled yet, and the compiling is killed; then it is finished."""
        straight, out = self.straight("evaluate"), fresh(self.folder / "cold")
        cache = fresh(self.folder / "cache")
        when = self.draw.random() * 20
        with_cache = _cache_at(cache)
        command(straight.argv, out, before=with_cache, signal_after=(signal.SIGKILL, when))
        return _goes_on(straight, out, command(straight.argv, out, before=with_cache))

    def damaged_cache(self) -> str:
        """One compiled loop on disk, or each of them, is damaged."""
        straight, out = self.straight("evaluate"), fresh(self.folder / "repaired")
        cache = self.folder / "warm"
        if not cache.exists():
            command(straight.argv, fresh(self.folder / "warming"), before=_cache_at(cache)).expect(
                0
            )
        harmed = self.folder / "harmed"
        shutil.rmtree(harmed, ignore_errors=True)
        shutil.copytree(cache, harmed)
        entries = sorted(harmed.rglob("*.nbc"))
        for entry in entries if self.draw.random() < 0.05 else [self.draw.choice(entries)]:
            harm(entry, self.draw)
        ended = command(straight.argv, out, before=_cache_at(harmed))
        return _goes_on(straight, out, ended)


def _cache_at(place: Path) -> Callable[[], None]:
    def before() -> None:
        from numba.core import config

        config.CACHE_DIR = str(place)

    return before


def _kept(out: Path, names: tuple[str, ...]) -> dict[str, object]:
    """What is to be equal. Of answers what they say: their files tell how they were asked."""
    found: dict[str, object] = {
        name: data
        for name, data in contents(out).items()
        if _is_kept(name, names) and not name.endswith(".part")
    }
    if "answers" in names:
        for path in sorted((out / "out").glob("*.parquet")):
            found[f"answers of {path.name}"] = read_samples(path)
    # Its head names the folder; tables and figures are the records'.
    found.pop("out/report.html", None)
    return found


def _is_kept(name: str, names: tuple[str, ...]) -> bool:
    return any(fnmatch(name, one) if "*" in one else name.startswith(one) for one in names)


def _nothing_half(straight: Straight, out: Path) -> None:
    """NotSurvived where a file passes for a whole one and is none."""
    row = straight.command
    if row.last and (out / row.last).exists():
        _equal(straight, out)
    if row.whole:
        for name, data in _kept(out, row.kept).items():
            if straight.kept.get(name) != data:
                raise NotSurvived(WRONG, f"{name} stands there and is not what it should be")


def _equal(straight: Straight, out: Path) -> None:
    now = _kept(out, straight.command.kept)
    odd = [n for n in {*now, *straight.kept} if now.get(n) != straight.kept.get(n)]
    if odd:
        raise NotSurvived(WRONG, f"{sorted(odd)[:5]} differ from an undisturbed command's")


def _goes_on(straight: Straight, out: Path, ended: Ended) -> str:
    """The last try: as an undisturbed one, or, for a directory that must be new, refused."""
    row = straight.command
    if row.last and ended.code == 2:
        ended.expect(2)
        return SURVIVED
    ended.expect(0)
    _equal(straight, out)
    left = [path.name for path in out.rglob("*.part")] if "--resume" in straight.argv else []
    if left:
        raise NotSurvived(LOST, f"{left} lie about")
    if (out / "out" / "run.json").exists() and (damage := examine(out / "out").damage):
        raise NotSurvived(WRONG, f"the run is damaged: {damage}")
    return SURVIVED


def _told(ended: Ended) -> None:
    """NotSurvived where a command that found no room did not say so, once; a study says it of each
    of its runs."""
    lines = ended.said.splitlines()
    errors = sum(line.startswith("error: ") for line in lines)
    if ended.code and (errors > 1 or not (errors or any(x.startswith("failed: ") for x in lines))):
        raise NotSurvived(LOST, f"{errors} errors were told: {ended.said[-300:]}")


def _disk_in_a_fork(straight: Straight, out: Path, limit: int) -> bool:
    """A disk of so many bytes, then a larger one. False where no disk can be made here."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told, code = "", 1
        try:
            disk = SmallDisk(out, limit)
            if not disk.made:
                code = 3
            else:
                _told(command(straight.argv, out / "here").expect(0, 1, 2))
                _nothing_half(straight, out / "here")
                assert disk.grow()
                _goes_on(straight, out / "here", command(straight.argv, out / "here"))
                code = 0
        except NotSurvived as error:
            told = f"{error.outcome}\n{error}"
        except BaseException as error:
            told = f"{LOST}\n{type(error).__name__}: {error}"
        os.write(writing, told.encode()[:4000])
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        outcome, _, what = pipe.read().partition("\n")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 1:
        raise NotSurvived(outcome, what)
    return code == 0
