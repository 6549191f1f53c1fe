"""A fork goes on from another run's checkpoint under a changed recipe, and says from where."""

from __future__ import annotations

import shutil

import pytest

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.errors import ConfigError, RecordsError, RunError
from oneshot_rlvr.records import Run, RunWriter

MORE = {"train.steps": 6}


def test_a_fork_that_changes_nothing_but_the_length_repeats_the_longer_run(
    small_recipe, small, tmp_path
):
    run(small_recipe(MORE), out=tmp_path / "straight")
    forked = tmp_path / "fork"
    assert run(small_recipe(MORE), out=forked, fork=f"{small}@2").summary["step"] == 6
    lines = (tmp_path / "straight/metrics.jsonl").read_text().splitlines()
    assert (forked / "metrics.jsonl").read_text().splitlines() == lines[2:]
    for name in ("final", "checkpoints/step-000006"):
        one, other = (folder / name for folder in (tmp_path / "straight", forked))
        same = (one / "model.safetensors").read_bytes() == (
            other / "model.safetensors"
        ).read_bytes()
        assert same, name
    assert Run(forked).rollout_steps() == [3, 4, 5, 6]
    # What it begins with is measured as its parent's step.
    assert Run(forked).evaluations()[0:1] == [("test", 0)]
    assert ("validation", 2) in Run(forked).evaluations()
    one = Run(small).summary("validation", 2)["overall"]["accuracy"]
    assert Run(forked).summary("validation", 2)["overall"]["accuracy"] == one


def test_provenance_stands_in_run_json(small_recipe, small, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    run(small_recipe({**MORE, "optimizer.learning_rate": 0.02}), out=first, fork=str(small))
    told = Run(first).info["fork"]
    assert (told["run"], told["step"], told["name"]) == (str(small.resolve()), 4, "small")
    assert told["fingerprint"] == Run(small).info["fingerprint"]
    assert Run(first).info["recipe"]["optimizer"]["learning_rate"] == 0.02
    assert Run(first).metrics()["optimizer/learning_rate"].tolist() == [0.02] * 2
    run(small_recipe({"train.steps": 7}), out=second, fork=f"{first}@6")
    assert Run(second).info["fork"]["fork"] == told


def test_a_changed_recipe_may_learn_other_things(small_recipe, small, tmp_path, watcher):
    """A critic that the parent did not have begins anew, and that is said."""
    watch = watcher()
    changed = {**MORE, "algorithm.name": "ppo", "algorithm.critic": "own"}
    run(small_recipe(changed), out=tmp_path / "fork", fork=str(small), progress=watch)
    assert watch.steps == [5, 6]
    assert [n for n in watch.notes if n.startswith("warning: what learns beside the policy begins")]


def test_an_interrupted_fork_goes_on_to_the_same_bits_without_its_parent(
    small_recipe, small, tmp_path, watcher, assert_same_run
):
    recipe, parent = small_recipe({"train.steps": 8}), tmp_path / "parent"
    shutil.copytree(small, parent)
    run(recipe, out=tmp_path / "straight", fork=f"{small}@4")
    out = tmp_path / "fork"
    with pytest.raises(KeyboardInterrupt):
        run(recipe, out=out, fork=f"{parent}@4", progress=watcher(after=5))
    shutil.rmtree(parent)
    again = watcher()
    run(recipe, out=out, resume=True, progress=again)
    assert again.steps == [5, 6, 7, 8]  # its own copy of step 4
    assert_same_run(tmp_path / "straight", out)


def test_a_fork_that_lost_its_first_checkpoint_takes_it_from_its_parent_once_more(
    small_recipe, small, tmp_path, watcher
):
    recipe, out, parent = small_recipe(MORE), tmp_path / "fork", tmp_path / "parent"
    shutil.copytree(small, parent)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, out=out, fork=f"{parent}@4", progress=watcher(at="forking"))
    assert not (out / "checkpoints").exists()
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    assert run(recipe, out=out, resume=True).summary["step"] == 6
    assert Run(out).rollout_steps() == [5, 6]
    shutil.rmtree(parent)
    with pytest.raises(RunError, match="no longer has the one of step 4; it cannot be continued"):
        run(recipe, out=copy, resume=True)


@pytest.mark.parametrize(
    ("fork", "error", "words"),
    [
        ("{small}@3", RunError, "has no checkpoint of step 3. It has checkpoints of steps 2, 4"),
        ("{small}/nothing", RunError, "holds no run"),
        ("{damaged}@4", RecordsError, "is damaged"),
        ("{short}", ConfigError, "set train.steps to more than 6"),
    ],
)
def test_what_cannot_be_forked_is_refused_in_words(
    small_recipe, small, tmp_path, fork, error, words
):
    damaged, short = tmp_path / "damaged", tmp_path / "short"
    shutil.copytree(small, damaged)
    (damaged / "checkpoints/step-000004/model.safetensors").write_bytes(b"")
    if "short" in fork:
        run(small_recipe(MORE), out=short)
    with pytest.raises(error, match=words):
        run(
            small_recipe(MORE),
            out=tmp_path / "fork",
            fork=fork.format(small=small, damaged=damaged, short=short),
        )
    assert not (tmp_path / "fork").exists()


def test_a_resume_with_another_fork_is_refused(small_recipe, small, tmp_path, watcher):
    out = tmp_path / "fork"
    with pytest.raises(KeyboardInterrupt):
        run(small_recipe(MORE), out=out, fork=f"{small}@4", progress=watcher(after=5))
    with pytest.raises(RunError, match=r"holds a fork of .*@4, not of"):
        run(small_recipe(MORE), out=out, fork=f"{small}@2", resume=True)
    with pytest.raises(RunError, match="is no fork"):
        run(small_recipe(), out=small, fork=f"{small}@2", resume=True)
    assert run(small_recipe(MORE), out=out, fork=str(small), resume=True).summary["step"] == 6


def test_a_run_of_another_trainer_is_refused_with_the_way_out(small_recipe, tmp_path):
    with RunWriter.create(tmp_path / "verl", {"name": "x", "backend": {"name": "verl"}}):
        pass
    with pytest.raises(RunError, match=r"trained by verl.*as model\.path"):
        run(small_recipe(MORE), out=tmp_path / "fork", fork=str(tmp_path / "verl"))
