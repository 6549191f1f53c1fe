"""Runs with bfloat16 products: the same records every time, also across a resume, and corrected."""

import json

import pytest

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.kernels import narrow

pytestmark = pytest.mark.skipif(
    not narrow.instructions(), reason="this CPU multiplies no bfloat16 numbers"
)
BOTH = {"model.autocast": "bfloat16", "rollouts.autocast": "bfloat16"}


def test_the_same_records_also_across_a_resume(small_recipe, tmp_path, watcher, assert_same_run):
    run(small_recipe(BOTH), out=tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(small_recipe(BOTH), out=tmp_path / "run", progress=watcher(after=3))
    run(small_recipe(BOTH), out=tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "straight", tmp_path / "run")


def test_a_sampler_that_rounds_otherwise_is_corrected_for_and_told(small_recipe, tmp_path):
    keys = {"rollouts.autocast": "bfloat16"}
    run(small_recipe(keys), out=tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    assert len(told) == 4
    for line in told:
        assert 0.9 < line["train/sampler_effective_share"] < 1 + 1e-6
        assert 1e-6 < line["train/sampler_gap"] < 0.05
    off = {**keys, "algorithm.sampler_correction": "none"}
    run(small_recipe(off), out=tmp_path / "off")
    other = (tmp_path / "off" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(other[0])["train/loss"] != told[0]["train/loss"]
