"""`oneshot list KIND`: the names that a recipe or a flag may use. Listing imports no engine."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import say

REGISTRIES = {
    "algorithms": "oneshot_rlvr.algorithms:ALGORITHMS",
    "verifiers": "oneshot_rlvr.verifiers:VERIFIERS",
    "arms": "oneshot_rlvr.rewards:ARMS",
    "scores": "oneshot_rlvr.selection:SCORES",
    "engines": "oneshot_rlvr.rollouts:ENGINES",
    "trackers": "oneshot_rlvr.train.trackers:TRACKERS",
    "figures": "oneshot_rlvr.report.figures:FIGURES",
    "exporters": "oneshot_rlvr.backends.exporters:EXPORTERS",
    "families": "oneshot_rlvr.tiny.tasks:FAMILIES",
}


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "list",
        help=f"list {', '.join(KINDS)}",
        description="Lists the names that a recipe or a flag may use, each with a line about it.",
    )
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help=", ".join(KINDS))
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints one name a line, its description beside it."""
    entries = list(FILES[args.kind]() if args.kind in FILES else _entries(REGISTRIES[args.kind]))
    width = max((len(name) for name, _ in entries), default=0)
    for name, text in entries:
        say(f"{name:{width}}  {text}".rstrip())
    return 0


def _recipes() -> Iterable[tuple[str, str]]:
    from oneshot_rlvr.config import load_recipe, packaged_recipes

    return ((name, load_recipe(name).note) for name in packaged_recipes())


def _benchmarks() -> Iterable[tuple[str, str]]:
    from oneshot_rlvr.evaluation import BENCHMARKS

    return ((name, BENCHMARKS.load(name).title) for name in BENCHMARKS)


def _studies() -> Iterable[tuple[str, str]]:
    from oneshot_rlvr.config import packaged_studies, recipes_directory

    for name in packaged_studies():
        file = recipes_directory() / f"{name}.toml"
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        yield name.partition("/")[2], str(tables["title"])


def _study_arms() -> Iterable[tuple[str, str]]:
    from oneshot_rlvr.config import load_recipe, packaged_recipes
    from oneshot_rlvr.study.arms import NAMED

    known = packaged_recipes()
    for name, arm in NAMED.items():
        yield name, arm.note or (load_recipe(str(arm.recipe)).note if arm.recipe in known else "")


FILES = {
    "benchmarks": _benchmarks,
    "recipes": _recipes,
    "studies": _studies,
    "study-arms": _study_arms,
}
KINDS = [*REGISTRIES, *FILES]


def _entries(target: str) -> Iterable[tuple[str, str]]:
    module_name, _, attribute = target.partition(":")
    registry: Mapping[str, Any] = getattr(importlib.import_module(module_name), attribute)
    modules = Counter(e.partition(":")[0] for e in registry.values() if isinstance(e, str))
    for name, entry in registry.items():
        if isinstance(entry, str):
            text = _first_sentence(entry, shared=modules[entry.partition(":")[0]] > 1)
            yield name, text.removeprefix(f"{name}: ")
        else:
            yield name, _described(entry)


def _described(entry: Any) -> str:
    """An entry that is an object: its domain and group, or its own description."""
    words = [getattr(entry, key, None) for key in ("domain", "group", "verifier", "description")]
    return ", ".join(str(word) for word in words if word)


def _about(call: ast.expr) -> str | None:
    """What a made object is said to be: the keyword `about` of the call that makes it."""
    keywords = call.keywords if isinstance(call, ast.Call) else []
    return next((str(ast.literal_eval(k.value)) for k in keywords if k.arg == "about"), None)


def _first_sentence(target: str, *, shared: bool) -> str:
    """What a registry target says of itself, read from its source: no import.

    A file's own docstring, or, where several names share the file, that of the class or function.
    """
    module_name, _, attribute = target.partition(":")
    spec = importlib.util.find_spec(module_name)
    if spec is None or spec.origin is None:
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    text = None if shared else ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
            text = text or ast.get_docstring(node)
        if isinstance(node, ast.Assign) and attribute in map(ast.unparse, node.targets):
            text = text or _about(node.value)
    paragraph = " ".join((text or "").split("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")
