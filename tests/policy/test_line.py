"""Weights on a line: a numpy twin, exact ends, masters of 16-bit weights, straightness by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from oneshot_rlvr.errors import ModelError
from oneshot_rlvr.policy.line import (
    exact_weights,
    extrapolated,
    put_on_line,
    refuse_other_models,
    straightness,
)
from oneshot_rlvr.policy.random_model import random_policy


def test_the_line_agrees_with_numpy_in_float64():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(5, 7)).astype(np.float32) for _ in range(2))
    found = extrapolated(torch.from_numpy(a), torch.from_numpy(b), 2.5)
    assert found.dtype == torch.float64
    twin = a.astype(np.float64) + 2.5 * (b.astype(np.float64) - a.astype(np.float64))
    np.testing.assert_allclose(found.numpy(), twin, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("reach", "end"), [(0.0, 0), (1.0, 1)])
def test_the_ends_of_the_line_are_the_two_checkpoints_bit_for_bit(reach, end):
    one, two = (dict(random_policy(seed=seed).model.named_parameters()) for seed in (1, 2))
    policy = random_policy(seed=3)
    put_on_line(policy, one, two, reach)
    for name, parameter in policy.model.named_parameters():
        assert torch.equal(parameter, (one, two)[end][name]), name


def test_a_step_below_the_spacing_of_16_bits_is_taken_from_the_masters(tmp_path):
    # 1 and 1 + 2^-10: bfloat16 rounds both to 1. On the line to 4 times the way: 1 + 2^-8.
    policies = []
    for number in range(2):
        policy = random_policy(layers=1, dtype=torch.bfloat16)
        folder = tmp_path / str(number)
        folder.mkdir()
        masters = {}
        with torch.no_grad():
            for index, parameter in enumerate(policy.model.parameters()):
                exact = torch.full(parameter.shape, 1.0 + number * 2.0**-10)
                parameter.copy_(exact)
                masters[f"{index}.master"] = exact
        save_file(masters, folder / "optimizer.safetensors")
        policies.append((policy, exact_weights(policy, folder, "optimizer.safetensors")))
    (policy, before), (_, after) = policies
    put_on_line(policy, before, after, 8.0)
    for parameter in policy.model.parameters():
        assert torch.equal(parameter, torch.full_like(parameter, 1.0 + 2.0**-7))
    # Without masters the two are one, and so is the line.
    put_on_line(policy, *(exact_weights(p, tmp_path, "none") for p, _ in policies[1:] * 2), 8.0)


def test_a_tied_head_has_both_its_names():
    weights = exact_weights(random_policy(tie_word_embeddings=True), *_nowhere())
    assert weights["lm_head.weight"] is weights["model.embed_tokens.weight"]


def _nowhere():
    from pathlib import Path

    return Path("nowhere"), "optimizer.safetensors"


def weights(*values: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor(values)}


def test_straightness_by_hand():
    # From (0, 0) to (1, 0); the line to reach 3 predicts (3, 0).
    a, b = weights(0, 0), weights(1, 0)
    straight = straightness(a, b, weights(3, 0), 3.0)
    assert (straight.cosine, straight.error) == (1.0, 0.0)
    # The real one is at (3, 2): moved by (2, 2), predicted (2, 0), missed by 2 of sqrt(8).
    bent = straightness(a, b, weights(3, 2), 3.0)
    assert bent.cosine == pytest.approx(math.sqrt(0.5))
    assert bent.error == pytest.approx(2 / math.sqrt(8))
    back = straightness(a, b, weights(0, 0), 3.0)
    assert back.cosine == -1
    assert back.error == 3
    nothing = straightness(a, a, weights(1, 1), 3.0)
    assert math.isnan(nothing.cosine)


def test_weights_that_are_tied_count_once():
    shared = torch.tensor([1.0, 0.0])
    a = dict.fromkeys("ef", torch.zeros(2)) | {"w": torch.tensor([0.0])}
    b = dict.fromkeys("ef", shared) | {"w": torch.tensor([1.0])}
    c = dict.fromkeys("ef", torch.tensor([1.0, 1.0])) | {"w": torch.tensor([2.0])}
    # Moves (1, 0 | 1) and (0, 1 | 1): product 1, lengths sqrt(2).
    assert straightness(a, b, c, 2.0).cosine == pytest.approx(0.5)


def test_other_models_are_refused_by_the_weight_that_differs():
    one = dict(random_policy(hidden=32).model.named_parameters())
    other = dict(random_policy(hidden=16).model.named_parameters())
    with pytest.raises(ModelError, match=r"A and B are of different models .*lm_head"):
        refuse_other_models(one, other, ("A", "B"))
