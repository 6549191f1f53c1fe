"""What a study's claims and controls name must exist, and what its runs need must be here.

Told before anything runs: a claim that could never be judged costs nothing then. Not here: the arms
themselves (`file`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.config import BenchmarkConfig, Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.evaluation import BENCHMARKS, load_benchmark
from oneshot_rlvr.evaluation.prompts import OWN, read_templates
from oneshot_rlvr.examples.readers import is_missing, on_hub
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.study.spec import (
    ALIGNED_BASE,
    BASE,
    OVER_TIME,
    OWN_BASE,
    SHARES,
    Claim,
    Study,
    benchmark_of,
    is_of,
)
from oneshot_rlvr.types import Example

if TYPE_CHECKING:
    from oneshot_rlvr.study.file import Arm, StudyFile


def prompts_exist(study: Study) -> None:
    """ConfigError for a prompt of the fair base that is no template."""
    known = [OWN, *read_templates()]
    for name in study.fair_base.prompts:
        if name not in known:
            raise ConfigError(
                f"fair_base.prompts: {name!r} is no template.{nearest(name, known)} Known: "
                f"{', '.join(known)}"
            )


def names_exist(study: Study, arms: Mapping[str, Arm]) -> None:
    """ConfigError for controls and claims about something that the study does not have."""
    sides = [BASE, OWN_BASE, *arms]
    if "format_only" in arms:
        sides.append(ALIGNED_BASE)
    for name in study.controls:
        _known(name, sides, "controls")
    meant = [_meant(name) for name in study.controls]
    for name in study.controls:
        if meant.count(_meant(name)) > 1:
            raise ConfigError(f"controls: {name} stands there twice, and would be corrected for")
    names = [claim.name for claim in study.claims]
    for claim in study.claims:
        where = f"claim {claim.name!r}"
        if names.count(claim.name) > 1:
            raise ConfigError(f"{where} stands there twice; name each of them")
        if claim.arm:
            _known(claim.arm, [BASE, *arms], where)
        for arm in claim.arms:
            _known(arm, list(arms), where)
        if claim.against is not None:
            _known(claim.against, sides, where)
            if _meant(claim.against) == claim.arm:
                raise ConfigError(f"{where} compares {claim.arm} with itself")
        _known_benchmark(study, claim, where)
        _known_statistic(study, claim, where)
        if claim.statistic in OVER_TIME:
            _has_validations(claim, arms, where)
        for arm in claim.arms:
            if claim.score not in arms[arm].config.scores:
                raise ConfigError(f"{where}: arms.{arm} has no score {claim.score!r}; add it")


def _meant(name: str) -> str:
    return "format_only" if name == ALIGNED_BASE else name


def _known(name: str, known: list[str], where: str) -> None:
    if name not in known:
        hint = " (it needs the arm format_only)" if name == ALIGNED_BASE else ""
        raise ConfigError(
            f"{where}: the study has no arm {name!r}{hint}.{nearest(name, known)} It has "
            f"{', '.join(known)}"
        )


def _known_benchmark(study: Study, claim: Claim, where: str) -> None:
    known = list(study.benchmarks)
    if claim.benchmark is None and len(known) > 1:
        raise ConfigError(f"{where} names no benchmark and there are {', '.join(known)}; name one")
    if claim.benchmark is not None and claim.benchmark not in known:
        raise ConfigError(
            f"{where}: the study has no benchmark {claim.benchmark!r}."
            f"{nearest(claim.benchmark, known)} It has {', '.join(known)}"
        )


def _known_statistic(study: Study, claim: Claim, where: str) -> None:
    name, config = claim.statistic, study.benchmarks[benchmark_of(study, claim)]
    if name in (*SHARES, *OVER_TIME, "rank_correlation"):
        return
    match = re.fullmatch(r"pass@([1-9]\d*)", name)
    if match is None:
        known = [*SHARES, "pass@K", *OVER_TIME, "rank_correlation"]
        raise ConfigError(
            f"{where}: statistic {name!r} is not known.{nearest(name, known)} Known: "
            f"{', '.join(known)}"
        )
    if int(match[1]) > config.samples:
        raise ConfigError(
            f"{where}: {name} needs as many answers to a question and its benchmark has samples = "
            f"{config.samples}"
        )


def _has_validations(claim: Claim, arms: Mapping[str, Arm], where: str) -> None:
    """What is told over a run's time is told by its validations: of a run, and of all of them."""
    for name in filter(None, (claim.arm, claim.against)):
        arm = arms.get(_meant(name))
        if arm is None or not arm.trains:
            raise ConfigError(
                f"{where}: {claim.statistic} is of a run's validations; {name} is no run"
            )
        if arm.recipe.evaluation.validation is None:
            raise ConfigError(
                f"{where}: {claim.statistic} is of a run's validations, and the base recipe has "
                "none; set evaluation.validation"
            )
    if claim.only:
        raise ConfigError(f"{where}: {claim.statistic} is of all validation questions; drop only")


def inputs_exist(file: StudyFile) -> None:
    """ConfigError, DataError for a file of examples or questions, a model's directory, or a group
    of questions that is not here: told before anything runs, not by every run. A plan needs none.
    """
    note = " ".join(file.study.note.split())
    for arm in file.arms.values():
        where = f"{file.path}: arms.{arm.name}"
        path = arm.recipe.examples.path
        if path is not None and not on_hub(path) and is_missing(path):
            raise ConfigError(f"{where}: there is no {path} here")
        if not model_is_here(arm.recipe):
            told = f". The study's note: {note}" if note else "; make or load it first"
            raise ConfigError(f"{where}: there is no {arm.recipe.model.path} here{told}")
    for config in file.study.benchmarks.values():
        if config.benchmark not in BENCHMARKS:
            load_benchmark(config)
    for claim in file.study.claims:
        config = file.study.benchmarks[benchmark_of(file.study, claim)]
        asked = here(config) if claim.only else None
        if asked is None:
            continue
        where = f"{file.path}: claim {claim.name!r}"
        for column, value in claim.only.items():
            name = value.removeprefix("not ")
            known = list(dict.fromkeys(_value(one, column) for one in asked))
            if name not in known:
                raise ConfigError(
                    f"{where}: no question of {config.benchmark} has the {column} {name!r}."
                    f"{nearest(name, known)} There are {', '.join(known)}"
                )
        if not kept(asked, claim.only):
            raise ConfigError(f"{where}: no question of {config.benchmark} is all of {claim.only}")


def model_is_here(recipe: Recipe) -> bool:
    """Whether the model's directory is there; what may lie on a hub counts as there."""
    path = recipe.model.path
    local = path.startswith((".", "/", "~", "runs/")) or path.count("/") > 1
    return not local or Path(path).expanduser().exists()


def here(config: BenchmarkConfig) -> list[Example] | None:
    """A benchmark's questions where they are generated or in a file; None of a published one, which
    may be on its hub."""
    if config.benchmark in BENCHMARKS and BENCHMARKS.load(config.benchmark).generator is None:
        return None
    return load_benchmark(config).examples


def kept(asked: list[Example], only: Mapping[Any, str]) -> list[Example]:
    """The questions of a group, domain or family, as they are recorded with the answers."""
    return [one for one in asked if all(is_of(_value(one, key), w) for key, w in only.items())]


def _value(example: Example, column: str) -> str:
    if column == "group":
        return str(example.extra.get("group", ""))
    return str(getattr(example, column))
