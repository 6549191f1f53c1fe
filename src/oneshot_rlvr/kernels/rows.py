"""Rows of flat arrays: views, sums and copies, so that loops over them are vectors."""

from __future__ import annotations

from oneshot_rlvr.kernels.compiling import inlined, part


@inlined
def row_of(x, begin, count):  # type: ignore[no-untyped-def]
    """Loops over such a view are vectors; over computed places they are not."""
    return x[begin : begin + count]


@part
def add(x, x0, y, y0, count):  # type: ignore[no-untyped-def]
    """x[x0:] += y[y0:], so many numbers."""
    x_part, y_part = row_of(x, x0, count), row_of(y, y0, count)
    for i in range(count):
        x_part[i] += y_part[i]


@part
def copy(x, x0, y, count):  # type: ignore[no-untyped-def]
    """y = x of that part of both."""
    x_part, y_part = row_of(x, x0, count), row_of(y, x0, count)
    for i in range(count):
        y_part[i] = x_part[i]
