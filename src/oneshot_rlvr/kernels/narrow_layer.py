"""The two halves of a decoder layer around attention with bfloat16 products, forward and backward.

The formulas and arguments of `layer.py`. Operands of products are rounded to bfloat16, weights too;
sums, norms, the activation, what is kept and all gradients are float32. A pass goes through the
tokens in blocks; each weight is rounded and packed once for all blocks.

Not here: attention, which stays in float32 (`attention.py`), and autograd's side of it
(`policy/compiled_blocks.py`).
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import compiled, part
from oneshot_rlvr.kernels.mlp import activate, activate_backward
from oneshot_rlvr.kernels.narrow_products import (
    multiply,
    paired_columns,
    paired_rows,
    panels_of,
    room_of,
    rounded,
    transposed,
)
from oneshot_rlvr.kernels.norm import norm, norm_backward
from oneshot_rlvr.kernels.rows import add, copy

# Tokens of a block. Fewer, and the sums of the weights' gradients are read and written more often
# than they are worth; more, and the blocks leave the second-level cache.
_BLOCK = 512


@part
def forward_panels(weight):  # type: ignore[no-untyped-def]
    """Of W^T, for x W^T; W is (outputs, inputs)."""
    outputs, inputs = weight.shape
    panels, nothing = panels_of(inputs, outputs), np.empty(0, np.float32)
    paired_columns(weight.reshape(-1), 0, inputs, nothing, outputs, inputs, panels, 0)
    return panels


@part
def backward_panels(weight):  # type: ignore[no-untyped-def]
    """Of W, for g W."""
    outputs, inputs = weight.shape
    panels = panels_of(outputs, inputs)
    paired_rows(weight.reshape(-1), 0, inputs, outputs, inputs, panels, 0)
    return panels


@part
def add_outer(g, g0, g_row, outputs, rows, x, inputs, pairs, across, sums):  # type: ignore[no-untyped-def]
    """sums (outputs, inputs) += G^T X for G (rows, outputs) from g0 on and X in panels; `pairs` and
    `across` are room for G's."""
    paired_rows(g, g0, g_row, rows, outputs, pairs, 0)
    transposed(pairs, rows, outputs, across)
    multiply(across, outputs, rows, x, 0, inputs, sums, 0, inputs, True)


@compiled
def inputs(x, weight, epsilon, w_q, w_k, w_v, b_qkv, qkv):  # type: ignore[no-untyped-def]
    """See `layer.inputs`."""
    M, width = x.shape
    both = qkv.shape[1]
    n_q, n_k, n_v = w_q.shape[0], w_k.shape[0], w_v.shape[0]
    p_q, p_k, p_v = forward_panels(w_q), forward_panels(w_k), forward_panels(w_v)
    x_flat, out = x.reshape(-1), qkv.reshape(-1)
    normed, narrow = np.empty(_BLOCK * width, np.float32), room_of(_BLOCK, width)
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        norm(x_flat, t * width, rows, weight, epsilon, normed)
        rounded(normed, 0, width, rows, width, narrow)
        at = t * both
        multiply(narrow, rows, width, p_q, 0, n_q, out, at, both, False)
        multiply(narrow, rows, width, p_k, 0, n_k, out, at + n_q, both, False)
        multiply(narrow, rows, width, p_v, 0, n_v, out, at + n_q + n_k, both, False)
        if b_qkv.shape[0]:
            for r in range(rows):
                add(out, at + r * both, b_qkv, 0, both)


@compiled
def inputs_backward(  # type: ignore[no-untyped-def]
    grad, x, weight, epsilon, w_q, w_k, w_v, grad_x, grad_weight, grad_maps, grad_biases
):
    """See `layer.inputs_backward`."""
    M, width = x.shape
    both = grad.shape[1]
    n_q, n_k, n_v = w_q.shape[0], w_k.shape[0], w_v.shape[0]
    p_q, p_k, p_v = backward_panels(w_q), backward_panels(w_k), backward_panels(w_v)
    g_flat, x_flat, out = grad.reshape(-1), x.reshape(-1), grad_x.reshape(-1)
    maps = grad_maps.reshape(-1)
    normed = np.empty(_BLOCK * width, np.float32)
    grad_normed = np.empty(_BLOCK * width, np.float32)
    narrow, pairs = room_of(_BLOCK, max(n_q, n_k, n_v)), panels_of(_BLOCK, both)
    across, x_pairs = room_of(both, _BLOCK), panels_of(_BLOCK, width)
    nothing = np.empty(0, np.float32)
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        at = t * both
        norm(x_flat, t * width, rows, weight, epsilon, normed)
        paired_rows(normed, 0, width, rows, width, x_pairs, 0)
        add_outer(g_flat, at, both, both, rows, x_pairs, width, pairs, across, maps)
        for r in range(rows):
            add(grad_biases, 0, g_flat, at + r * both, grad_biases.shape[0])
        rounded(g_flat, at, both, rows, n_q, narrow)
        multiply(narrow, rows, n_q, p_q, 0, width, grad_normed, 0, width, False)
        rounded(g_flat, at + n_q, both, rows, n_k, narrow)
        multiply(narrow, rows, n_k, p_k, 0, width, grad_normed, 0, width, True)
        rounded(g_flat, at + n_q + n_k, both, rows, n_v, narrow)
        multiply(narrow, rows, n_v, p_v, 0, width, grad_normed, 0, width, True)
        norm_backward(
            grad_normed, x_flat, t * width, rows, weight, epsilon, nothing, out, grad_weight
        )


