"""How many sequences are decoded together."""

import pytest
import torch

from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import capacity
from oneshot_rlvr.rollouts.capacity import key_value_bytes, rows_that_fit

SHAPE = {"hidden": 32, "layers": 3, "heads": 4, "kv_heads": 2}


@pytest.mark.parametrize(
    ("architecture", "settings", "expected"),
    [
        ("qwen2", {}, 2 * 3 * 2 * 8 * 4),
        ("qwen2", {"dtype": torch.bfloat16}, 2 * 3 * 2 * 8 * 2),
        ("qwen3", {"head_dim": 16}, 2 * 3 * 2 * 16 * 4),
    ],
)
def test_a_tokens_keys_and_values_are_counted(architecture, settings, expected):
    assert key_value_bytes(random_policy(architecture, **SHAPE, **settings)) == expected


def test_rows_share_the_budget_and_keep_to_the_limit(monkeypatch):
    policy = random_policy("qwen2", **SHAPE)
    monkeypatch.setattr(capacity, "CPU_BYTES", 10 * 100 * key_value_bytes(policy))
    assert rows_that_fit(policy, positions=100, most=512) == 10
    assert rows_that_fit(policy, positions=100, most=4) == 4
    assert rows_that_fit(policy, positions=10**6, most=512) == 1
