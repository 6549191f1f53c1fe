"""docs/algorithms.md says what the registry holds, and names every key of the loss."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from oneshot_rlvr.algorithms import ALGORITHMS, get_algorithm
from oneshot_rlvr.algorithms.algorithm import Algorithm
from oneshot_rlvr.config import PRESETS, AlgorithmConfig, Recipe
from oneshot_testing import markdown_rows

PAGE = Path(__file__).parents[2] / "docs" / "algorithms.md"
TEXT = PAGE.read_text(encoding="utf-8")


def modules() -> list[ModuleType]:
    return [importlib.import_module(f"oneshot_rlvr.algorithms.{name}") for name in ALGORITHMS]


def named(piece: object) -> str:
    """A piece as FILE.NAME: the file that says what it is, not those that import it."""
    for module in modules():
        for name, value in vars(module).items():
            source = Path(str(module.__file__)).read_text(encoding="utf-8")
            if value is piece and re.search(rf"^(def {name}\(|{name} = )", source, re.M):
                return f"{module.__name__.rpartition('.')[2]}.{name}"
    raise AssertionError(f"{piece} stands in no algorithm's file")


def row(name: str, algorithm: Algorithm) -> str:
    """The line that the page must have about an algorithm, up to what its paper sets."""
    terms = ", ".join(piece.__name__ for piece in algorithm.regularizers)
    cells = (
        f"`{name}`",
        f"`{named(algorithm.advantage)}`",
        f"`{named(algorithm.objective)}`",
        terms,
        AlgorithmConfig(name=name).averaging,
    )
    return "| " + " | ".join(cells) + " |"


def table(heading: str) -> list[str]:
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return lines[2:]  # without its head


def test_the_table_is_the_registry():
    lines = table("The algorithms")
    expected = [row(name, get_algorithm(name)) for name in ALGORITHMS]
    told = {line.split("`")[1] for line in lines}
    assert told == set(ALGORITHMS), (
        f"the first table of docs/algorithms.md and the registry differ in {told ^ set(ALGORITHMS)}"
    )
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_what_an_algorithm_s_paper_sets_is_what_its_preset_sets(name):
    (line,) = [line for line in table("The algorithms") if line.startswith(f"| `{name}` |")]
    told = dict(re.findall(r"`(\w+) = ([^`]+)`", line))
    preset = {key: value for key, value in PRESETS[name].items() if key != "averaging"}
    assert told == {key: str(value).lower() for key, value in preset.items()}


def test_every_key_of_the_loss_is_on_the_page_and_every_key_on_the_page_exists():
    keys = set(re.findall(r"`((?:algorithm|optimizer|train|rollouts|reward|model)\.\w+)`", TEXT))
    known = {
        f"{section}.{field}"
        for section in ("algorithm", "optimizer", "train", "rollouts", "reward", "model")
        for field in type(getattr(Recipe(), section)).model_fields
    }
    assert keys <= known
    wanted = {f"algorithm.{field}" for field in AlgorithmConfig.model_fields}
    assert wanted <= keys, wanted - keys


def test_the_defaults_on_the_page_are_those_of_a_recipe():
    found = 0
    for cells in markdown_rows("\n".join(table("The terms"))):
        section, _, key = cells[1].strip("`").partition(".")
        default = getattr(getattr(Recipe(), section), key)
        assert cells[2] == str(default), cells
        found += 1
    assert found == 5


def test_every_file_that_the_page_names_exists():
    files = re.findall(r"`([\w/]+\.py)`", TEXT)
    assert len(files) >= 6
    source, tests = PAGE.parents[1] / "src/oneshot_rlvr", PAGE.parents[1]
    missing = [f for f in files if not (source / f).exists() and not (tests / f).exists()]
    assert [f for f in missing if "NAME" not in f] == []