@compiled
def outputs(x, mixed, w_out, weight, epsilon, w_gate, w_up, w_down, y, gate_up, out):  # type: ignore[no-untyped-def]
    """See `layer.outputs`."""
    M, width = x.shape
    wide, middle = mixed.shape[1], w_gate.shape[0]
    p_out, p_gate, p_up, p_down = (
        forward_panels(w_out), forward_panels(w_gate), forward_panels(w_up), forward_panels(w_down),
    )  # fmt: skip
    x_flat, mixed_flat, y_flat = x.reshape(-1), mixed.reshape(-1), y.reshape(-1)
    between, out_flat = gate_up.reshape(-1), out.reshape(-1)
    normed, hidden = np.empty(_BLOCK * width, np.float32), np.empty(_BLOCK * middle, np.float32)
    narrow = room_of(_BLOCK, max(wide, width, middle))
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        at, g0 = t * width, 2 * t * middle
        copy(x_flat, at, y_flat, rows * width)
        rounded(mixed_flat, t * wide, wide, rows, wide, narrow)
        multiply(narrow, rows, wide, p_out, 0, width, y_flat, at, width, True)
        norm(y_flat, at, rows, weight, epsilon, normed)
        rounded(normed, 0, width, rows, width, narrow)
        multiply(narrow, rows, width, p_gate, 0, middle, between, g0, 2 * middle, False)
        multiply(narrow, rows, width, p_up, 0, middle, between, g0 + middle, 2 * middle, False)
        activate(between, g0, middle, rows, hidden)
        copy(y_flat, at, out_flat, rows * width)
        rounded(hidden, 0, middle, rows, middle, narrow)
        multiply(narrow, rows, middle, p_down, 0, width, out_flat, at, width, True)


@compiled
def outputs_backward(  # type: ignore[no-untyped-def]
    grad, y, mixed, gate_up, w_out, weight, epsilon, w_gate, w_up, w_down,
    grad_x, grad_mixed, grad_out, grad_weight, grad_gate_up, grad_down,
):  # fmt: skip
    """See `layer.outputs_backward`."""
    M, width = y.shape
    wide, middle = mixed.shape[1], w_gate.shape[0]
    p_out, p_gate, p_up, p_down = (
        backward_panels(w_out), backward_panels(w_gate), backward_panels(w_up),
        backward_panels(w_down),
    )  # fmt: skip
    g_flat, y_flat, mixed_flat = grad.reshape(-1), y.reshape(-1), mixed.reshape(-1)
    kept, x_flat, m_flat = gate_up.reshape(-1), grad_x.reshape(-1), grad_mixed.reshape(-1)
    sum_out, sum_gate_up = grad_out.reshape(-1), grad_gate_up.reshape(-1)
    sum_down = grad_down.reshape(-1)
    normed = np.empty(_BLOCK * width, np.float32)
    grad_normed = np.empty(_BLOCK * width, np.float32)
    hidden = np.empty(_BLOCK * middle, np.float32)
    both = np.empty(_BLOCK * 2 * middle, np.float32)  # gradients for gate and up
    widest = max(wide, width, 2 * middle)
    narrow, pairs = room_of(_BLOCK, widest), panels_of(_BLOCK, widest)
    across, x_pairs = room_of(widest, _BLOCK), panels_of(_BLOCK, widest)
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        at, g0 = t * width, 2 * t * middle
        rounded(g_flat, at, width, rows, width, narrow)
        multiply(narrow, rows, width, p_down, 0, middle, both, middle, 2 * middle, False)
        activate_backward(kept, g0, middle, rows, hidden, both)
        paired_rows(hidden, 0, middle, rows, middle, x_pairs, 0)
        add_outer(g_flat, at, width, width, rows, x_pairs, middle, pairs, across, sum_down)
        norm(y_flat, at, rows, weight, epsilon, normed)
        paired_rows(normed, 0, width, rows, width, x_pairs, 0)
        add_outer(both, 0, 2 * middle, 2 * middle, rows, x_pairs, width, pairs, across, sum_gate_up)
        rounded(both, 0, 2 * middle, rows, middle, narrow)
        multiply(narrow, rows, middle, p_gate, 0, width, grad_normed, 0, width, False)
        rounded(both, middle, 2 * middle, rows, middle, narrow)
        multiply(narrow, rows, middle, p_up, 0, width, grad_normed, 0, width, True)
        norm_backward(grad_normed, y_flat, at, rows, weight, epsilon, g_flat, x_flat, grad_weight)
        paired_rows(mixed_flat, t * wide, wide, rows, wide, x_pairs, 0)
        add_outer(x_flat, at, width, width, rows, x_pairs, wide, pairs, across, sum_out)
        rounded(x_flat, at, width, rows, width, narrow)
        multiply(narrow, rows, width, p_out, 0, wide, m_flat, t * wide, wide, False)
