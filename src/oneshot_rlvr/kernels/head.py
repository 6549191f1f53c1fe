"""Log-probabilities and entropies from hidden states as compiled loops, forward and backward.

For a CPU in float32 (numba): a block of tokens has its logits, softmax and gradients while they are
in a core's cache. With z = (W h + b) / temperature, x = z - log sum exp z, p = exp x, y the token,
    log p_y = x_y        H = -sum p x        dz = -p (g_logprob + g_entropy (x + H)) + g_logprob 1_y

Not here: autograd's side, and heads too large to be copied at every call (`policy/head.py`).
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import compiled, part
from oneshot_rlvr.kernels.elementary import TINIEST, ZERO, exp, largest
from oneshot_rlvr.kernels.products import (
    add_transposed,
    multiply_packed,
    packed,
    packed_transposed,
    whole,
)
from oneshot_rlvr.kernels.tiles import PANEL

_BLOCK = 128  # tokens


@part
def _logits(hidden, t, rows, panels, bias, V, temperature, z):  # type: ignore[no-untyped-def]
    """z (rows, V up to a whole panel) at the temperature."""
    D, stride = hidden.shape[1], whole(V, PANEL)
    multiply_packed(hidden.reshape(-1), t * D, D, rows, panels, V, D, z, 0, stride, False)
    for r in range(rows):
        row = z[r * stride : r * stride + V]
        if bias.shape[0]:
            for i in range(V):
                row[i] += bias[i]
        for i in range(V):
            row[i] /= temperature


@compiled
def scores(hidden, weight, bias, tokens, temperature, logprobs, entropy):  # type: ignore[no-untyped-def]
    """Of M tokens after states (M, D); also the log of the sum that softmax divides by."""
    M, V, stride = hidden.shape[0], weight.shape[0], whole(weight.shape[0], PANEL)
    panels = packed_transposed(weight)
    z = np.empty(_BLOCK * stride, np.float32)
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        _logits(hidden, t, rows, panels, bias, V, temperature, z)
        for r in range(rows):
            row = z[r * stride : r * stride + V]
            best, token = largest(row), tokens[t + r]
            own = row[token] - best
            mass = ZERO
            mean = ZERO
            for i in range(V):
                x = row[i] - best
                x = TINIEST if x < TINIEST else x  # else 0 times infinity
                p = exp(x)
                mass += p
                mean += p * x
            log_mass = np.log(mass)
            logprobs[t + r] = own - log_mass
            entropy[t + r] = log_mass - mean / mass


@compiled
def scores_backward(  # type: ignore[no-untyped-def]
    for_logprobs, for_entropy, hidden, weight, bias, tokens, temperature, logprobs, entropy,
    grad_hidden, grad_weight, grad_bias,
):  # fmt: skip
    """Of `scores`; gradients of no length are left out, sums begin at 0."""
    (M, D), V, stride = hidden.shape, weight.shape[0], whole(weight.shape[0], PANEL)
    panels, straight = packed_transposed(weight), packed(weight)
    flat, out, sums = hidden.reshape(-1), grad_hidden.reshape(-1), grad_weight.reshape(-1)
    z = np.empty(_BLOCK * stride, np.float32)
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        _logits(hidden, t, rows, panels, bias, V, temperature, z)
        for r in range(rows):
            row, token = z[r * stride : r * stride + V], tokens[t + r]
            g, h, H = for_logprobs[t + r], for_entropy[t + r], entropy[t + r]
            log_sum = row[token] - logprobs[t + r]
            for i in range(V):
                x = row[i] - log_sum
                x = TINIEST if x < TINIEST else x
                row[i] = -exp(x) * (g + h * (x + H))
            row[token] += g
            for i in range(V):
                row[i] /= temperature
            for i in range(grad_bias.shape[0]):
                grad_bias[i] += row[i]
        if out.shape[0]:
            multiply_packed(z, 0, stride, rows, straight, D, V, out, t * D, D, False)
        if sums.shape[0]:
            add_transposed(z, 0, stride, V, flat, t * D, D, D, rows, sums)
