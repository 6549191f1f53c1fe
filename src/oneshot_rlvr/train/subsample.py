"""Which rollouts an update computes: all that move the policy, and a share of the others.

Once training accuracy saturates, most groups have equal rewards: no advantage, and so no gradient
but that of the entropy and KL terms. Those are sums over tokens, so a random subset of k of the n
rollouts without advantage, each weighed n / k, has the same sum on average: the gradient is
unbiased, and so are the metrics, which are sums with the same weights.

Not here: the token weights themselves (`algorithms/averaging.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oneshot_rlvr.rollouts.randomness import StreamKey, uniforms


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows that are computed, ascending, and the weights of their tokens (rows, T)."""

    rows: list[int]
    weights_N_T: Tensor


def drawn_rows(moved_N: Tensor, weights_N_T: Tensor, share: float, key: StreamKey) -> Drawn:
    """All rows of `moved_N` (bool), and of the n others ceil(share * n), weighed n / that number.

    Every subset of that size is equally likely under `key`; at least one of the others stays.
    """
    idle = (~moved_N.cpu()).nonzero()[:, 0].numpy()
    count = min(len(idle), math.ceil(share * len(idle)))
    if count == len(idle):
        return Drawn(list(range(len(moved_N))), weights_N_T)
    chosen = idle[np.argsort(uniforms(key, idle, 0, 0), kind="stable")[:count]]
    weights_N_T = weights_N_T.clone()
    weights_N_T[torch.from_numpy(chosen)] *= len(idle) / count
    rows = sorted({*moved_N.cpu().nonzero()[:, 0].tolist(), *chosen.tolist()})
    longest = int((weights_N_T[rows] != 0).any(0).nonzero().max()) + 1
    return Drawn(rows, weights_N_T[rows, :longest])
