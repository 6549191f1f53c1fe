"""Answers near the length limit lose reward: DAPO's soft overlong punishment. Pure.

Not here: a length penalty for right answers only (`rewards/shaping.py`).
"""

from __future__ import annotations

from torch import Tensor


def overlong_penalty(
    lengths_N: Tensor, max_tokens: int, buffer_share: float, largest: float
) -> Tensor:
    """What to deduct (N, float64): 0 up to (1 - buffer_share) of max_tokens, then linear to
    `largest` at max_tokens.

    Yu et al. 2025, arXiv 2503.14476, equation 13; its buffer is 4,096 of 20,480 tokens.
    """
    lengths_N = lengths_N.double()
    buffer = buffer_share * max_tokens
    if not buffer:
        return lengths_N.new_zeros(lengths_N.shape)
    return largest * ((lengths_N - (max_tokens - buffer)) / buffer).clamp(0.0, 1.0)
