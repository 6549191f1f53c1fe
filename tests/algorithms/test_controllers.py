"""The adaptive entropy coefficient, by hand (arXiv 2505.22312, section 4.2)."""

import pytest

from oneshot_rlvr.algorithms.controllers import (
    applied_entropy_coefficient,
    next_entropy_coefficient,
)
from oneshot_rlvr.config import AlgorithmConfig

CONFIG = AlgorithmConfig(
    entropy_target=0.5, entropy_coefficient=0.0, entropy_rate=0.01, entropy_coefficient_max=0.025
)


def after(*entropies: float, start: float = 0.0) -> list[float]:
    told, coefficient = [], start
    for entropy in entropies:
        coefficient = next_entropy_coefficient(coefficient, entropy, CONFIG)
        told.append(coefficient)
    return told


def test_it_rises_by_its_rate_up_to_the_target_and_no_further_than_its_most():
    assert after(0.1, 0.4, 0.5, 0.2) == pytest.approx([0.01, 0.02, 0.025, 0.025])


def test_it_falls_by_its_rate_above_the_target_and_never_below_nothing():
    assert after(0.9, 0.51, 0.6, start=0.015) == pytest.approx([0.005, 0.0, 0.0])


def test_it_rests_while_the_last_entropy_was_above_the_target():
    assert applied_entropy_coefficient(0.02, 0.51, CONFIG) == 0.0
    assert applied_entropy_coefficient(0.02, 0.5, CONFIG) == 0.02
    assert applied_entropy_coefficient(0.02, None, CONFIG) == 0.02  # the first step has none before


def test_without_a_target_the_coefficient_is_what_it_is():
    fixed = AlgorithmConfig(entropy_coefficient=0.3)
    assert next_entropy_coefficient(0.3, 0.0, fixed) == 0.3
    assert applied_entropy_coefficient(0.3, 9.0, fixed) == 0.3
