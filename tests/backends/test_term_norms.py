"""Each term's gradient norm: right by itself, and without a trace in the run."""

from __future__ import annotations

import json
import math

import pytest
import torch

from oneshot_rlvr.algorithms.batch import LossOutputs
from oneshot_rlvr.backends.local import run
from oneshot_rlvr.train.term_norms import term_norms

PREFIX = "train/gradient_norm/"


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_norms_by_hand_summed_over_parts():
    a, b = (torch.nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2))

    def parts():
        for scale in (1.0, 3.0):  # a's gradient is 4 * (3, 0), b's 4 * (0, 1)
            weighted = {"one": scale * (3 * a[0] + b[1]), "none": torch.tensor(scale)}
            yield LossOutputs(a.sum(), {}, {}, weighted)

    assert term_norms(parts, [a, b]) == {"one": pytest.approx(4 * math.sqrt(10)), "none": 0.0}
    assert a.grad is None


def test_measuring_changes_nothing_else(small_recipe, small, tmp_path):
    recipe = small_recipe({"train.term_norms_every": 2, "train.micro_batch_tokens": 40})
    plain = small_recipe({"train.micro_batch_tokens": 40})
    run(plain, out=tmp_path / "plain")
    run(recipe, out=tmp_path / "measured")
    told, expected = lines(tmp_path / "measured"), lines(tmp_path / "plain")
    for line, other in zip(told, expected, strict=True):
        norms = {key: line.pop(key) for key in list(line) if key.startswith(PREFIX)}
        assert line == other
        wanted = {"policy_loss", "kl", "entropy_nats"} if line["step"] % 2 == 0 else set()
        assert norms.keys() == {f"{PREFIX}{term}" for term in wanted}
        if norms:
            total = other["train/gradient_norm"]
            assert total <= sum(norms.values()) * (1 + 1e-5)
            assert norms[f"{PREFIX}policy_loss"] == pytest.approx(total, rel=0.1)
            assert norms[f"{PREFIX}entropy_nats"] > 0
    saved = "checkpoints/step-000004"
    for file in ("final/model", f"{saved}/optimizer", f"{saved}/random"):
        one, other = (tmp_path / name / f"{file}.safetensors" for name in ("plain", "measured"))
        assert one.read_bytes() == other.read_bytes(), file


def test_the_only_term_has_the_whole_norm(small_recipe, tmp_path):
    alone = {"algorithm.kl_coefficient": 0.0, "algorithm.entropy_coefficient": 0.0}
    every = {"train.term_norms_every": 1, "train.steps": 2}
    run(small_recipe({**alone, **every}), out=tmp_path / "run")
    for line in lines(tmp_path / "run"):
        norm = line["train/gradient_norm"]
        assert norm > 0
        assert line[f"{PREFIX}policy_loss"] == pytest.approx(norm, rel=1e-5)
        assert f"{PREFIX}kl" not in line
