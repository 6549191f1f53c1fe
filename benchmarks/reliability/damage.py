"""One bit, or a cut, in a file: whoever reads it says so, and a run goes back to what is whole.

Files are taken in turn, so that every one of a run is harmed, by every reader. What is read here is
read in this process, hence cheap, but for a resume.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from common import LOST, SURVIVED, WRONG, NotSurvived, command, contents, fresh, harm

from oneshot_rlvr.analysis import analyse
from oneshot_rlvr.cli import main
from oneshot_rlvr.errors import OneshotError
from oneshot_rlvr.evaluation.journal import Journal
from oneshot_rlvr.evaluation.store import read_samples, read_stored
from oneshot_rlvr.records import Run
from oneshot_rlvr.running.examine import examine

NOT_RECORDS = ("run.lock", "report.html")
MODELS = ("final/", "checkpoints/")


@dataclass(slots=True)
class Damage:
    """Tries on a finished run, on one that was stopped, and on stored answers with their journal.

    `stopped` goes on with `resume` (arguments of `oneshot`) to what `finished` is.
    """

    finished: Path
    stopped: Path
    resume: list[str]
    answers: Path
    folder: Path
    draw: random.Random
    _turns: dict[str, Iterator[Path]] = field(default_factory=dict)

    def doctor(self) -> str:
        """`doctor` tells of every file."""
        run, path, before = self._harmed("doctor", self.finished, ())
        if _same(path, before):
            return SURVIVED
        try:
            told = examine(run).damage
        except OneshotError:
            return SURVIVED
        if not told:
            raise NotSurvived(WRONG, f"doctor: {path.relative_to(run)} passes")
        return SURVIVED

    def report(self) -> str:
        """The page is made of what is whole, and names the rest."""
        run, path, before = self._harmed("report", self.finished, MODELS)
        if _same(path, before):
            return SURVIVED
        said, page = StringIO(), self.folder / "page.html"
        with redirect_stdout(StringIO()), redirect_stderr(said):
            code = main(["report", str(run), "--out", str(page), "--overwrite"])
        if code == 2 and said.getvalue().startswith("error:"):
            return SURVIVED
        name = path.relative_to(run).parts[0]
        # The rollouts that the page does not read are held to their size alone.
        read = name != "rollouts" or len(path.read_bytes()) != len(before)
        if code == 0 and not read:
            return SURVIVED if page.read_bytes() == self._page() else WRONG
        if code != 1 or name not in said.getvalue() or name not in page.read_text():
            raise NotSurvived(WRONG, f"report: {path.relative_to(run)}: exit code {code}")
        return SURVIVED

    def _page(self) -> bytes:
        page = self.folder / "whole.html"
        if not page.exists():
            with redirect_stdout(StringIO()):
                assert main(["report", str(self.finished), "--out", str(page)]) == 0
        return page.read_bytes()

    def analyse(self) -> str:
        """The tables are of what is whole, with a note of the rest."""
        run, path, before = self._harmed("analyse", self.finished, MODELS)
        if _same(path, before):
            return SURVIVED
        try:
            found = analyse([run])
        except OneshotError:
            return SURVIVED
        name = path.relative_to(run).parts[0]
        if not found.damaged or not any(name in note for note in found.notes):
            raise NotSurvived(WRONG, f"analyse: {path.relative_to(run)} passes")
        return SURVIVED

    def reader(self) -> str:
        """Whoever reads records by hand gets what was written, or an error."""
        run, path, _ = self._harmed("reader", self.finished, MODELS)
        for read in (
            lambda r: r.metrics().to_json(),
            lambda r: r.rollouts().to_json(),
            lambda r: [r.summary(*e) for e in r.evaluations()],
            lambda r: [r.samples(*e).to_json() for e in r.evaluations()],
            lambda r: (r.info, r.result, r.status),
        ):
            try:
                got = read(Run(run))
            except OneshotError:
                continue
            if got != read(Run(self.finished)):
                raise NotSurvived(WRONG, f"{path.relative_to(run)} is read as something else")
        return SURVIVED

    def resumed(self) -> str:
        """A stopped run goes on from what is whole, to the end of an undisturbed one; or is refused
        in one error and left as it was."""
        run, path, _ = self._harmed("resumed", self.stopped, (), self.folder / "again" / "out")
        as_it_was = contents(run)
        ended = command(self.resume, run.parent).expect(0, 2)
        if ended.code == 2:
            now = contents(run)
            gone = [n for n, data in as_it_was.items() if n != "run.lock" and now.get(n) != data]
            if gone or not ended.said.count("error:"):
                raise NotSurvived(LOST, f"{path.relative_to(run)}: {gone} changed: {ended.said}")
            return SURVIVED
        wanted = contents(self.finished)
        for name in ("metrics.jsonl", "final/model.safetensors"):
            if (run / name).read_bytes() != wanted[name]:
                raise NotSurvived(WRONG, f"{path.relative_to(run)}: {name} is another in the end")
        for folder in ("rollouts", "evaluations"):
            now, then = contents(run / folder), contents(self.finished / folder)
            if now != then:
                raise NotSurvived(WRONG, f"{path.relative_to(run)}: {folder} differ in the end")
        if told := examine(run).damage:
            raise NotSurvived(LOST, f"{path.relative_to(run)}: damaged in the end: {told}")
        return SURVIVED

    def stored(self) -> str:
        """Stored answers are read as they were, told to be fewer, or refused."""
        folder = self._copied(self.answers, self.folder / "stored")
        path = self.draw.choice(sorted(folder.glob("*.parquet")))
        was = read_samples(path)
        harm(path, self.draw)
        try:
            stored = read_stored(path)
        except OneshotError:
            return SURVIVED
        if stored.rows != was and not stored.missing:
            raise NotSurvived(WRONG, "stored answers are read as others")
        return SURVIVED

    def journal(self) -> str:
        """What a journal gives back is what was put in; what is damaged is asked for again."""
        folder = self._copied(self.answers, self.folder / "kept")
        path = self.draw.choice(sorted(folder.glob("*.jsonl")))
        answers, rows = _journal(path)
        harm(path, self.draw)
        try:
            now_answers, now_rows = _journal(path)
        except OneshotError:
            return SURVIVED
        if not now_answers.items() <= answers.items() or any(
            rows.get(key) != row for key, row in now_rows.items()
        ):
            raise NotSurvived(WRONG, "a journal gives back what was never put in")
        return SURVIVED

    def _harmed(
        self, reader: str, of: Path, without: tuple[str, ...], to: Path | None = None
    ) -> tuple[Path, Path, bytes]:
        """A copy with a harmed file, that file, and what it held."""
        run = self._copied(of, to or self.folder / "damaged")
        if reader not in self._turns:
            names = [n for n, data in contents(of).items() if data and n not in NOT_RECORDS]
            names = [n for n in names if not n.startswith(without or ("?",))]
            self.draw.shuffle(names)
            self._turns[reader] = itertools.cycle(map(Path, names))
        path = run / next(self._turns[reader])
        return run, path, harm(path, self.draw)

    @staticmethod
    def _copied(of: Path, to: Path) -> Path:
        fresh(to.parent) if to.parent.name == "again" else None
        shutil.rmtree(to, ignore_errors=True)
        return Path(shutil.copytree(of, to))


def _journal(path: Path) -> tuple[dict, dict]:
    kept = Journal(path)
    kept.close()
    return dict(kept.answers), dict(kept.rows)


def _same(path: Path, before: bytes) -> bool:
    """Whether the file says what it said: a blank for another blank harms no JSON."""
    if path.read_bytes() == before:
        return True
    if path.suffix != ".json":
        return False
    try:
        return bool(json.loads(path.read_bytes()) == json.loads(before))
    except ValueError:
        return False


KINDS: dict[str, Callable[[Damage], str]] = {
    "doctor": Damage.doctor,
    "report": Damage.report,
    "analyse": Damage.analyse,
    "a reader": Damage.reader,
    "train --resume": Damage.resumed,
    "stored answers": Damage.stored,
    "an evaluation's journal": Damage.journal,
}
