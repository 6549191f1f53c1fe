"""Every verb of the package and every command that does work is a file of `verbs/`.

docs/adding.md has all the places of a new one.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import tomllib
from pathlib import Path

import pytest

import oneshot_rlvr
from oneshot_rlvr import cli, verbs

ROOM = Path(verbs.__file__).parent

# What several verbs need, beside them.
SHARED = {"aligning", "forecast", "loading", "mixing", "pool", "subjects", "training_sets"}

# Ways of `oneshot evaluate` that are asked for by an option, and what their files offer.
WAYS = {
    "ask": "ask",
    "compare": "compare_sides",
    "contamination": "probe_contamination",
    "regrade": "regrade",
}

WITHOUT_A_VERB = {
    "demo": "the verb train, with a recipe and a directory given",
    "list": "prints the names in registries",
    "tiny": "tools of the embedded world, with verbs of its own",
    "verify": "prints one verifier's word on texts",
}
"""Commands that are words and tables only, or another verb's, and why."""


NAMED_OTHERWISE = {"import": "import_model"}  # a word of Python


def commands() -> list[str]:
    """The subcommands that the terminal really offers."""
    found = [a for a in cli.build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return list(found[0].choices)


def files() -> set[str]:
    return {path.stem for path in ROOM.glob("*.py")} - {"__init__"}


def imported_by(module: str) -> set[str]:
    """Modules that a module imports from, inside its functions too."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("name", [c for c in commands() if c not in WITHOUT_A_VERB])
def test_a_command_that_does_work_asks_the_verb_of_its_name(name):
    command, name = name, NAMED_OTHERWISE.get(name, name)
    if name not in files():
        pytest.fail(
            f"the command {name} has no verbs/{name}.py; write it, or say in WITHOUT_A_VERB of "
            "this test why it needs none"
        )
    function = getattr(importlib.import_module(f"oneshot_rlvr.verbs.{name}"), name)
    assert function.__doc__, f"verbs/{name}.py:{name} has no docstring"
    asked = imported_by(cli.VERBS[command])
    # `evaluate` asks through the sides of a comparison, of which there may be one alone.
    wanted = f"oneshot_rlvr.verbs.{'compare' if name == 'evaluate' else name}"
    assert wanted in asked, f"{cli.VERBS[command]} does not import {wanted}"


def test_the_exceptions_are_commands_without_a_file_of_their_own():
    assert set(WITHOUT_A_VERB) <= set(commands())
    assert not set(WITHOUT_A_VERB) & files()


@pytest.mark.parametrize("name", sorted(set(oneshot_rlvr.__all__) - {"__version__"}))
def test_what_the_package_exposes_is_the_verb_of_that_name(name):
    function = getattr(importlib.import_module(f"oneshot_rlvr.verbs.{name}"), name)
    assert inspect.signature(getattr(oneshot_rlvr, name)) == inspect.signature(function)
    assert name in commands()


@pytest.mark.parametrize("name", WAYS)
def test_a_way_of_evaluating_is_a_file_that_the_command_asks(name):
    assert callable(getattr(importlib.import_module(f"oneshot_rlvr.verbs.{name}"), WAYS[name]))
    assert f"oneshot_rlvr.verbs.{name}" in imported_by("oneshot_rlvr.cli.evaluate")


def test_the_room_holds_verbs_their_ways_and_what_they_share_and_its_page_names_them():
    verbs_of = {NAMED_OTHERWISE.get(name, name) for name in commands()}
    known = (verbs_of - set(WITHOUT_A_VERB)) | set(WAYS) | SHARED
    assert not files() - known, (
        f"verbs/ has {files() - known}: give a verb its line in cli/__init__.py:VERBS; a way of "
        "evaluating stands in WAYS, what verbs share in SHARED of this test"
    )
    assert not known - files(), f"verbs/ has no file for {known - files()}"
    assert verbs.__doc__ is not None
    named = {line.split(".py")[0] for line in verbs.__doc__.splitlines() if ".py " in line}
    assert named == files(), (
        f"the docstring of verbs/__init__.py and the room differ in {named ^ files()}"
    )


def test_every_file_of_the_room_has_its_layer():
    contracts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    (layers,) = [
        contract["layers"]
        for contract in contracts["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["oneshot_rlvr.verbs"]
    ]
    placed = {name.strip() for layer in layers for name in layer.split("|")}
    assert placed == files(), (
        f"the layers of oneshot_rlvr.verbs in pyproject.toml and the room differ in "
        f"{placed ^ files()}"
    )


def test_verbs_print_nothing():
    for path in ROOM.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert "print" not in {func.id for func in called if isinstance(func, ast.Name)}, path.name
        assert not {"argparse", "rich", "sys"} & {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }, path.name
