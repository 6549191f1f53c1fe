"""Tiles of a product of bfloat16 numbers whose sums stay in float32.

    C[r, :] = sum over k of A[r, k] B[k, :]        or that added to C

for 16 or 32 rows and 32 columns, in llvmlite: by AMX's tiles or AVX-512's dot products, whichever
the CPU has (`narrow.py`). Both read the same layouts: A row by row, uint16, each a bfloat16 number;
B in panels (depth / 2, 32) of uint32, each two places of the inner axis of one column, the first in
the lower half. The inner axis goes in steps of 32 places; what is missing is 0.

Rounding to bfloat16 is to the nearest, ties to even; what is not a number stays none. A row's sums
are made in one order whatever rows are beside it. Not here: whole matrices (`narrow_products.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from oneshot_rlvr.kernels.narrow import instructions

ROWS, COLUMNS, DEPTH = 16, 32, 32
"""A tile's least rows, its columns, and a step of the inner axis."""

_BYTE, _HALF, _WHOLE, _INDEX = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT, _NOTHING, _BYTES = ir.FloatType(), ir.VoidType(), ir.IntType(8).as_pointer()
_LANES = 16  # numbers of float32 in a vector
_SUMS = 8  # rows whose sums AVX-512's registers hold, two vectors each


class _BFloat(ir.Type):
    """LLVM's type of the name, which llvmlite does not bring."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(self._to_string())


def _number(x: int) -> Any:
    return ir.Constant(_INDEX, x)


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [x.type for x in arguments])
    known = builder.module.globals.get(name)
    return builder.call(known or ir.Function(builder.module, kind, name), arguments)


def _bytes_at(context: Any, builder: Any, signature: Any, given: Any, position: int) -> Any:
    """A pointer into the array at that position of the arguments, from the place in the next."""
    array = context.make_array(signature.args[position])(context, builder, given[position])
    return builder.bitcast(builder.gep(array.data, [given[position + 1]]), _BYTES)


def _steps(
    builder: Any, count: Any, firsts: list[Any], body: Callable[..., list[Any]]
) -> list[Any]:
    """What `body(step, *carried)` gives after so many steps, `firsts` before the first."""
    before = builder.basic_block
    head, inner, done = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    step, carried = builder.phi(_INDEX), [builder.phi(x.type) for x in firsts]
    step.add_incoming(_number(0), before)
    for phi, first in zip(carried, firsts, strict=True):
        phi.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<", step, count), inner, done)
    builder.position_at_end(inner)
    for phi, value in zip(carried, body(step, *carried), strict=True):
        phi.add_incoming(value, builder.basic_block)
    step.add_incoming(builder.add(step, _number(1)), builder.basic_block)
    builder.branch(head)
    builder.position_at_end(done)
    return carried


class _Operands:
    """Where A, B and C of a tile lie, in bytes."""

    def __init__(self, context: Any, builder: Any, signature: Any, given: Any):
        self.builder = builder
        self.a, self.b, self.c = (
            _bytes_at(context, builder, signature, given, position) for position in (0, 3, 6)
        )
        self.steps = given[5]
        self.a_row = builder.mul(given[2], _number(2))
        self.c_row = builder.mul(given[8], _number(4))

    def offset(self, pointer: Any, *terms: tuple[Any, int]) -> Any:
        """`pointer` moved by the sum of each term times its factor."""
        for term, factor in terms:
            pointer = self.builder.gep(pointer, [self.builder.mul(term, _number(factor))])
        return pointer


def _with_tiles(x: _Operands, tall: int, add: bool) -> None:
    """Of tiles 0 to 3 the sums, of 4 and 5 A's, of 6 and 7 B's."""
    builder = x.builder

    def tile(number: int) -> Any:
        return ir.Constant(_BYTE, number)

    def load(number: int, pointer: Any, row: Any) -> None:
        _call(builder, "llvm.x86.tileloadd64", _NOTHING, [tile(number), pointer, row])

    sums = [
        (2 * r + v, x.offset(x.c, (x.c_row, ROWS * r), (_number(1), 64 * v)))
        for r in range(tall)
        for v in range(2)
    ]
    for number, place in sums:
        if add:
            load(number, place, x.c_row)
        else:
            _call(builder, "llvm.x86.tilezero", _NOTHING, [tile(number)])

    def body(step: Any) -> list[Any]:
        panel = x.offset(x.b, (step, DEPTH * COLUMNS * 2))
        for v in range(2):
            load(6 + v, x.offset(panel, (_number(1), 64 * v)), _number(4 * COLUMNS))
        for r in range(tall):
            load(4 + r, x.offset(x.a, (step, 2 * DEPTH), (x.a_row, ROWS * r)), x.a_row)
            for v in range(2):
                numbers = [tile(2 * r + v), tile(4 + r), tile(6 + v)]
                _call(builder, "llvm.x86.tdpbf16ps", _NOTHING, numbers)
        return []

    _steps(builder, x.steps, [], body)
    for number, place in sums:
        _call(builder, "llvm.x86.tilestored64", _NOTHING, [tile(number), place, x.c_row])


def _with_vectors(x: _Operands, tall: int, add: bool) -> None:
    builder, vector = x.builder, ir.VectorType(_FLOAT, _LANES)
    pairs, narrow = ir.VectorType(_WHOLE, _LANES), ir.VectorType(_BFloat(), 2 * _LANES)
    everywhere = ir.Constant(ir.VectorType(_WHOLE, _LANES), [0] * _LANES)
    undefined = ir.Constant(pairs, ir.Undefined)

    def load(pointer: Any, kind: Any) -> Any:
        return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)

    for first in range(0, ROWS * tall, _SUMS):
        places = [
            x.offset(x.c, (x.c_row, first + r), (_number(1), 64 * v))
            for r in range(_SUMS)
            for v in range(2)
        ]
        nothing = ir.Constant(vector, [0.0] * _LANES)
        firsts = [load(place, vector) if add else nothing for place in places]

        def body(step: Any, *sums: Any, first: int = first) -> list[Any]:
            panel = x.offset(x.b, (step, 4 * COLUMNS))
            columns = [
                builder.bitcast(load(x.offset(panel, (_number(1), 64 * v)), pairs), narrow)
                for v in range(2)
            ]
            more = []
            for r in range(_SUMS):
                row = x.offset(x.a, (step, 4), (x.a_row, first + r))
                pair = builder.insert_element(undefined, load(row, _WHOLE), ir.Constant(_WHOLE, 0))
                pair = builder.shuffle_vector(pair, undefined, everywhere)
                pair = builder.bitcast(pair, narrow)
                for v in range(2):
                    given = [sums[2 * r + v], pair, columns[v]]
                    name = "llvm.x86.avx512bf16.dpbf16ps.512"
                    more.append(_call(builder, name, vector, given))
            return more

        count = builder.mul(x.steps, _number(DEPTH // 2))
        for total, place in zip(_steps(builder, count, firsts, body), places, strict=True):
            builder.store(total, builder.bitcast(place, vector.as_pointer()), align=4)


def _tile(tall: int, add: bool) -> Any:
    """C (+)= A B for 16 `tall` rows: A from place a0 with rows of a_row numbers, B's panel from b0,
    so many steps of 32 of the inner axis, C from c0 with rows of c_row numbers."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        multiply = _with_tiles if instructions() == "amx" else _with_vectors
        multiply(_Operands(context, builder, signature, given), tall, add)
        return context.get_dummy_value()

    def typed(typing, a, a0, a_row, b, b0, steps, c, c0, c_row):  # type: ignore[no-untyped-def]
        i = types.int64
        return types.void(a, i, i, b, i, i, c, i, i), code

    return intrinsic(typed)


