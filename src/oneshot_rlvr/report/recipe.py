"""A run's recipe as what it changes of its base, and the command that does the run again.

The base is the packaged recipe of the run's name; of another run of the embedded model the recipe
that is made for it; else the defaults. Not here: reading recipes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import tomli_w

from oneshot_rlvr.config import Recipe, load_recipe, packaged_recipes
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.report.data import RunData, setting
from oneshot_rlvr.settings import flat

# Told elsewhere on the page, or no setting.
_UNTOLD = ("name", "note")


OF_TINY = "tiny_one_shot"
"""The packaged recipe that is made for the embedded model."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that differs: its value in the base (None: not set) and in the run."""

    key: str
    base: str
    run: str


@dataclass(frozen=True, slots=True)
class Against:
    """What a run's recipe is laid against (`base` in words) and where it differs."""

    base: str
    packaged: str
    differences: list[Difference]


def against_base(run: RunData) -> Against | None:
    """None where the run did not record its recipe."""
    if not run.recipe:
        return None
    name, known = str(setting(run.recipe, "name") or ""), packaged_recipes()
    alike = [each for each in known if each == name or each.rpartition("/")[2] == name]
    if not alike and setting(run.recipe, "model.path") == "tiny":
        alike = [OF_TINY]  # what `oneshot init` writes is laid over it
    base, packaged = Recipe(), ""
    if alike:
        # Where the file beside us is broken, the defaults still tell something.
        with suppress(ConfigError):
            base, packaged = load_recipe(alike[0]), alike[0]
    theirs, ours = flat(base.model_dump(mode="json")), flat(run.recipe)
    told = [
        Difference(key, shown(theirs.get(key, _within(base, key))), shown(ours.get(key)))
        for key in dict.fromkeys((*(_table_off(key, ours) for key in theirs), *ours))
        if key.split(".")[-1] not in _UNTOLD
        and _recorded(key, ours)
        and _same(theirs.get(key, _within(base, key))) != _same(ours.get(key))
    ]
    named = f"the packaged recipe {packaged}" if packaged else "the defaults"
    return Against(named, packaged, told)


def command(run: RunData) -> str:
    """What to type to do it again; of a recipe that flags cannot tell, as a file."""
    against = against_base(run)
    if against is None:
        return ""
    ours = flat(run.recipe)
    words = ["oneshot", "train", against.packaged or "recipe.toml"]
    if against.packaged:
        for difference in against.differences:
            value = ours.get(difference.key)
            if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
                words[2:] = ["recipe.toml"]
                break
            words += [f"--{difference.key}", _as_flag(value)]
    return shlex.join([*words, "--out", "runs/again"])


def toml(recipe: Mapping[str, Any]) -> str:
    """The recipe as TOML without what is unset; empty for none."""
    return tomli_w.dumps(_without_none(recipe)) if recipe else ""


def shown(value: Any) -> str:
    """A setting as the page shows it."""
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _recorded(key: str, recipe: Mapping[str, Any]) -> bool:
    """Whether the recipe says anything of a key: itself, or that its whole table is off. A recipe
    of an earlier version does not know the keys that came later."""
    tables = key.split(".")
    return any(".".join(tables[:depth]) in recipe for depth in range(1, len(tables) + 1))


def _within(recipe: Recipe, key: str) -> Any:
    """What a recipe says of a table, without what is unset; None where it says nothing."""
    found = setting(recipe.model_dump(mode="json", exclude_none=True), key)
    return found if isinstance(found, Mapping) else None


def _table_off(key: str, recipe: Mapping[str, Any]) -> str:
    """The table of a key where the recipe has it off: one difference, and one flag that says it."""
    tables = key.split(".")
    return next(
        (
            table
            for depth in range(1, len(tables))
            if (table := ".".join(tables[:depth])) in recipe and recipe[table] is None
        ),
        key,
    )


def _as_flag(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return json.dumps(value)
    return str(value)


def _same(value: Any) -> str:
    """1 and 1.0 are one setting; nothing and an empty list are not."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return json.dumps(float(value) if number else value, sort_keys=True, default=str)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_none(item) for k, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value if item is not None]
    return value
