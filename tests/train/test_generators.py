"""The global generators: put back, they draw on as if nothing had happened."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from oneshot_rlvr.train.generators import (
    generator_states,
    generators_kept,
    seed_generators,
    set_generator_states,
)


def draws() -> list[float]:
    return [
        random.random(), random.gauss(0, 1), np.random.random(), np.random.standard_normal(),
        torch.rand(1).item(), torch.randn(1).item(),
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def kept():
    with generators_kept():
        yield


@pytest.mark.parametrize("before", range(3))
def test_generators_go_on_through_a_file(before):
    seed_generators(5)
    for _ in range(before):  # one normal draw of a pair is kept for the next
        draws()
    states = load(save(generator_states()))
    expected = [draws(), draws()]
    seed_generators(6)
    set_generator_states(states)
    assert [draws(), draws()] == expected


def test_a_seed_decides_every_generator():
    seed_generators(2**40 + 3)
    first = draws()
    seed_generators(2**40 + 3)
    assert draws() == first
    seed_generators(2**40 + 4)
    assert not set(draws()) & set(first)


def test_what_draws_inside_is_not_noticed_outside():
    seed_generators(1)
    expected = draws()
    seed_generators(1)
    with generators_kept():
        draws()
    assert draws() == expected
