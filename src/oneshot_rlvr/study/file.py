"""A study's file read: every arm a recipe, and every mistake told before anything runs.

What is checked here: names that exist, arms that change something and differ from one another,
budgets that match or say where they do not, claims about arms and benchmarks that the study has.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from oneshot_rlvr.algorithms import ALGORITHMS
from oneshot_rlvr.config import (
    BenchmarkConfig,
    Recipe,
    load_layers,
    packaged_recipes,
    packaged_studies,
    recipes_directory,
)
from oneshot_rlvr.errors import ConfigError, UnknownNameError
from oneshot_rlvr.evaluation import BENCHMARKS, load_benchmark
from oneshot_rlvr.evaluation.prompts import OWN, read_templates
from oneshot_rlvr.examples.readers import is_missing, on_hub
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.rewards import ARMS
from oneshot_rlvr.settings import explain
from oneshot_rlvr.study.arms import NAMED, NamedArm, unknown
from oneshot_rlvr.study.identity import base_identity, run_identity
from oneshot_rlvr.study.spec import ALIGNED_BASE, BASE, ArmConfig, Claim, FairBase, Planning, Study

BUDGET = (
    "model.path",
    "rollouts.prompts_per_step",
    "rollouts.group_size",
    "rollouts.max_new_tokens",
    "train.steps",
    "train.updates_per_rollout",
)
"""What arms must share, or say that they do not: else a difference has two causes."""

SHARES = ("accuracy", "strict", "lenient", "score", "boxed", "recheck", "truncated")
OVER_TIME = ("post_saturation", "over_fitting")

_NESTED: Mapping[str, type[BaseModel]] = {
    "arms": ArmConfig,
    "benchmarks": BenchmarkConfig,
    "fair_base": FairBase,
    "planning": Planning,
}


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm with its recipe, of any seed (`recipe_of` sets it)."""

    name: str
    config: ArmConfig
    recipe: Recipe
    trains: bool
    shots: bool
    note: str
    differs: Mapping[str, tuple[Any, Any]]
    """Keys of the budget with the base recipe's value and this arm's."""


@dataclass(frozen=True, slots=True)
class StudyFile:
    """A study, its arms, and the file as it stands on disk."""

    path: Path
    text: str
    study: Study
    base: Recipe
    arms: Mapping[str, Arm]

    @property
    def sha256(self) -> str:
        """Hex, of the file's bytes."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()

    def recipe_of(self, arm: str, seed: int) -> Recipe:
        """The recipe of one run."""
        recipe = self.arms[arm].recipe
        train = recipe.train.model_copy(update={"seed": seed})
        return recipe.model_copy(update={"train": train, "name": f"{arm}-{seed}"})


def read_study(path: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyFile:
    """A TOML file, or the name of a study that ships (`controls`). ConfigError for a mistake.

    `overrides` replace whole keys at the top (`seeds`), for tests and smaller trials; the file's
    hash stays the file's, so they are part of the registered study.
    """
    file = _find(Path(path))
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: not UTF-8 text (byte {error.start}); a study is a TOML file."
        ) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}.") from None
    try:
        study = _parse(_beside({**data, **(overrides or {})}, file.parent))
        base, arms = _arms(study, file)
        _budgets_match(base, arms)
        _arms_differ(arms)
        _prompts_exist(study)
        _names_exist(study, arms)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    return StudyFile(file, text, study, base, arms)


def _find(path: Path) -> Path:
    if path.is_dir():
        raise ConfigError(f"{path} is a directory; wanted a study file (TOML).")
    if path.is_file():
        return path
    known = [name.partition("/")[2] for name in packaged_studies()]
    name = path.with_suffix("").as_posix() if path.suffix == ".toml" else path.as_posix()
    name = name.removeprefix("recipes/").removeprefix("studies/")
    if name in known:
        return recipes_directory() / "studies" / f"{name}.toml"
    raise ConfigError(
        f"no study at {path}.{nearest(name, known)} Give a TOML file or the name of a packaged "
        f"study: {', '.join(known)}."
    )


def _beside(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The tables with the paths of files that lie beside the study's own file made whole; others
    are relative to the current folder, as in a recipe."""

    def walked(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: walked(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [walked(inner, "") for inner in value]
        is_path = key.rpartition(".")[2] == "path" and isinstance(value, str)
        return str(folder / value) if is_path and (folder / value).is_file() else value

    return {key: walked(value, key) for key, value in data.items()}


def _parse(data: Mapping[str, Any]) -> Study:
    """Table by table, so that a mistake is told with the table's own keys."""
    made: dict[str, Any] = {}
    for key, value in data.items():
        model = _NESTED.get(key)
        if key in ("arms", "benchmarks") and model is not None:
            tables = _tables(value, f"[{key}.NAME]")
            made[key] = {name: _made(model, t, f"{key}.{name}") for name, t in tables.items()}
        elif key == "claims":
            if not isinstance(value, list):
                raise ConfigError("claims is no list of tables; write [[claims]]")
            made[key] = [_made(Claim, t, f"claim {n}") for n, t in enumerate(value, start=1)]
        else:
            made[key] = value if model is None else _made(model, value, key)
    try:
        return Study.model_validate(made, strict=True)
    except ValidationError as error:
        raise ConfigError(explain(error, Study)) from None


def _made(model: type[BaseModel], value: Any, where: str) -> BaseModel:
    try:
        return model.model_validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, model)}") from None


