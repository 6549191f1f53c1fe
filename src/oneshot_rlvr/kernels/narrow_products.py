"""Products of whole matrices of bfloat16 numbers, sums in float32, and the rounding of operands.

Matrices come and go in float32; an operand is rounded once, into the layout that tiles read
(`narrow_tiles.py`): `rounded` and `transposed` make an A, `paired_rows` and `paired_columns` a B.

    C = A B (`multiply`); its backward, dA = dC B^T and dB = A^T dC, are products of the same kind
    of other operands

The inner axis is filled up with zeros to a whole step, rows of an A to a whole tile (what they are
does not matter: no row reads another). Not here: what is computed with them.
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import compiled, part
from oneshot_rlvr.kernels.elementary import ZERO
from oneshot_rlvr.kernels.narrow_tiles import (
    COLUMNS,
    DEPTH,
    ROWS,
    begin,
    end,
    narrowed,
    paired,
    tile_1,
    tile_1_add,
    tile_2,
    tile_2_add,
    turned,
)
from oneshot_rlvr.kernels.products import whole

_TALL = 2 * ROWS
_STRIP = 512  # rows of an A that stay in a core's second-level cache while panels pass
_NONE16, _NONE32 = np.uint16(0), np.uint32(0)
_TURN = 16  # rows and columns that are transposed at once


@part
def room_of(rows, depth):  # type: ignore[no-untyped-def]
    """For an A: its rows to whole tiles, its inner axis to whole steps."""
    return np.empty(whole(rows, _TALL) * whole(depth, DEPTH), np.uint16)


@part
def panels_of(depth, columns):  # type: ignore[no-untyped-def]
    """For a B."""
    return np.empty(whole(depth, DEPTH) // 2 * whole(columns, COLUMNS), np.uint32)


@part
def rounded(x, x0, x_row, rows, depth, out):  # type: ignore[no-untyped-def]
    """A (rows, depth) of x from place x0 on."""
    out_row = whole(depth, DEPTH)
    for r in range(rows):
        given, made = (
            x[x0 + r * x_row : x0 + r * x_row + depth],
            out[r * out_row : (r + 1) * out_row],
        )
        for i in range(depth):
            made[i] = narrowed(given[i])
        for i in range(depth, out_row):
            made[i] = _NONE16


@part
def paired_rows(x, x0, x_row, depth, columns, panels, p0):  # type: ignore[no-untyped-def]
    """B (depth, columns) of x from place x0 on."""
    deep = whole(depth, DEPTH) // 2
    for j in range(0, columns, COLUMNS):
        width, base = min(COLUMNS, columns - j), p0 + j * deep
        for k in range(deep):
            at = x0 + 2 * k * x_row + j
            made = panels[base + k * COLUMNS : base + (k + 1) * COLUMNS]
            if 2 * k + 1 < depth:
                above, below = x[at : at + width], x[at + x_row : at + x_row + width]
                for i in range(width):
                    made[i] = paired(above[i], below[i])
            elif 2 * k < depth:
                above = x[at : at + width]
                for i in range(width):
                    made[i] = paired(above[i], ZERO)
            else:
                width = 0
            for i in range(width, COLUMNS):
                made[i] = _NONE32


@part
def paired_columns(x, x0, x_row, scale, columns, depth, panels, p0):  # type: ignore[no-untyped-def]
    """B = X^T (depth, columns) of X (columns, depth) from place x0 on; X times `scale` (depth)
    where that is not empty."""
    deep = whole(depth, DEPTH) // 2
    some = np.empty(COLUMNS * 2 * deep, np.uint16)
    scaled = np.empty(depth, np.float32)
    for j in range(0, columns, COLUMNS):
        width = min(COLUMNS, columns - j)
        if scale.shape[0]:
            for r in range(width):
                row = x[x0 + (j + r) * x_row : x0 + (j + r) * x_row + depth]
                for i in range(depth):
                    scaled[i] = row[i] * scale[i]
                rounded(scaled, 0, depth, 1, depth, some[r * 2 * deep :])
        else:
            rounded(x, x0 + j * x_row, x_row, width, depth, some)
        for i in range(width * 2 * deep, COLUMNS * 2 * deep):
            some[i] = _NONE16
        _turn(some.view(np.uint32), 0, deep, COLUMNS, deep, panels, p0 + j * deep, COLUMNS)


@part
def _turn(x, x0, x_row, rows, columns, out, out0, out_row):  # type: ignore[no-untyped-def]
    """out = x^T for whole blocks of 16 rows and columns."""
    for r in range(0, rows, _TURN):
        for c in range(0, columns, _TURN):
            turned(x, x0 + r * x_row + c, x_row, out, out0 + c * out_row + r, out_row)


@part
def transposed(panels, depth, columns, out):  # type: ignore[no-untyped-def]
    """A = B^T (columns, depth) of a B in panels."""
    deep = whole(depth, DEPTH) // 2
    for j in range(0, columns, COLUMNS):
        _turn(panels, j * deep, COLUMNS, deep, COLUMNS, out.view(np.uint32), j * deep, deep)


@part
def _tile(a, a0, tall, deep, panels, p0, c, c0, c_row, add):  # type: ignore[no-untyped-def]
    """C (+)= A B for `tall` rows, a tile or two."""
    steps = deep // DEPTH
    if tall == ROWS:
        if add:
            tile_1_add(a, a0, deep, panels, p0, steps, c, c0, c_row)
        else:
            tile_1(a, a0, deep, panels, p0, steps, c, c0, c_row)
    elif add:
        tile_2_add(a, a0, deep, panels, p0, steps, c, c0, c_row)
    else:
        tile_2(a, a0, deep, panels, p0, steps, c, c0, c_row)


@part
def _piece(a, a0, rows, deep, panels, p0, c, c0, c_row, width, add, edge):  # type: ignore[no-untyped-def]
    """C (rows, width) (+)= A B of at most two tiles; what is no whole tile is made in `edge`."""
    tall = whole(rows, ROWS)
    if rows == tall and width == COLUMNS:
        _tile(a, a0, tall, deep, panels, p0, c, c0, c_row, add)
        return
    if add:  # sums begin with what is there, as in a whole tile: a row is the same in both
        for r in range(rows):
            here = edge[r * COLUMNS : r * COLUMNS + width]
            there = c[c0 + r * c_row : c0 + r * c_row + width]
            for i in range(width):
                here[i] = there[i]
    _tile(a, a0, tall, deep, panels, p0, edge, 0, COLUMNS, add)
    for r in range(rows):
        here = edge[r * COLUMNS : r * COLUMNS + width]
        there = c[c0 + r * c_row : c0 + r * c_row + width]
        for i in range(width):
            there[i] = here[i]


@part
def multiply(a, rows, depth, panels, p0, columns, c, c0, c_row, add):  # type: ignore[no-untyped-def]
    """C (rows, columns) = A B, or C += A B; C in float32 from place c0 on."""
    deep = whole(depth, DEPTH)
    edge = np.empty(_TALL * COLUMNS, np.float32)
    begin()
    for r0 in range(0, rows, _STRIP):
        last = min(r0 + _STRIP, rows)
        for j in range(0, columns, COLUMNS):
            for r in range(r0, last, _TALL):
                _piece(
                    a, r * deep, min(_TALL, last - r), deep, panels, p0 + j * deep // 2,
                    c, c0 + r * c_row + j, c_row, min(COLUMNS, columns - j), add, edge,
                )  # fmt: skip
    end()


@compiled
def pack_map(weight, scale, panels):  # type: ignore[no-untyped-def]
    """Panels of W^T, for x W^T, of a W (outputs, inputs) times `scale` (inputs), if any."""
    outputs, inputs = weight.shape
    paired_columns(weight.reshape(-1), 0, inputs, scale, outputs, inputs, panels.reshape(-1), 0)


def packed_shape(outputs: int, inputs: int) -> tuple[int, int, int]:
    """(panels, pairs, 32) of a map (outputs, inputs) that `pack_map` packs."""
    return -(-outputs // COLUMNS), -(-inputs // DEPTH) * DEPTH // 2, COLUMNS
