"""A study's folder: what it says that the study was, and what counts as another study."""

from __future__ import annotations

import json
import shutil

import pytest

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.study.file import read_study
from oneshot_rlvr.study.folder import register, study_folder

BASE = 'model.path = "tiny"\n[train]\nsteps = {steps}\n[examples]\npath = "one.jsonl"\n'
ROW = '{{"question": "What is 1 + 1?", "answer": "{}"}}\n'


@pytest.fixture
def begun(study_file, tmp_path):
    """A study with a base recipe of its own and examples beside it, written down."""
    (tmp_path / "mine.toml").write_text(BASE.format(steps=4))
    (tmp_path / "one.jsonl").write_text(ROW.format(2))
    changes = {"base": "mine.toml", "set": {"examples.path": "one.jsonl"}}
    file = study_file(changes)
    out = tmp_path / "out"
    register(out, read_study(file))
    return file, out


def refused(begun) -> str:
    file, out = begun
    with pytest.raises(ConfigError, match="has changed since its runs") as caught:
        study_folder(read_study(file), out)
    return str(caught.value)


def test_a_study_as_it_was_is_found_again(begun):
    file, out = begun
    assert study_folder(read_study(file), out) == out


def test_a_base_recipe_that_changed_makes_another_study(begun):
    (begun[0].parent / "mine.toml").write_text(BASE.format(steps=6))
    assert "its base recipe's train.steps was 4, now 6" in refused(begun)


def test_threads_and_how_often_is_saved_make_no_other_study(begun):
    text = BASE.format(steps=4).replace("[train]", "[train]\nthreads = 2\nsave_every = 1")
    (begun[0].parent / "mine.toml").write_text(text)
    assert study_folder(read_study(begun[0]), begun[1]) == begun[1]


def test_examples_that_changed_make_another_study(begun):
    (begun[0].parent / "one.jsonl").write_text(ROW.format(3))
    assert "examples.path of base holds something else" in refused(begun)


def test_a_folder_that_was_moved_with_its_study_holds_the_same_one(begun, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved") / "here"
    shutil.copytree(begun[0].parent, moved)
    assert study_folder(read_study(moved / begun[0].name), moved / "out") == moved / "out"


def test_a_folder_of_a_version_that_kept_no_recipes_is_still_read(begun):
    file, out = begun
    told = json.loads((out / "study.json").read_text())
    del told["recipes"], told["inputs"]
    (out / "study.json").write_text(json.dumps(told))
    (file.parent / "mine.toml").write_text(BASE.format(steps=6))
    assert study_folder(read_study(file), out) == out


def test_a_recipe_key_that_a_later_version_has_changes_no_study(begun):
    file, out = begun
    told = json.loads((out / "study.json").read_text())
    assert told["recipes"]["base"].pop("optimizer.weight_decay") is not None
    (out / "study.json").write_text(json.dumps(told))
    assert study_folder(read_study(file), out) == out


def test_a_trial_of_fewer_seeds_lies_beside_the_study(study_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read = read_study(study_file())
    register(study_folder(read), read)
    trial = read_study(study_file(), {"seeds": [5, 6]})
    assert study_folder(trial, trial="seeds-5-6").as_posix() == "runs/studies/small-seeds-5-6"
    assert study_folder(read).as_posix() == "runs/studies/small"
