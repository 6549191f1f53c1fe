"""The adaptive entropy coefficient: a controller that holds the entropy near a target. Pure.

Skywork-OR1 (He et al. 2025, arXiv 2505.22312, section 4.2).
"""

from __future__ import annotations

from oneshot_rlvr.config import AlgorithmConfig


def next_entropy_coefficient(
    coefficient: float, entropy_nats: float, config: AlgorithmConfig
) -> float:
    """The coefficient after a step: up by `entropy_rate` up to the target, else down by it.

    Held within 0 and `entropy_coefficient_max`; unchanged without a target.
    """
    if config.entropy_target is None:
        return coefficient
    change = config.entropy_rate if entropy_nats <= config.entropy_target else -config.entropy_rate
    return min(max(coefficient + change, 0.0), config.entropy_coefficient_max)


def applied_entropy_coefficient(
    coefficient: float, last_entropy_nats: float | None, config: AlgorithmConfig
) -> float:
    """What the loss applies: nothing as long as the last step's entropy was above the target.

    The first step, which has none before it, applies the coefficient as it is.
    """
    above = (
        config.entropy_target is not None
        and last_entropy_nats is not None
        and last_entropy_nats > config.entropy_target
    )
    return 0.0 if above else coefficient
