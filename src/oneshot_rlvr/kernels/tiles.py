"""Tiles of a matrix product: a few rows times a few vectors of columns, sums in registers.

    C[r, :] = sum over k of A[r, k] B[k, :]        or that added to C

For a CPU in float32, in llvmlite. Loops over tiles are matrix products without a call's price,
which small batches cannot pay, and with whatever comes before and after joined on. A row's sums are
made in the order of the inner axis, whatever rows are beside it. Not here: whole matrices
(`products.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from oneshot_rlvr.kernels.compiling import part


def _width() -> int:
    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


WIDTH = _width()
"""Numbers in a vector."""
PANEL = 2 * WIDTH
"""Columns of a tile, and of a packed matrix's panels."""
# 32 vector registers hold the sums of eight rows and two vectors, 16 those of four.
TALL = 4 if WIDTH == 8 else 8


def _tile(rows: int, vectors: int, add: bool) -> Callable[..., Any]:
    """C[r, :] (+)= sum over k of A[r, k] B[k, :], for so many rows and vectors of columns.

    Matrices are an array and where in it they begin; A has strides for rows and k, B for k, C for
    rows, in numbers.
    """
    vector = ir.VectorType(ir.FloatType(), WIDTH)

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        a, a0, a_row, a_k, b, b0, b_k, count, c, c0, c_row = given

        def data(number: int, array: Any, start: Any) -> Any:
            made = context.make_array(signature.args[number])(context, builder, array)
            return builder.gep(made.data, [start])

        a, b, c = data(0, a, a0), data(4, b, b0), data(8, c, c0)
        index, zero = ir.IntType(64), ir.Constant(ir.IntType(64), 0)

        def at(pointer: Any, offset: Any) -> Any:
            return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())

        def place(r: int, v: int) -> Any:
            offset = builder.mul(c_row, ir.Constant(index, r))
            return at(c, builder.add(offset, ir.Constant(index, v * WIDTH)))

        pairs = [(r, v) for r in range(rows) for v in range(vectors)]
        row_starts = [builder.mul(a_row, ir.Constant(index, r)) for r in range(rows)]
        first = [
            builder.load(place(r, v), align=4) if add else ir.Constant(vector, [0.0] * WIDTH)
            for r, v in pairs
        ]
        before = builder.basic_block
        head, body = builder.append_basic_block(), builder.append_basic_block()
        done = builder.append_basic_block()
        builder.branch(head)
        builder.position_at_end(head)
        k = builder.phi(index)
        k.add_incoming(zero, before)
        sums = [builder.phi(vector) for _ in pairs]
        for total, value in zip(sums, first, strict=True):
            total.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", k, count), body, done)
        builder.position_at_end(body)
        b_here = builder.mul(k, b_k)
        columns = [
            builder.load(at(b, builder.add(b_here, ir.Constant(index, v * WIDTH))), align=4)
            for v in range(vectors)
        ]
        a_here = builder.mul(k, a_k)
        nothing = ir.Constant(vector, ir.Undefined)
        # One rounding where the machine has it, else two: never a call.
        kind = ir.FunctionType(vector, [vector] * 3)
        name = f"llvm.fmuladd.v{WIDTH}f32"
        multiply_add = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        for r in range(rows):
            x = builder.load(builder.gep(a, [builder.add(row_starts[r], a_here)]), align=4)
            x = builder.insert_element(nothing, x, ir.Constant(ir.IntType(32), 0))
            x = builder.shuffle_vector(x, nothing, everywhere)
            for v in range(vectors):
                number = r * vectors + v
                more = builder.call(multiply_add, [x, columns[v], sums[number]])
                sums[number].add_incoming(more, body)
        k.add_incoming(builder.add(k, ir.Constant(index, 1)), body)
        builder.branch(head)
        builder.position_at_end(done)
        for total, (r, v) in zip(sums, pairs, strict=True):
            builder.store(total, place(r, v), align=4)
        return context.get_dummy_value()

    def typed(typing, a, a0, a_row, a_k, b, b0, b_k, count, c, c0, c_row):  # type: ignore[no-untyped-def]
        i = types.int64
        return types.void(a, i, i, i, b, i, i, i, c, i, i), code

    return intrinsic(typed)


def _columns(vectors: int, add: bool) -> Any:
    """The same for any number of rows."""
    most = TALL if vectors <= 2 else TALL // 2  # sums that registers hold
    tall, four, two, one = (_tile(rows, vectors, add) for rows in (most, min(4, most), 2, 1))

    def columns(a, a0, a_row, a_k, rows, b, b0, b_k, count, c, c0, c_row):  # type: ignore[no-untyped-def]
        r = 0
        while r + most <= rows:
            tall(a, a0 + r * a_row, a_row, a_k, b, b0, b_k, count, c, c0 + r * c_row, c_row)
            r += most
        if most > 4 and r + 4 <= rows:
            four(a, a0 + r * a_row, a_row, a_k, b, b0, b_k, count, c, c0 + r * c_row, c_row)
            r += 4
        if most > 2 and r + 2 <= rows:
            two(a, a0 + r * a_row, a_row, a_k, b, b0, b_k, count, c, c0 + r * c_row, c_row)
            r += 2
        if r < rows:
            one(a, a0 + r * a_row, a_row, a_k, b, b0, b_k, count, c, c0 + r * c_row, c_row)

    return part(columns)


columns_1, columns_2, columns_4 = (_columns(vectors, False) for vectors in (1, 2, 4))
"""C = A B for so many vectors of columns."""
columns_1_add, columns_2_add, columns_4_add = (_columns(vectors, True) for vectors in (1, 2, 4))
"""C += A B."""


def _copy(number: int) -> Any:
    """C[c0:][:number] = A[a0:][:number]: all is read, then all written.

    A loop over computed places is not computed many at a time: an index might be negative.
    """
    vector = ir.VectorType(ir.FloatType(), number)

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        def place(position: int) -> Any:
            array, start = given[position], given[position + 1]
            made = context.make_array(signature.args[position])(context, builder, array)
            return builder.bitcast(builder.gep(made.data, [start]), vector.as_pointer())

        builder.store(builder.load(place(0), align=4), place(2), align=4)
        return context.get_dummy_value()

    def typed(typing, a, a0, c, c0):  # type: ignore[no-untyped-def]
        return types.void(a, types.int64, c, types.int64), code

    return intrinsic(typed)


copy_panel, copy_strip = _copy(PANEL), _copy(TALL)
"""Copies as many numbers as a panel is wide, or a tile tall."""