tile_1, tile_2 = _tile(1, False), _tile(2, False)
"""C = A B for 16 and 32 rows. Between `begin` and `end`."""
tile_1_add, tile_2_add = _tile(1, True), _tile(2, True)
"""C += A B."""


def _begin(typing):  # type: ignore[no-untyped-def]
    """Tells AMX how large tiles are, on the thread that calls; nothing with AVX-512."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        if instructions() == "amx":
            told = [1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[ROWS] * 8, *[0] * 8]
            kind = ir.ArrayType(_BYTE, len(told))
            place = builder.alloca(kind)
            builder.store(ir.Constant(kind, told), place)
            pointer = builder.bitcast(place, _BYTES)
            _call(builder, "llvm.x86.ldtilecfg", _NOTHING, [pointer])
        return context.get_dummy_value()

    return types.void(), code


def _end(typing):  # type: ignore[no-untyped-def]
    """Gives the tiles back, so that a change of threads need not keep them."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        if instructions() == "amx":
            _call(builder, "llvm.x86.tilerelease", _NOTHING, [])
        return context.get_dummy_value()

    return types.void(), code


begin: Any = intrinsic(_begin)
end: Any = intrinsic(_end)


def _rounded(builder: Any, x: Any) -> Any:
    """A bfloat16 number's bits, in the lower half of 32."""
    bits = builder.bitcast(x, _WHOLE)
    high = builder.lshr(bits, ir.Constant(_WHOLE, 16))
    even = builder.and_(high, ir.Constant(_WHOLE, 1))
    near = builder.add(builder.add(bits, ir.Constant(_WHOLE, 0x7FFF)), even)
    near = builder.lshr(near, ir.Constant(_WHOLE, 16))
    none = builder.or_(high, ir.Constant(_WHOLE, 0x40))
    # By bits: with numbers the compiler may take it that there is none.
    size = builder.and_(bits, ir.Constant(_WHOLE, 0x7FFFFFFF))
    return builder.select(
        builder.icmp_unsigned(">", size, ir.Constant(_WHOLE, 0x7F800000)), none, near
    )


