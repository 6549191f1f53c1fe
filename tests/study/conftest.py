"""A small study of a model that learns in a second, and its runs, made once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from oneshot_rlvr.config import Recipe, to_toml


@pytest.fixture(scope="session")
def small_base(
    small_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The recipe that the studies of these tests begin with."""
    path = tmp_path_factory.mktemp("study_base") / "small.toml"
    path.write_text(to_toml(small_recipe({"evaluation.test": None})))
    return path


@pytest.fixture(scope="session")
def small_tables(small_base: Path, small_recipe: Callable[..., Recipe]) -> dict[str, Any]:
    """The tables of a study of three arms and two seeds."""
    test = small_recipe().evaluation.test
    assert test is not None
    return {
        "name": "small",
        "base": str(small_base),
        "seeds": [0, 1],
        "benchmarks": {"test": {"benchmark": "file", "path": test.path, "samples": 4,
                                "temperature": 1.0}},
        "fair_base": {"prompts": ["bare"], "temperatures": [0.0]},
        "arms": {"outcome": {}, "no_update": {},
                 "hot": {"set": {"rollouts.temperature": 1.2}}},
        "controls": ["base", "no_update"],
        "claims": [
            {"name": "training helps", "arm": "outcome", "against": "base", "paper": "+36.8"},
            {"name": "doing nothing does nothing", "arm": "no_update", "against": "base",
             "relation": "within", "threshold": 0.2},
        ],
    }  # fmt: skip


@pytest.fixture
def study_file(small_tables: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes the study with changes: dotted keys, None takes a key out."""

    def write(changes: Mapping[str, Any] | None = None, name: str = "small.toml") -> Path:
        tables = copy.deepcopy(small_tables)
        for key, value in (changes or {}).items():
            *path, leaf = key.split("/")
            here = tables
            for part in path:
                here = here[int(part)] if part.isdigit() else here.setdefault(part, {})
            at = int(leaf) if leaf.isdigit() else leaf
            if value is None:
                del here[at]
            else:
                here[at] = value
        file = tmp_path / name
        file.write_text(tomli_w.dumps(tables))
        return file

    return write


@pytest.fixture(scope="session")
def finished(small_tables: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small study, run to its end."""
    from oneshot_rlvr.verbs.study import study

    folder = tmp_path_factory.mktemp("finished_study")
    file = folder / "small.toml"
    file.write_text(tomli_w.dumps(small_tables))
    states: list[Any] = []
    result = study(file, out=folder / "out", runs=folder / "arms", slots=2, watch=states.append)
    return file, result, states
