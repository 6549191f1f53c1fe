"""What checks of kernels against double precision share: inputs, leaves, gradients, nearness."""

from typing import Any

import numpy as np
import torch


def normals(seed: int, *shape: int, scale: float = 1.0) -> Any:
    """Normal numbers in float32, the same for the same seed and shape."""
    sequence = np.random.SeedSequence([seed, *shape])
    return (scale * np.random.default_rng(sequence).normal(size=shape)).astype(np.float32)


def double(*arrays: Any) -> list[torch.Tensor]:
    """Leaves in double precision."""
    return [torch.from_numpy(a.astype(np.float64)).requires_grad_() for a in arrays]


def gradients(out: torch.Tensor, weight: Any, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    """Of the sum of weight * out."""
    weight = torch.from_numpy(np.asarray(weight, np.float64))
    return list(torch.autograd.grad((out * weight).sum(), leaves))


def close(ours: Any, theirs: Any, tolerance: float = 3e-6) -> None:
    """Relative to the norm, which is what sums in float32 keep."""
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    ours = np.asarray(ours, np.float64)
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs) + 1e-7
