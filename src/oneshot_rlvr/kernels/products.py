"""Products of whole matrices from tiles, with packed operands: what a layer's training is made of.

For a CPU in float32 (numba), parts of compiled functions. Matrices are flat arrays, where in them
they begin, and strides in numbers. Packing costs a copy of an operand and pays where the product
uses it often: the tiles then read memory in order.

    C = A B (`multiply_packed`); its backward, dA = dC B^T (the other packing of the same map) and
    dB = A^T dC (`add_transposed`)

Not here: tiles (`tiles.py`), and what is computed with the products.
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import part
from oneshot_rlvr.kernels.elementary import ZERO
from oneshot_rlvr.kernels.tiles import (
    PANEL,
    TALL,
    WIDTH,
    columns_1,
    columns_1_add,
    columns_2,
    columns_2_add,
    copy_panel,
    copy_strip,
)

# Of the inner axis, multiplied before the next part: a panel of that many rows stays in a
# core's second-level cache, beside what it is multiplied with.
_INNER = 768
# Of A's columns packed at once for A^T B: with 256 tokens 128 KiB, which leaves room in a core's
# second-level cache.
_STRIPS = 128
_RUN = 64  # rows of a panel written before the next column: 8 KiB, which stay in the first cache


@part
def whole(count, unit):  # type: ignore[no-untyped-def]
    """`count` rounded up to a multiple of `unit`."""
    return (count + unit - 1) // unit * unit


@part
def pack(b, b0, b_k, b_column, columns, count, panels, p0, k0, depth):  # type: ignore[no-untyped-def]
    """B (count, columns) as rows k0.. of panels (columns / PANEL, depth, PANEL) at p0.

    Columns that are missing in the last panel are 0.
    """
    for j in range(0, columns, PANEL):
        width = min(PANEL, columns - j)
        base = p0 + j * depth + k0 * PANEL
        panel = panels[base : base + count * PANEL]
        if b_column == 1 and width == PANEL:
            for k in range(count):
                copy_panel(b, b0 + k * b_k + j, panels, base + k * PANEL)
            continue
        for first in range(0, count, _RUN):
            for i in range(width):
                at = b0 + (j + i) * b_column
                if b_k == 1:
                    column = b[at + first : at + count]
                    for k in range(min(_RUN, count - first)):
                        panel[(first + k) * PANEL + i] = column[k]
                else:
                    for k in range(first, min(first + _RUN, count)):
                        panel[k * PANEL + i] = b[at + k * b_k]
        for k in range(count):
            for i in range(width, PANEL):
                panel[k * PANEL + i] = ZERO


@part
def packed_transposed(weight):  # type: ignore[no-untyped-def]
    """Panels of W^T, for x W^T; W is (outputs, inputs)."""
    outputs, inputs = weight.shape
    panels = np.empty(whole(outputs, PANEL) * inputs, np.float32)
    pack(weight.reshape(-1), 0, 1, inputs, outputs, inputs, panels, 0, 0, inputs)
    return panels


@part
def packed(weight):  # type: ignore[no-untyped-def]
    """Panels of W, for g W."""
    outputs, inputs = weight.shape
    panels = np.empty(whole(inputs, PANEL) * outputs, np.float32)
    pack(weight.reshape(-1), 0, inputs, 1, inputs, outputs, panels, 0, 0, outputs)
    return panels


@part
def _panel(a, a0, a_row, a_k, rows, panels, p0, count, c, c0, c_row, width, add):  # type: ignore[no-untyped-def]
    """C (rows, width) = or += A times one panel."""
    if width == PANEL:
        if add:
            columns_2_add(a, a0, a_row, a_k, rows, panels, p0, PANEL, count, c, c0, c_row)
        else:
            columns_2(a, a0, a_row, a_k, rows, panels, p0, PANEL, count, c, c0, c_row)
    elif width == WIDTH:
        if add:
            columns_1_add(a, a0, a_row, a_k, rows, panels, p0, PANEL, count, c, c0, c_row)
        else:
            columns_1(a, a0, a_row, a_k, rows, panels, p0, PANEL, count, c, c0, c_row)
    else:
        edge = np.empty(TALL * PANEL, np.float32)
        for r in range(0, rows, TALL):
            tall = min(TALL, rows - r)
            a_here, c_here = a0 + r * a_row, c0 + r * c_row
            columns_2(a, a_here, a_row, a_k, tall, panels, p0, PANEL, count, edge, 0, PANEL)
            for q in range(tall):
                for i in range(width):
                    x = edge[q * PANEL + i]
                    at = c_here + q * c_row + i
                    c[at] = c[at] + x if add else x


@part
def multiply_packed(a, a0, a_row, rows, panels, columns, count, c, c0, c_row, add):  # type: ignore[no-untyped-def]
    """C (rows, columns) = A B, or C += A B, for a packed B of `count` rows."""
    for k0 in range(0, count, _INNER):
        inner = min(_INNER, count - k0)
        for j in range(0, columns, PANEL):
            _panel(
                a, a0 + k0, a_row, 1, rows, panels, j * count + k0 * PANEL, inner,
                c, c0 + j, c_row, min(PANEL, columns - j), add or k0 > 0,
            )  # fmt: skip


@part
def add_transposed(a, a0, a_row, rows, b, b0, b_row, columns, count, c):  # type: ignore[no-untyped-def]
    """C (rows, columns) += A^T B for A (count, rows) and B (count, columns), a few hundred rows.

    Both are packed: A, whose columns are read, into strips as wide as a tile is tall.
    """
    panels = np.empty(whole(columns, PANEL) * count, np.float32)
    pack(b, b0, b_row, 1, columns, count, panels, 0, 0, count)
    strips = np.empty(_STRIPS * count, np.float32)
    for r0 in range(0, rows, _STRIPS):
        tall = min(_STRIPS, rows - r0)
        full = tall // TALL * TALL
        for k in range(count):
            at = a0 + k * a_row + r0
            for s in range(0, full, TALL):
                copy_strip(a, at + s, strips, s * count + k * TALL)
            for i in range(full, tall):
                strips[full * count + k * TALL + i - full] = a[at + i]
        for j in range(0, columns, PANEL):
            width = min(PANEL, columns - j)
            for s in range(0, tall, TALL):
                _panel(
                    strips, s * count, 1, TALL, min(TALL, tall - s), panels, j * count, count,
                    c, (r0 + s) * columns + j, columns, width, True,
                )  # fmt: skip
