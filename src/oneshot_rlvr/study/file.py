"""A study's file read: every arm a recipe, and every mistake told before anything runs.

What is checked here: arms that change something and differ from one another, budgets that match or
say where they do not. What claims and controls name: `checks`.
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
from oneshot_rlvr.evaluation.prompts import OWN
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.rewards import ARMS
from oneshot_rlvr.settings import explain
from oneshot_rlvr.study.arms import NAMED, NamedArm, unknown
from oneshot_rlvr.study.checks import names_exist, prompts_exist
from oneshot_rlvr.study.identity import answers_identity, base_identity, run_identity
from oneshot_rlvr.study.spec import (
    ALIGNED_BASE,
    BASE,
    OWN_BASE,
    ArmConfig,
    Claim,
    FairBase,
    Planning,
    Study,
)

BUDGET = (
    "model.path",
    "rollouts.prompts_per_step",
    "rollouts.group_size",
    "rollouts.max_new_tokens",
    "train.steps",
    "train.updates_per_rollout",
)
"""What arms must share, or say that they do not: else a difference has two causes."""

STUDYS_OWN = ("train.seed", "train.checkpoint_rule", "train.eval_every")
"""Beside `evaluation`, what no arm has of its own: which checkpoint counts, and among how many."""

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
        _arms_differ(study, base, arms)
        prompts_exist(study)
        names_exist(study, arms)
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
        if name in (BASE, OWN_BASE, ALIGNED_BASE):
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
            if key.startswith("evaluation") or key in STUDYS_OWN:
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


def _arms_differ(study: Study, base: Recipe, arms: Mapping[str, Arm]) -> None:
    """Of an arm without training its answers count, of others the run."""

    def answers(recipe: Recipe, shots: bool) -> str:
        of = base_identity(recipe)
        asked = study.benchmarks.values()
        return " ".join(answers_identity(of, recipe, config, OWN, shots) for config in asked)

    seen = {answers(base, shots=False): BASE}
    for arm in arms.values():
        key = run_identity(arm.recipe) if arm.trains else answers(arm.recipe, arm.shots)
        same = seen.setdefault(key, arm.name)
        if same == BASE:
            raise ConfigError(
                f"arms.{arm.name}: changes nothing: it answers as the base does. Take it out"
            )
        if same != arm.name:
            raise ConfigError(f"arms.{same} and arms.{arm.name} are the same run; keep one of them")


def _value(recipe: Recipe, key: str) -> Any:
    here: Any = recipe
    for name in key.split("."):
        here = getattr(here, name)
    return here
