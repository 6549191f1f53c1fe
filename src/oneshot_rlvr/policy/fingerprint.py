"""What a model is, whatever it is called: a hash of its weights and its configuration."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from oneshot_rlvr.policy.load import Policy


def fingerprint(policy: Policy) -> str:
    """32 hex digits: equal exactly when configuration and every weight are, to the bit."""
    summed = hashlib.blake2b(digest_size=16)
    config: Any = policy.model.config
    told = json.dumps(config.to_diff_dict(), sort_keys=True, default=str)
    summed.update(told.encode("utf-8", "replace"))
    for name, tensor in sorted(policy.model.state_dict().items()):
        summed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().to("cpu").contiguous().reshape(-1)
        summed.update(plain.view(torch.uint8).numpy())
    return summed.hexdigest()
