"""A browser for the tests that need one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from oneshot_testing import load_file


@pytest.fixture(scope="session")
def chromium() -> ModuleType:
    return load_file(Path(__file__).with_name("chromium.py"))
