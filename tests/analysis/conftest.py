"""The report's synthetic run, for what is analysed before it is reported."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    path = Path(__file__).parents[1] / "report" / "synthetic_run.py"
    spec = importlib.util.spec_from_file_location("synthetic_run", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build(synthetic: ModuleType) -> Callable[..., Path]:
    return synthetic.build


@pytest.fixture(scope="session")
def finished_run(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("runs") / "finished")
