"""Drawing a token from logits and a uniform by inversion, and its log-probability.

With p = softmax(z / temperature): the first token y with sum of p up to y above the uniform u, and
log p_y. Weights are added up in double precision. Forward only.
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import compiled, part
from oneshot_rlvr.kernels.elementary import TINIEST, ZERO, exp, largest

_PART = 64  # logits whose weights are added up before it is asked where a token falls


@part
def parts_of(vocabulary):  # type: ignore[no-untyped-def]
    """How many sums `draw_one` needs room for."""
    return (vocabulary + _PART - 1) // _PART


@part
def draw_one(row, vocabulary, uniform, temperature, weights, sums):  # type: ignore[no-untyped-def]
    """A token, as `rollouts/sampling.py` draws it, and its log-prob.

    That is not a number where the logits are no distribution. Weights are added up by parts, then
    within the part that is hit.
    """
    best = largest(row[:vocabulary]) / temperature
    for i in range(vocabulary):
        x = row[i] / temperature - best
        weights[i] = ZERO if x < TINIEST else exp(x)
    total = 0.0
    for piece in range(len(sums)):
        mass = 0.0
        for i in range(piece * _PART, min((piece + 1) * _PART, vocabulary)):
            mass += np.float64(weights[i])
        sums[piece] = mass
        total += mass
    if not 0.5 < total < np.inf:  # the best alone weighs 1, give or take its rounding
        return 0, np.nan
    target = uniform * total
    # The last part with mass that begins before the target, then the last token of non-zero
    # weight that does: rounding may let the target fall behind all of them.
    begins, before, found = 0, 0.0, 0.0
    for piece in range(len(sums)):
        if sums[piece] > 0.0 and before <= target:
            begins, found = piece, before
        before += sums[piece]
    token = 0
    for i in range(begins * _PART, min((begins + 1) * _PART, vocabulary)):
        if weights[i] > ZERO and found <= target:
            token = i
        found += np.float64(weights[i])
    return token, np.float64(row[token] / temperature - best) - np.log(total)


@compiled
def draw(logits, uniforms, temperature, tokens, logprobs):  # type: ignore[no-untyped-def]
    """One token a row of logits (n, V), and its log-prob. False where a row is no distribution."""
    vocabulary = logits.shape[1]
    weights = np.empty(vocabulary, np.float32)
    sums = np.empty(parts_of(vocabulary), np.float64)
    for r in range(logits.shape[0]):
        tokens[r], logprobs[r] = draw_one(
            logits[r], vocabulary, uniforms[r], temperature, weights, sums
        )
        if np.isnan(logprobs[r]):
            return False
    return True
