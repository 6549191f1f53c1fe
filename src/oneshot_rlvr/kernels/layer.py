"""The two halves of a decoder layer around attention as compiled loops, forward and backward.

For a CPU in float32 (numba). With x the layer's input and a what attention read,

    inputs:  q, k, v = n Wq^T + bq, n Wk^T + bk, n Wv^T + bv,   n = norm(x)
    outputs: y = x + a Wo^T,   g, u = m Wg^T, m Wu^T,   m = norm(y),   out = y + (silu(g) u) Wd^T

and backward of a map z = n W^T: dn = dz W, dW = dz^T n. A pass goes through the tokens in
blocks whose intermediate results stay in a core's cache; each weight is packed once for all blocks.
Every function runs on the thread that calls it (`policy/lanes.py`) and adds in a fixed order.

Not here: attention (`attention.py`), and autograd's side of it (`policy/compiled_blocks.py`).
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import compiled
from oneshot_rlvr.kernels.mlp import activate, activate_backward
from oneshot_rlvr.kernels.norm import norm, norm_backward
from oneshot_rlvr.kernels.products import (
    add_transposed,
    multiply_packed,
    pack,
    packed,
    packed_transposed,
    whole,
)
from oneshot_rlvr.kernels.rows import add, copy
from oneshot_rlvr.kernels.tiles import PANEL

# Tokens of a block. Fewer, and the sums of the weights' gradients are read and written more often
# than they are worth; more, and the blocks leave the second-level cache.
_BLOCK = 256


@compiled
def inputs(x, weight, epsilon, w_q, w_k, w_v, b_qkv, qkv):  # type: ignore[no-untyped-def]
    """qkv (M, heads + 2 kv heads, all of one size) = norm(x) (Wq, Wk, Wv)^T + b."""
    M, width = x.shape
    both = qkv.shape[1]
    n_q, n_k, n_v = w_q.shape[0], w_k.shape[0], w_v.shape[0]
    p_q, p_k, p_v = packed_transposed(w_q), packed_transposed(w_k), packed_transposed(w_v)
    x_flat, out = x.reshape(-1), qkv.reshape(-1)
    normed = np.empty(_BLOCK * width, np.float32)
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        norm(x_flat, t * width, rows, weight, epsilon, normed)
        at = t * both
        multiply_packed(normed, 0, width, rows, p_q, n_q, width, out, at, both, False)
        multiply_packed(normed, 0, width, rows, p_k, n_k, width, out, at + n_q, both, False)
        multiply_packed(normed, 0, width, rows, p_v, n_v, width, out, at + n_q + n_k, both, False)
        if b_qkv.shape[0]:
            for r in range(rows):
                add(out, at + r * both, b_qkv, 0, both)


@compiled
def inputs_backward(  # type: ignore[no-untyped-def]
    grad, x, weight, epsilon, w_q, w_k, w_v, grad_x, grad_weight, grad_maps, grad_biases
):
    """Of `inputs`; grad_maps (heads + 2 kv heads, width) has all three; sums begin at 0."""
    M, width = x.shape
    both = grad.shape[1]
    n_q, n_k, n_v = w_q.shape[0], w_k.shape[0], w_v.shape[0]
    panels = np.empty(whole(width, PANEL) * both, np.float32)
    pack(w_q.reshape(-1), 0, width, 1, width, n_q, panels, 0, 0, both)
    pack(w_k.reshape(-1), 0, width, 1, width, n_k, panels, 0, n_q, both)
    pack(w_v.reshape(-1), 0, width, 1, width, n_v, panels, 0, n_q + n_k, both)
    g_flat, x_flat, out = grad.reshape(-1), x.reshape(-1), grad_x.reshape(-1)
    maps = grad_maps.reshape(-1)
    normed = np.empty(_BLOCK * width, np.float32)
    grad_normed = np.empty(_BLOCK * width, np.float32)
    nothing = np.empty(0, np.float32)
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        at = t * both
        norm(x_flat, t * width, rows, weight, epsilon, normed)
        add_transposed(g_flat, at, both, both, normed, 0, width, width, rows, maps)
        for r in range(rows):
            add(grad_biases, 0, g_flat, at + r * both, grad_biases.shape[0])
        multiply_packed(g_flat, at, both, rows, panels, width, both, grad_normed, 0, width, False)
        norm_backward(
            grad_normed, x_flat, t * width, rows, weight, epsilon, nothing, out, grad_weight
        )


@compiled
def outputs(x, mixed, w_out, weight, epsilon, w_gate, w_up, w_down, y, gate_up, out):  # type: ignore[no-untyped-def]
    """y = x + a Wo^T; gate_up = norm(y) (Wg, Wu)^T; out = y + (silu(gate) up) Wd^T."""
    M, width = x.shape
    wide, middle = mixed.shape[1], w_gate.shape[0]
    p_out, p_gate, p_up, p_down = (
        packed_transposed(w_out), packed_transposed(w_gate),
        packed_transposed(w_up), packed_transposed(w_down),
    )  # fmt: skip
    x_flat, mixed_flat, y_flat = x.reshape(-1), mixed.reshape(-1), y.reshape(-1)
    between, out_flat = gate_up.reshape(-1), out.reshape(-1)
    normed = np.empty(_BLOCK * width, np.float32)
    hidden = np.empty(_BLOCK * middle, np.float32)
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        at, g0 = t * width, 2 * t * middle
        copy(x_flat, at, y_flat, rows * width)
        multiply_packed(mixed_flat, t * wide, wide, rows, p_out, width, wide,
                        y_flat, at, width, True)  # fmt: skip
        norm(y_flat, at, rows, weight, epsilon, normed)
        multiply_packed(normed, 0, width, rows, p_gate, middle, width,
                        between, g0, 2 * middle, False)  # fmt: skip
        multiply_packed(normed, 0, width, rows, p_up, middle, width,
                        between, g0 + middle, 2 * middle, False)  # fmt: skip
        activate(between, g0, middle, rows, hidden)
        copy(y_flat, at, out_flat, rows * width)
        multiply_packed(hidden, 0, middle, rows, p_down, width, middle,
                        out_flat, at, width, True)  # fmt: skip


@compiled
def outputs_backward(  # type: ignore[no-untyped-def]
    grad, y, mixed, gate_up, w_out, weight, epsilon, w_gate, w_up, w_down,
    grad_x, grad_mixed, grad_out, grad_weight, grad_gate_up, grad_down,
):  # fmt: skip
    """Of `outputs`; grad_gate_up (2 * intermediate, width) has both maps; sums begin at 0."""
    M, width = y.shape
    wide, middle = mixed.shape[1], w_gate.shape[0]
    p_out, p_down = packed(w_out), packed(w_down)
    p_gate_up = np.empty(whole(width, PANEL) * 2 * middle, np.float32)
    pack(w_gate.reshape(-1), 0, width, 1, width, middle, p_gate_up, 0, 0, 2 * middle)
    pack(w_up.reshape(-1), 0, width, 1, width, middle, p_gate_up, 0, middle, 2 * middle)
    g_flat, y_flat, mixed_flat = grad.reshape(-1), y.reshape(-1), mixed.reshape(-1)
    kept, x_flat, m_flat = gate_up.reshape(-1), grad_x.reshape(-1), grad_mixed.reshape(-1)
    sum_out, sum_gate_up = grad_out.reshape(-1), grad_gate_up.reshape(-1)
    sum_down = grad_down.reshape(-1)
    normed = np.empty(_BLOCK * width, np.float32)
    grad_normed = np.empty(_BLOCK * width, np.float32)
    hidden = np.empty(_BLOCK * middle, np.float32)
    both = np.empty(_BLOCK * 2 * middle, np.float32)  # gradients for gate and up
    for t in range(0, M, _BLOCK):
        rows = min(_BLOCK, M - t)
        at, g0 = t * width, 2 * t * middle
        multiply_packed(g_flat, at, width, rows, p_down, middle, width,
                        both, middle, 2 * middle, False)  # fmt: skip
        activate_backward(kept, g0, middle, rows, hidden, both)
        add_transposed(g_flat, at, width, width, hidden, 0, middle, middle, rows, sum_down)
        norm(y_flat, at, rows, weight, epsilon, normed)
        add_transposed(both, 0, 2 * middle, 2 * middle, normed, 0, width, width, rows, sum_gate_up)
        multiply_packed(both, 0, 2 * middle, rows, p_gate_up, width, 2 * middle,
                        grad_normed, 0, width, False)  # fmt: skip
        norm_backward(grad_normed, y_flat, at, rows, weight, epsilon, g_flat, x_flat, grad_weight)
        add_transposed(x_flat, at, width, width, mixed_flat, t * wide, wide, wide, rows, sum_out)
        multiply_packed(x_flat, at, width, rows, p_out, wide, width,
                        m_flat, t * wide, wide, False)  # fmt: skip
