"""The gated activation between an MLP's maps, forward and backward.

Shazeer 2020, arXiv 2002.05202:

    h = silu(g) u,   silu(g) = g s,   s = sigmoid(g)
    du = dh silu(g),   dg = dh u (s + silu(g) (1 - s))

Gate and up of a row lie side by side. Not here: the maps (`layer.py`, `decoding.py`).
"""

from __future__ import annotations

from oneshot_rlvr.kernels.compiling import inlined, part
from oneshot_rlvr.kernels.elementary import ONE, sigmoid
from oneshot_rlvr.kernels.rows import row_of


@inlined
def silu(x):  # type: ignore[no-untyped-def]
    """x sigmoid(x), of one number."""
    return x * sigmoid(x)


@part
def activate(gate_up, g0, middle, rows, hidden):  # type: ignore[no-untyped-def]
    """hidden = silu(gate) up."""
    for r in range(rows):
        at = g0 + 2 * r * middle
        gate, up = row_of(gate_up, at, middle), row_of(gate_up, at + middle, middle)
        out = row_of(hidden, r * middle, middle)
        for i in range(middle):
            out[i] = silu(gate[i]) * up[i]


@part
def activate_backward(gate_up, g0, middle, rows, hidden, grads):  # type: ignore[no-untyped-def]
    """The same again, and the gradients of gate and up from that of hidden, which lies where that
    of up will."""
    for r in range(rows):
        at, b0 = g0 + 2 * r * middle, 2 * r * middle
        gate, up = row_of(gate_up, at, middle), row_of(gate_up, at + middle, middle)
        for_gate, for_up = row_of(grads, b0, middle), row_of(grads, b0 + middle, middle)
        out = row_of(hidden, r * middle, middle)
        for i in range(middle):
            given, share = for_up[i], sigmoid(gate[i])
            active = gate[i] * share
            for_gate[i] = given * up[i] * (share + active * (ONE - share))
            for_up[i] = given * active
            out[i] = active * up[i]
