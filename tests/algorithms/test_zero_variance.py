"""RL-ZVP's advantages for groups of equal rewards, and weights by sign: hand values, slow twins."""

import numpy as np
import pytest
import torch

from oneshot_rlvr.algorithms import get_algorithm
from oneshot_rlvr.algorithms.advantages import weighed_by_sign
from oneshot_rlvr.algorithms.batch import AdvantageInputs
from oneshot_rlvr.algorithms.zero_variance import directions, entropy_guided
from oneshot_rlvr.config import AlgorithmConfig, parse_recipe
from oneshot_rlvr.config.presets import COMPARES_GROUPS
from oneshot_rlvr.errors import ConfigError

DOUBLE = torch.float64


def tensor(rows):
    return torch.tensor(rows, dtype=DOUBLE)


def test_a_group_has_the_direction_of_its_rewards_only_where_they_are_equal():
    rewards = tensor([[1, 1], [0, 0], [1, 0], [0.5, 0.5], [0.9, 0.9], [-0.5, -0.5], [0.9, 0.8]])
    assert directions(rewards).tolist() == [1, -1, 0, 0, 1, -1, 0]


def test_by_hand():
    # A right group rewards its uncertain tokens, a wrong one punishes its certain ones.
    entropy = tensor([[0.5, 2.0, 0.0], [1.0, 9.0, 9.0], [0.5, 2.0, 0.0], [0.3, 9.0, 9.0],
                      [0.5, 2.0, 0.0], [1.0, 3.0, 1.0]])  # fmt: skip
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]] * 2 + [[1, 1, 1]] * 2).bool()
    found = entropy_guided(tensor([[1, 1], [0, 0], [1, 0]]), entropy, mask, 0.1)
    expected = tensor([[0.05, 0.2, 0.0], [0.1, 0.0, 0.0], [-0.15, 0.0, -0.2], [0.0, 0.0, 0.0],
                       [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # fmt: skip
    assert torch.allclose(found, expected, atol=1e-15)


def drawn(seed, P=6, G=4, T=7):
    generator = torch.Generator().manual_seed(seed)
    outcomes = torch.randint(0, 2, (P, G), generator=generator, dtype=DOUBLE)
    outcomes[0], outcomes[1] = 1.0, 0.0
    mask = torch.arange(T)[None] < torch.randint(1, T + 1, (P * G, 1), generator=generator)
    rewards = torch.zeros(P * G, T, dtype=DOUBLE)
    rewards[torch.arange(P * G), mask.sum(1) - 1] = outcomes.flatten()
    entropy = torch.rand(P * G, T, generator=generator, dtype=DOUBLE)  # on padding too
    return AdvantageInputs(rewards, mask, G, entropy_N_T=entropy), outcomes


def twin(given, outcomes, alpha, positive, negative, base):
    """Rollout by rollout, from the papers' formulas; `base` are the algorithm's own advantages."""
    result = np.zeros(given.mask_N_T.shape)
    for p, group in enumerate(outcomes.tolist()):
        for g in range(len(group)):
            n = p * len(group) + g
            own = [given.entropy_N_T[n, t].item() for t in range(int(given.mask_N_T[n].sum()))]
            for t, entropy in enumerate(own):
                if min(group) == max(group) == 1:
                    a = alpha * entropy
                elif min(group) == max(group) == 0:
                    a = -alpha * (max(own) - entropy)
                else:
                    a = base[n, t].item()
                result[n, t] = a * (positive if a > 0 else negative)
    return result


@pytest.mark.parametrize("name", COMPARES_GROUPS)
@pytest.mark.parametrize(("positive", "negative"), [(1.0, 1.0), (0.1, 1.0), (0.0, 2.0)])
def test_every_algorithm_that_compares_groups_equals_a_slow_twin(name, positive, negative):
    off = {"dynamic_sampling": False, "kl_coefficient": 0.0}
    algorithm = get_algorithm(name)
    config = AlgorithmConfig(
        name=name, zero_variance_coefficient=0.3, positive_weight=positive,
        negative_weight=negative, **off,
    )  # fmt: skip
    for seed in range(4):
        given, outcomes = drawn(seed)
        base = algorithm.advantages(given, AlgorithmConfig(name=name, **off)).advantages_N_T
        found = algorithm.advantages(given, config).advantages_N_T
        expected = twin(given, outcomes, 0.3, positive, negative, base)
        assert np.abs(found.numpy() - expected).max() < 1e-12
        assert (found[:4] != 0).any() == (positive > 0)


def test_it_takes_no_gradient_and_asks_for_entropies():
    given, _ = drawn(0)
    config = AlgorithmConfig(zero_variance_coefficient=0.1)
    entropy = given.entropy_N_T.clone().requires_grad_()
    with_gradient = AdvantageInputs(given.rewards_N_T, given.mask_N_T, 4, entropy_N_T=entropy)
    found = get_algorithm("grpo").advantages(with_gradient, config).advantages_N_T
    assert not found.requires_grad
    with pytest.raises(ValueError, match="needs entropies"):
        get_algorithm("grpo").advantages(
            AdvantageInputs(given.rewards_N_T, given.mask_N_T, 4), config
        )


def test_weights_by_sign_by_hand():
    assert weighed_by_sign(tensor([2.0, -3.0, 0.0]), 0.1, 1.5).tolist() == [0.2, -4.5, 0.0]


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        ({"zero_variance_coefficient": -0.1}, "zero_variance_coefficient"),
        *(
            ({"name": name, "zero_variance_coefficient": 0.1}, f"which {name} has no use for")
            for name in ("reinforce", "reinforce_plus_plus", "ppo")
        ),
        ({"name": "dapo", "zero_variance_coefficient": 0.1}, "dynamic_sampling=false"),
        ({"name": "rloo", "zero_variance_coefficient": 0.1}, 'kl_place="loss"'),
        ({"positive_weight": -1.0}, "positive_weight"),
        ({"positive_weight": 0.0, "negative_weight": 0.0}, "are both 0"),
    ],
)
def test_values_that_cannot_work_are_one_clear_error(algorithm, said):
    with pytest.raises(ConfigError, match=said) as refused:
        parse_recipe({"algorithm": algorithm})
    assert len(str(refused.value).splitlines()) == 1
