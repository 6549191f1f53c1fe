"""How many sequences to decode together: what their keys and values leave room for.

The number follows from the model, the lengths and the device's size alone, never from what happens
to be free: how a step is split changes the rounding of logits, and a resumed run must split alike.
"""

from __future__ import annotations

from typing import Any

import torch

from oneshot_rlvr.policy.load import Policy

# On the CPU 4 GiB; on an accelerator 2/5 of its memory, the rest for weights, optimizer and logits.
CPU_BYTES = 4 << 30
_ACCELERATOR_SHARE = 0.4


def rows_that_fit(policy: Policy, positions: int, most: int) -> int:
    """At most `most` sequences of `positions` tokens each; at least 1."""
    per_row = key_value_bytes(policy) * positions
    return max(1, min(most, budget_bytes(policy.device) // max(1, per_row)))


def key_value_bytes(policy: Policy) -> int:
    """Bytes of a token's keys and values in all layers; 0 where the configuration does not say."""
    config: Any = policy.model.config
    heads = getattr(config, "num_attention_heads", 0) or 0
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // max(1, heads)
    layers = getattr(config, "num_hidden_layers", 0)
    return 2 * int(layers) * int(kv_heads) * int(size) * policy.dtype.itemsize


def budget_bytes(device: torch.device) -> int:
    """What keys and values may take on a device."""
    if device.type != "cuda":
        return CPU_BYTES
    return int(_ACCELERATOR_SHARE * torch.cuda.get_device_properties(device).total_memory)
