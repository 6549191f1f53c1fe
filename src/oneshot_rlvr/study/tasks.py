"""Arms and seeds -> what is to be done: runs to train, benchmarks to answer; and what exists.

A task is what one process does: it trains a run, if the arm trains, and answers every benchmark
with the result. The base answers each benchmark in every way of the study's `fair_base`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import BenchmarkConfig, Recipe
from oneshot_rlvr.errors import RecordsError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.study.file import StudyFile
from oneshot_rlvr.study.identity import answers_identity, base_identity, run_identity
from oneshot_rlvr.study.spec import BASE

RUN, ANSWERS, FAILED, KEPT = "run", "answers", "failed.json", "recipe.toml"


@dataclass(frozen=True, slots=True)
class Answers:
    """A benchmark answered in one way, and the file of its graded answers."""

    benchmark: str
    prompt: str
    config: BenchmarkConfig
    shots: bool
    file: Path

    @property
    def done(self) -> bool:
        """The file is there: it appears whole."""
        return self.file.exists()

    @property
    def way(self) -> str:
        """How it was asked, in words."""
        heat = self.config.temperature
        told = f"{self.prompt}, {'greedy' if heat == 0 else f'temperature {heat:g}'}"
        return f"{told}, with the examples shown" if self.shots else told


@dataclass(frozen=True, slots=True)
class Task:
    """`seed` is None where nothing is trained."""

    arm: str
    seed: int | None
    recipe: Recipe
    folder: Path
    answers: tuple[Answers, ...]

    @property
    def name(self) -> str:
        """In words."""
        return self.arm if self.seed is None else f"{self.arm}, seed {self.seed}"

    @property
    def trains(self) -> bool:
        """Whether a run belongs to it."""
        return self.seed is not None

    @property
    def trained(self) -> bool:
        """The run is finished, or there is none to make."""
        if not self.trains:
            return True
        try:
            return Run(self.folder / RUN).status == "finished"
        except (RunError, RecordsError):
            return False

    @property
    def done(self) -> bool:
        """Nothing is left to do."""
        return all(answers.done for answers in self.answers) and self.trained

    @property
    def steps_done(self) -> int:
        """Steps that are recorded."""
        metrics = self.folder / RUN / "metrics.jsonl"
        return metrics.read_bytes().count(b"\n") if self.trains and metrics.exists() else 0

    def failure(self) -> str | None:
        """Why it failed when it was last tried; None where it did not."""
        try:
            return str(json.loads((self.folder / FAILED).read_text(encoding="utf-8"))["error"])
        except (OSError, ValueError, KeyError):
            return None

    def told(self, threads: int) -> Mapping[str, Any]:
        """For the process that does it (worker.py)."""
        return {
            "folder": str(self.folder),
            "recipe": self.recipe.model_dump(mode="json"),
            "trains": self.trains,
            "threads": threads,
            "answers": [
                {
                    "file": str(one.file),
                    "prompt": one.prompt,
                    "shots": one.shots,
                    "config": one.config.model_dump(mode="json"),
                }
                for one in self.answers
            ],
        }


def tasks_of(file: StudyFile, pool: Path) -> list[Task]:
    """All tasks: the base first, then seed by seed, so that every arm has its first seed early."""
    found = [_base_task(file, pool)]
    seedless = [arm for arm in file.arms.values() if not arm.trains]
    for arm in seedless:
        of = base_identity(arm.recipe)
        folder = pool / of
        found.append(
            Task(
                arm.name,
                None,
                arm.recipe,
                folder,
                tuple(_answers(file, of, folder, arm.recipe, arm.shots)),
            )
        )
    for seed in file.study.seeds:
        for arm in file.arms.values():
            if arm.trains:
                recipe = file.recipe_of(arm.name, seed)
                of = run_identity(recipe)
                found.append(
                    Task(
                        arm.name,
                        seed,
                        recipe,
                        pool / of,
                        tuple(_answers(file, of, pool / of, recipe, arm.shots)),
                    )
                )
    return found


def _answers(
    file: StudyFile, of: str, folder: Path, recipe: Recipe, shots: bool
) -> Iterator[Answers]:
    for name, config in file.study.benchmarks.items():
        yield _answered(of, folder, recipe, name, config, "own", shots)


def _base_task(file: StudyFile, pool: Path) -> Task:
    recipe, ways = file.base, file.study.fair_base
    of = base_identity(recipe)
    asked: dict[Path, Answers] = {}
    for name, config in file.study.benchmarks.items():
        for prompt in dict.fromkeys(["own", *ways.prompts]):
            for heat in dict.fromkeys([config.temperature, *ways.temperatures]):
                samples = 1 if heat == 0 else config.samples
                way = config.model_copy(update={"temperature": heat, "samples": samples})
                one = _answered(of, pool / of, recipe, name, way, prompt, shots=False)
                asked[one.file] = one
    return Task(BASE, None, recipe, pool / of, tuple(asked.values()))


def _answered(
    of: str,
    folder: Path,
    recipe: Recipe,
    name: str,
    config: BenchmarkConfig,
    prompt: str,
    shots: bool,
) -> Answers:
    key = answers_identity(of, recipe, config, prompt, shots)
    return Answers(name, prompt, config, shots, folder / ANSWERS / f"{key}.parquet")
