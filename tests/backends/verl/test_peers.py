"""The Python that has verl is found in one order, and what it lacks is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oneshot_rlvr.backends.verl import peers
from oneshot_rlvr.errors import ConfigError, MissingDependencyError


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A folder with no environment in it or above it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(peers.VARIABLE, raising=False)
    monkeypatch.setattr(peers, "ENVIRONMENT", ".venv-that-nobody-has")
    return tmp_path


def environment(folder: Path) -> Path:
    """An environment whose Python is this one."""
    python = folder / peers.ENVIRONMENT / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return python


def test_the_recipe_s_python_comes_first(nowhere, monkeypatch):
    environment(nowhere)
    monkeypatch.setenv(peers.VARIABLE, "/bin/true")
    assert peers.find_python(sys.executable) == Path(sys.executable)


def test_then_the_variable_s(nowhere, monkeypatch):
    environment(nowhere)
    monkeypatch.setenv(peers.VARIABLE, sys.executable)
    assert peers.find_python() == Path(sys.executable)


def test_then_an_environment_here_or_above(nowhere, monkeypatch):
    python = environment(nowhere)
    below = nowhere / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert peers.find_python() == python


def test_a_named_python_that_is_not_there_is_refused(nowhere, monkeypatch):
    with pytest.raises(ConfigError, match=r"backend\.python is /no/python"):
        peers.find_python("/no/python")
    monkeypatch.setenv(peers.VARIABLE, "/no/other")
    with pytest.raises(ConfigError, match=peers.VARIABLE):
        peers.find_python()


def test_without_any_the_way_to_one_is_told(nowhere, monkeypatch):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="make peers"):
        peers.find_python()


def test_what_a_python_lacks_is_named(monkeypatch):
    monkeypatch.setattr(peers, "NEEDED", ("a-package-that-nobody-has", "torch"))
    with pytest.raises(MissingDependencyError, match="lacks a-package-that-nobody-has;"):
        peers.check(Path(sys.executable), "hf")


def test_vllm_is_needed_only_where_it_samples(monkeypatch):
    monkeypatch.setattr(peers, "NEEDED", ("torch",))
    found = dict.fromkeys((*peers.OURS, "torch"), "1") | dict.fromkeys(peers.OPTIONAL)
    monkeypatch.setattr(peers, "versions", lambda python: found)
    assert peers.check(Path(sys.executable), "hf")["torch"] == "1"
    with pytest.raises(MissingDependencyError, match=r'rollouts\.engine = "hf"'):
        peers.check(Path(sys.executable), "vllm")


def test_a_file_that_is_no_python_is_told():
    with pytest.raises(MissingDependencyError, match="cannot be run"):
        peers.versions(Path("/bin/false"))