def _tables(value: Any, wanted: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(f"wanted one or more tables {wanted}")
    for name in value:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
            raise ConfigError(f"{wanted}: {name!r} is no name of letters, digits, _, . and -")
    return value


def _arms(study: Study, file: Path) -> tuple[Recipe, dict[str, Arm]]:
    beside = file.parent / study.base
    start = str(beside) if beside.is_file() else study.base
    rule = {"train.checkpoint_rule": study.checkpoint, "evaluation.test": None}
    base = load_layers(start, study.set, rule)
    found = {}
    for name, config in study.arms.items():
        if name in (BASE, ALIGNED_BASE):
            raise ConfigError(f"arms.{name}: this name is kept for the base model; choose another")
        named = _named(name, config)
        layers: list[str | Mapping[str, Any]] = [study.set]
        if named.recipe is not None:
            if named.recipe not in packaged_recipes():
                raise ConfigError(f"arms.{name}: this version has no recipe {named.recipe}")
            layers.append(named.recipe)
        layers += [named.set, config.set]
        given = {*named.set, *config.set}
        for key in given:
            if key.startswith("evaluation.test") or key in ("train.seed", "train.checkpoint_rule"):
                raise ConfigError(
                    f"arms.{name}: sets {key}; arms answer the same questions after the same seeds "
                    "and by the same checkpoint rule, which the study's own keys say"
                )
        if named.needs and not set(named.needs) & set(config.set):
            raise ConfigError(
                f"arms.{name}: what it trains on is the study's to say: set one of "
                f"{', '.join(named.needs)}"
            )
        try:
            recipe = load_layers(start, *layers, rule, {"name": name})
        except ConfigError as error:
            raise ConfigError(f"arms.{name}: {error}") from None
        try:
            _ = ARMS[recipe.reward.arm], ALGORITHMS[recipe.algorithm.name]
        except UnknownNameError as error:
            raise ConfigError(f"arms.{name}: {error}") from None
        recipe = recipe.model_copy(update={"note": config.note or named.note or recipe.note})
        trains = named.trains if config.trains is None else config.trains
        _refuse_unchanged(name, recipe, base, bool(given or named.recipe), named, trains)
        differs = {
            key: (_value(base, key), _value(recipe, key))
            for key in BUDGET
            if _value(base, key) != _value(recipe, key)
        }
        allowed = {*named.differs, *config.differs}
        for key in differs:
            if key not in allowed:
                was, now = differs[key]
                raise ConfigError(
                    f"arms.{name}: {key} is {now!r} and the other arms' {was!r}; a difference "
                    f'would have two causes. Match it, or say so: differs = ["{key}"]'
                )
        found[name] = Arm(name, config, recipe, trains, named.shots, recipe.note, differs)
    return base, found


def _named(name: str, config: ArmConfig) -> NamedArm:
    wanted = config.named or name
    if wanted in NAMED:
        return NAMED[wanted]
    if config.named is not None or (not config.set and config.trains is not False):
        raise ConfigError(f"arms.{name}: {unknown(wanted)} Or give it keys of its own: set = {{}}")
    return NamedArm()


def _refuse_unchanged(
    name: str, recipe: Recipe, base: Recipe, given: bool, named: NamedArm, trains: bool
) -> None:
    """The method itself, as the base recipe has it, is an arm; overrides without effect are not."""
    if named is NAMED["outcome"] or not given or not trains:
        return
    if run_identity(recipe) == run_identity(base):
        raise ConfigError(
            f"arms.{name}: changes nothing: all that it sets is so in the base recipe. Take it "
            'out, or name the base recipe as it is (named = "outcome")'
        )


def _budgets_match(base: Recipe, arms: Mapping[str, Arm]) -> None:
    for arm in arms.values():
        unknown_keys = set(arm.config.differs) - set(BUDGET)
        if unknown_keys:
            raise ConfigError(
                f"arms.{arm.name}: differs names {sorted(unknown_keys)[0]!r}, which is no key of "
                f"the budget ({', '.join(BUDGET)})"
            )


def _arms_differ(arms: Mapping[str, Arm]) -> None:
    seen: dict[str, str] = {}
    for arm in arms.values():
        trained = run_identity(arm.recipe)
        key = trained if arm.trains else f"{base_identity(arm.recipe)} {arm.recipe.examples}"
        key += " with the examples shown" if arm.shots else ""
        same = seen.setdefault(key, arm.name)
        if same != arm.name:
            raise ConfigError(f"arms.{same} and arms.{arm.name} are the same run; keep one of them")


def _prompts_exist(study: Study) -> None:
    known = [OWN, *read_templates()]
    for name in study.fair_base.prompts:
        if name not in known:
            raise ConfigError(
                f"fair_base.prompts: {name!r} is no template.{nearest(name, known)} Known: "
                f"{', '.join(known)}"
            )


def inputs_exist(file: StudyFile) -> None:
    """ConfigError, DataError for a file of examples or questions that is not here: told before
    anything runs, not by every run. A plan needs none of them."""
    for arm in file.arms.values():
        path = arm.recipe.examples.path
        if path is not None and not on_hub(path) and is_missing(path):
            raise ConfigError(f"{file.path}: arms.{arm.name}: there is no {path} here")
    for config in file.study.benchmarks.values():
        if config.benchmark not in BENCHMARKS:
            load_benchmark(config)


def _names_exist(study: Study, arms: Mapping[str, Arm]) -> None:
    sides = [BASE, *arms]
    if "format_only" in arms:
        sides.append(ALIGNED_BASE)
    for name in study.controls:
        _known(name, sides, "controls")
    names = [claim.name for claim in study.claims]
    for claim in study.claims:
        where = f"claim {claim.name!r}"
        if names.count(claim.name) > 1:
            raise ConfigError(f"{where} stands there twice; name each of them")
        for arm in filter(None, [claim.arm, *claim.arms]):
            _known(arm, [BASE, *arms], where)
        if claim.against is not None:
            _known(claim.against, sides, where)
            if claim.against == claim.arm:
                raise ConfigError(f"{where} compares {claim.arm} with itself")
        _known_benchmark(study, claim, where)
        _known_statistic(study, claim, where)
        for arm in claim.arms:
            if claim.score not in arms[arm].config.scores:
                raise ConfigError(f"{where}: arms.{arm} has no score {claim.score!r}; add it")


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
        if name in OVER_TIME and claim.arm in (BASE,):
            raise ConfigError(f"{where}: {name} is of a run's validations; {BASE} is no run")
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


def benchmark_of(study: Study, claim: Claim) -> str:
    """The benchmark that a claim is about."""
    return claim.benchmark or next(iter(study.benchmarks))


def _value(recipe: Recipe, key: str) -> Any:
    here: Any = recipe
    for name in key.split("."):
        here = getattr(here, name)
    return here