def _narrowed(typing, x):  # type: ignore[no-untyped-def]
    """x as a bfloat16 number's bits."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.trunc(_rounded(builder, given[0]), _HALF)

    return types.uint16(types.float32), code


def _paired(typing, x, y):  # type: ignore[no-untyped-def]
    """The bits of x and, above them, of y."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        low, high = (_rounded(builder, part) for part in given)
        return builder.or_(low, builder.shl(high, ir.Constant(_WHOLE, 16)))

    return types.uint32(types.float32, types.float32), code


narrowed: Any = intrinsic(_narrowed)
paired: Any = intrinsic(_paired)


def _turned(typing, x, x0, x_row, out, out0, out_row):  # type: ignore[no-untyped-def]
    """out = x^T for 16 rows of 16 numbers of 32 bits: all is read, then all written."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = ir.VectorType(_WHOLE, _LANES)
        here, there = (
            _bytes_at(context, builder, signature, given, position) for position in (0, 3)
        )

        def place(pointer: Any, row: Any, number: int) -> Any:
            offset = builder.mul(row, _number(4 * number))
            return builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer())

        rows = [builder.load(place(here, given[2], r), align=4) for r in range(_LANES)]
        size = 1
        while size < _LANES:  # rows r and r + size change what lies `size` apart
            masks = [
                ir.Constant(
                    kind,
                    [
                        (i if not i & size else i - size + _LANES)
                        if half == 0
                        else (i + size if not i & size else i + _LANES)
                        for i in range(_LANES)
                    ],
                )
                for half in (0, 1)
            ]
            for r in range(_LANES):
                if not r & size:
                    pair = rows[r], rows[r + size]
                    rows[r], rows[r + size] = (builder.shuffle_vector(*pair, m) for m in masks)
            size *= 2
        for r in range(_LANES):
            builder.store(rows[r], place(there, given[5], r), align=4)
        return context.get_dummy_value()

    i = types.int64
    return types.void(x, i, i, out, i, i), code


turned: Any = intrinsic(_turned)
