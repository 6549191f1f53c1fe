"""Every key of a recipe as a dotted flag: its option, its help, and the values that were given.

Not here: what a key means (`config` says that, and this prints it).
"""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.config import Recipe, recipe_fields, to_toml
from oneshot_rlvr.settings import none_is_a_value, unknown_key, value_from_text

_PREFIX = "recipe:"


def add_recipe_flags(parser: Parser) -> None:
    """One option per key, grouped by table; the texts are read by type in `overrides`."""
    for table, fields in groupby(recipe_fields(), key=lambda field: field.table):
        group = parser.add_argument_group(f"[{table}]" if table else "recipe, top level")
        if not table:
            group.add_argument(
                "--base",
                dest=f"{_PREFIX}base",
                default=argparse.SUPPRESS,
                metavar="RECIPE",
                help="lay the recipe over this one instead of the base that it names",
            )
        for field in fields:
            absent = "left out" if none_is_a_value(field.annotation) else "none"
            default = json.dumps(field.default).replace("null", absent)
            text = f"{field.description} ({field.type_text}; default {default})"
            group.add_argument(
                f"--{field.key}",
                dest=f"{_PREFIX}{field.key}",
                default=argparse.SUPPRESS,
                metavar="VALUE",
                help=text.replace("%", "%%"),
            )
    parser.unknown = lambda option: unknown_key(option.removeprefix("--"), Recipe)


def overrides(args: argparse.Namespace) -> dict[str, Any]:
    """The dotted keys that were given, each read by its type. ConfigError names key and want."""
    given = {key.removeprefix(_PREFIX): text for key, text in vars(args).items() if ":" in key}
    base = {"base": given["base"]} if "base" in given else {}
    return base | {
        field.key: value_from_text(field, given[field.key])
        for field in recipe_fields()
        if field.key in given
    }


def given_flags(args: argparse.Namespace) -> list[str]:
    """The flags that were given, as words of a command line."""
    return [
        word
        for key, text in vars(args).items()
        if key.startswith(_PREFIX)
        for word in (f"--{key.removeprefix(_PREFIX)}", text)
    ]


def dry_run_text(recipe: Recipe) -> str:
    """The resolved recipe as TOML, its batch numbers in words as comments: itself a recipe."""
    derived, rollouts, steps = recipe.derived(), recipe.rollouts, recipe.train.steps
    updates = recipe.train.updates_per_rollout
    words = [
        f"a step:    {rollouts.prompts_per_step:,} rows x {rollouts.group_size:,} rollouts "
        f"= {derived['rollouts_per_step']:,} rollouts, "
        f"at most {derived['max_tokens_per_step']:,} generated tokens",
        f"an update: {derived['rows_per_update']:,} rows, {derived['rollouts_per_update']:,} "
        f"rollouts; {updates:,} {'update' if updates == 1 else 'updates'} a step",
        f"the run:   {steps:,} {'step' if steps == 1 else 'steps'}, "
        f"{derived['optimizer_steps']:,} optimizer updates, {derived['rollouts_total']:,} rollouts",
    ]
    return to_toml(recipe) + "\n" + "".join(f"# {line}\n" for line in words)
