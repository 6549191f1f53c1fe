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
    """Rows that are computed, ascending, and the weights of their tokens (rows, T): in the loss,
    and in what is logged; which of them the policy term learns from and which pay (`survey.py`)."""

    rows: list[int]
    weights_N_T: Tensor
    told_N_T: Tensor
    learned_N_T: Tensor | None = None
    penalised_N_T: Tensor | None = None


def drawn_rows(
    moved_N: Tensor,
    weights_N_T: Tensor,
    share: float,
    key: StreamKey,
    told_N_T: Tensor | None = None,
) -> Drawn:
    """All rows of `moved_N` (bool), and of the n others ceil(share * n), weighed n / that number.

    Every subset of that size is equally likely under `key`; at least one of the others stays.
    Rows without weight are not computed.
    """
    told_N_T = weights_N_T if told_N_T is None else told_N_T
    weighs_N = (weights_N_T != 0).any(1)
    moved_N = moved_N.cpu() & weighs_N
    idle = (~moved_N & weighs_N).nonzero()[:, 0].numpy()
    count = min(len(idle), math.ceil(share * len(idle)))
    if count == len(idle) and bool(weighs_N.all()):
        return Drawn(list(range(len(moved_N))), weights_N_T, told_N_T)
    chosen = idle[np.argsort(uniforms(key, idle, 0, 0), kind="stable")[:count]]
    scale_N_1 = torch.ones(len(moved_N), 1, dtype=weights_N_T.dtype)
    scale_N_1[torch.from_numpy(chosen)] = len(idle) / max(count, 1)
    weights_N_T, told_N_T = weights_N_T * scale_N_1, told_N_T * scale_N_1
    rows = sorted({*moved_N.nonzero()[:, 0].tolist(), *chosen.tolist()})
    used_T = (weights_N_T[rows] != 0).any(0)
    longest = int(used_T.nonzero().max()) + 1 if bool(used_T.any()) else 1
    return Drawn(rows, weights_N_T[rows, :longest], told_N_T[rows, :longest])
