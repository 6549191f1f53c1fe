"""Root-mean-square norm over the last axis, forward and backward.

Zhang and Sennrich 2019, arXiv 1910.07467:

    y = w x r,   r = (sum x^2 / D + epsilon)^(-1/2)
    dw = sum over rows of g x r,   dx = r w g - x r^3 (sum g w x) / D        for g that of y
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import part
from oneshot_rlvr.kernels.elementary import ONE, ZERO
from oneshot_rlvr.kernels.rows import add, row_of


@part
def scale_of(x, width, epsilon):  # type: ignore[no-untyped-def]
    """r of the first `width` numbers of x."""
    square = ZERO
    for i in range(width):
        square += x[i] * x[i]
    return ONE / np.sqrt(square / np.float32(width) + epsilon)


@part
def norm_alone(x, epsilon, out):  # type: ignore[no-untyped-def]
    """x r, as long as `out` is: of one row, and without its weight."""
    scale = scale_of(x, len(out), epsilon)
    for i in range(len(out)):
        out[i] = x[i] * scale


@part
def norm(x, x0, rows, weight, epsilon, out):  # type: ignore[no-untyped-def]
    """norm(x) w of some rows: x from x0 on, out from its beginning."""
    width = weight.shape[0]
    for r in range(rows):
        x_row, out_row = row_of(x, x0 + r * width, width), row_of(out, r * width, width)
        scale = scale_of(x_row, width, epsilon)
        for i in range(width):
            out_row[i] = x_row[i] * scale * weight[i]


@part
def norm_backward(grad, x, x0, rows, weight, epsilon, other, out, grad_weight):  # type: ignore[no-untyped-def]
    """out = other + the gradient for x, where `other` is not empty; adds that for the weight."""
    width = weight.shape[0]
    for r in range(rows):
        at = x0 + r * width
        g, x_row = row_of(grad, r * width, width), row_of(x, at, width)
        out_row = row_of(out, at, width)
        square = ZERO  # in one pass with the other sum
        share = ZERO
        for i in range(width):
            square += x_row[i] * x_row[i]
            share += g[i] * weight[i] * x_row[i]
        scale = ONE / np.sqrt(square / np.float32(width) + epsilon)
        share *= scale * scale * scale / np.float32(width)
        for i in range(width):
            grad_weight[i] += g[i] * x_row[i] * scale
        for i in range(width):
            out_row[i] = g[i] * weight[i] * scale - x_row[i] * share
        if other.shape[0]:
            add(out, at, other, at, width)
