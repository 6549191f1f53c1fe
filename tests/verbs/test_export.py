"""Writing a recipe out, as a Python call."""

from __future__ import annotations

import pytest

from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.errors import ConfigError, RunError, UnknownNameError
from oneshot_rlvr.verbs.export import export


def test_a_recipe_in_any_form_is_written_with_its_command(tmp_path):
    named = export("tiny_one_shot", "trl", tmp_path / "a", overrides={"train.steps": 3})
    resolved = load_recipe("tiny_one_shot", {"train.steps": 3})
    given = export(resolved, "trl", str(tmp_path / "b"))
    assert named.command == f"python {tmp_path / 'a' / 'train.py'}"
    assert [path.name for path in named.files] == [path.name for path in given.files]
    for folder in "ab":
        assert load_recipe(tmp_path / folder / "recipe.toml") == resolved


def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UnknownNameError, match='Did you mean "trl"'):
        export("tiny_one_shot", "trll", out)
    with pytest.raises(ConfigError, match="put the values into the recipe"):
        export(load_recipe("tiny_one_shot"), "trl", out, overrides={"train.steps": 3})
    assert not out.exists()
    out.mkdir()
    (out / "mine").write_text("kept")
    with pytest.raises(RunError, match="is not an empty directory"):
        export("tiny_one_shot", "trl", out)
    assert [path.name for path in out.iterdir()] == ["mine"]
