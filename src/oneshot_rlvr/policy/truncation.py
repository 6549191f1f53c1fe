"""Cutting unlikely tokens off a next-token distribution: for sampling and for training alike. Pure.

A token drawn from the kept ones has the log-probability log p - log(mass kept), and so the policy
that is trained is the cut one: its gradient is that of the kept tokens. (verl 0.9.1 and TRL 1.16
draw from the cut distribution and train the whole one, which leaves a ratio of the mass kept
between the two.) Not here: drawing (`rollouts/sampling.py`, `kernels/drawing.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Cut:
    """What is cut off; each part is off at its default."""

    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0

    def __bool__(self) -> bool:
        return self.top_p < 1 or bool(self.top_k or self.min_p)


def truncate(
    logits_N_V: Tensor, *, top_p: float = 1.0, top_k: int = 0, min_p: float = 0.0
) -> Tensor:
    """Logits with -inf for what is cut off: by top-k, of the rest by top-p, of the rest by min-p.

    top-k: the k best and what equals the last of them (Fan et al. 2018, arXiv 1805.04833). top-p:
    the smallest set of best tokens whose mass reaches `top_p` (Holtzman et al. 2020, arXiv
    1904.09751); of equals the higher ids are taken first (transformers and vLLM keep as many of
    them, chosen by a sort that is not stable). min-p: at least `min_p` of the best token's
    probability (Nguyen et al. 2024, arXiv 2407.01082). The best token always stays. The order is
    that of transformers' warpers with one token to keep; vLLM cuts by min-p first.
    """
    V = logits_N_V.shape[-1]
    if 0 < top_k < V:
        kth_N_1 = logits_N_V.topk(top_k, dim=-1).values[:, -1:]
        logits_N_V = logits_N_V.masked_fill(logits_N_V < kth_N_1, -torch.inf)
    if top_p < 1:
        ordered_N_V, order_N_V = logits_N_V.sort(dim=-1, stable=True)
        weights_N_V = (ordered_N_V - ordered_N_V[:, -1:]).double().exp()
        mass_N_V = weights_N_V.cumsum(-1)
        # What is better than a token weighs as much as is wanted without it.
        drop_N_V = mass_N_V[:, -1:] - mass_N_V >= top_p * mass_N_V[:, -1:]
        drop_N_V[:, -1] = False
        drop_N_V = torch.zeros_like(drop_N_V).scatter(-1, order_N_V, drop_N_V)
        logits_N_V = logits_N_V.masked_fill(drop_N_V, -torch.inf)
    if min_p > 0:
        below_N_V = logits_N_V - logits_N_V.amax(-1, keepdim=True)
        logits_N_V = logits_N_V.masked_fill(below_N_V < math.log(min_p), -torch.inf)
    return logits_N_V


def truncate_around(logits_M_V: Tensor, tokens_M: Tensor, cut: Cut) -> Tensor:
    """The same for tokens that were drawn: each stays, also where rounding has moved it over the
    border since."""
    cut_M_V = truncate(logits_M_V, top_p=cut.top_p, top_k=cut.top_k, min_p=cut.min_p)
    own_M_1 = logits_M_V.gather(1, tokens_M[:, None])
    return cut_M_V.scatter(1, tokens_M[:, None], own_M_1)
