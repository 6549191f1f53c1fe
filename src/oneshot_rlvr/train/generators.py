"""The process's global random generators: seeded for a run, saved and put back to the last bit.

This package draws from none of them; its randomness is addressed by seed and step. A model's own
code, an engine or a verifier of the user's might, and a run that draws must repeat as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_PYTHON, _NUMPY, _TORCH, _CUDA = "python", "numpy", "torch", "cuda"


def seed_generators(seed: int) -> None:
    """Seeds Python's, numpy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)  # every CUDA device too


def generator_states() -> dict[str, Tensor]:
    """The states of all of them as named tensors, which safetensors can hold."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    assert (version, name) == (3, "MT19937")  # all that these two have ever had
    states = {
        f"{_PYTHON}.words": torch.tensor(words, dtype=torch.int64),
        # The second of a pair of normal draws, kept for the next call; empty where there is none.
        f"{_PYTHON}.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        f"{_NUMPY}.keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        f"{_NUMPY}.position": torch.tensor([position, has_gauss], dtype=torch.int64),
        f"{_NUMPY}.gauss": torch.tensor([cached], dtype=torch.float64),
        _TORCH: torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for number, state in enumerate(torch.cuda.get_rng_state_all()):
            states[f"{_CUDA}.{number}"] = state
    return states


def set_generator_states(states: dict[str, Tensor]) -> None:
    """Puts `generator_states` back. A CUDA device that is no longer there is passed over."""
    words, gauss = states[f"{_PYTHON}.words"].tolist(), states[f"{_PYTHON}.gauss"].tolist()
    random.setstate((3, tuple(words), gauss[0] if gauss else None))
    position, has_gauss = states[f"{_NUMPY}.position"].tolist()
    keys = states[f"{_NUMPY}.keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, position, has_gauss, states[f"{_NUMPY}.gauss"].item()))
    torch.set_rng_state(states[_TORCH])
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            state = states.get(f"{_CUDA}.{number}")
            if state is not None:
                torch.cuda.set_rng_state(state, number)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Whatever draws inside, the generators are afterwards as they were before."""
    before = generator_states()
    try:
        yield
    finally:
        set_generator_states(before)
