"""Loops over whole vectors of numbers, written out: attention's softmax and rotation (llvmlite).

Attention's loops are short: a few dozen numbers a call. The compiler makes vectors of the long part
of a loop and goes through the rest one by one, which in these loops is most of it. Here arrays are
padded to whole vectors, and there is no rest.

    top:    max_j s_j               weigh: p_j = exp(s_j - shift), and their sum
    weigh_backward: p_j again, and ds_j = p_j (d_j - dot), dot = sum_j p_j d_j of the whole softmax
    turn:   (a, b) -> (a c - b s, b c + a s), whose backward is the same with -s

An array comes with where in it to begin. Not here: tiles (`tiles.py`), where these are used
(`attention.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from oneshot_rlvr.kernels.elementary import LN2_HIGH, LN2_LOW, LOG2_E, POLYNOMIAL
from oneshot_rlvr.kernels.tiles import WIDTH

_FLOAT, _INDEX = ir.FloatType(), ir.IntType(64)
_VECTOR, _WHOLE = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(ir.IntType(32), WIDTH)


def _constant(x: float) -> Any:
    return ir.Constant(_VECTOR, [ir.Constant(_FLOAT, x)] * WIDTH)


def _number(x: int) -> Any:
    return ir.Constant(_WHOLE, [ir.Constant(ir.IntType(32), x)] * WIDTH)


def _pointer(context: Any, builder: Any, signature: Any, given: Any, position: int) -> Any:
    """Of the array at that position of the arguments, from the place in the next."""
    array = context.make_array(signature.args[position])(context, builder, given[position])
    return builder.gep(array.data, [given[position + 1]])


def _place(builder: Any, pointer: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), _VECTOR.as_pointer())


def _load(builder: Any, pointer: Any, offset: Any) -> Any:
    return builder.load(_place(builder, pointer, offset), align=4)


def _store(builder: Any, value: Any, pointer: Any, offset: Any) -> None:
    builder.store(value, _place(builder, pointer, offset), align=4)


def _everywhere(builder: Any, x: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), x, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(one, one, _number(0))


def _called(builder: Any, name: str, arguments: list[Any], free: tuple[str, ...] = ()) -> Any:
    """LLVM's own operation of that name, of vectors; `free` is what it need not keep to."""
    result = _FLOAT if "reduce" in name else _VECTOR
    name = f"llvm.{name}.v{WIDTH}f32"
    kind = ir.FunctionType(result, [x.type for x in arguments])
    made = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(made, arguments, fastmath=free)


def _plus_product(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _called(builder, "fmuladd", [a, b, c])


def _exp(builder: Any, x: Any) -> Any:
    """As `elementary.exp`, and 0 below -87."""
    least = _constant(-87.0)
    low = builder.fcmp_ordered("<", x, least)
    x = builder.select(low, least, x)
    n = _plus_product(builder, x, _constant(LOG2_E), _constant(0.5))
    n = _called(builder, "floor", [n])
    r = _plus_product(builder, n, _constant(-LN2_HIGH), x)
    r = _plus_product(builder, n, _constant(-LN2_LOW), r)
    p = _constant(POLYNOMIAL[0])
    for c in POLYNOMIAL[1:]:
        p = _plus_product(builder, p, r, _constant(c))
    p = _plus_product(builder, p, builder.fmul(r, r), builder.fadd(r, _constant(1.0)))
    power = builder.shl(builder.add(builder.fptosi(n, _WHOLE), _number(127)), _number(23))
    return builder.select(low, _constant(0.0), builder.fmul(p, builder.bitcast(power, _VECTOR)))


def _loop(builder: Any, vectors: Any, first: Any, body: Callable[[Any, Any], Any]) -> Any:
    """What `body(offset, carried)` gives after the last vector, `first` before the first."""
    before = builder.basic_block
    head, inner, done = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    number, carried = builder.phi(_INDEX), builder.phi(_VECTOR)
    number.add_incoming(ir.Constant(_INDEX, 0), before)
    carried.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<", number, vectors), inner, done)
    builder.position_at_end(inner)
    carried.add_incoming(body(builder.mul(number, ir.Constant(_INDEX, WIDTH)), carried), inner)
    number.add_incoming(builder.add(number, ir.Constant(_INDEX, 1)), inner)
    builder.branch(head)
    builder.position_at_end(done)
    return carried


def _within(builder: Any, x: Any, offset: Any, count: Any) -> Any:
    """A vector of scores, those from `count` on made to weigh nothing."""
    left = builder.trunc(builder.sub(count, offset), ir.IntType(32))
    one = builder.insert_element(ir.Constant(_WHOLE, ir.Undefined), left, ir.Constant(_INDEX, 0))
    left = builder.shuffle_vector(one, one, _number(0))
    inside = builder.icmp_signed("<", ir.Constant(_WHOLE, list(range(WIDTH))), left)
    return builder.select(inside, x, _constant(float("-inf")))


def _top(typing, s, s0, vectors, count):  # type: ignore[no-untyped-def]
    """The largest of `count` numbers; what is not a number is passed over."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        scores = _pointer(context, builder, signature, given, 0)

        def body(offset: Any, best: Any) -> Any:
            x = _within(builder, _load(builder, scores, offset), offset, given[3])
            return builder.select(builder.fcmp_ordered(">", x, best), x, best)

        best = _loop(builder, given[2], _constant(float("-inf")), body)
        return _called(builder, "vector.reduce.fmax", [best], ("nnan",))

    return types.float32(s, types.int64, types.int64, types.int64), code


def _weigh(typing, s, s0, vectors, count, shift):  # type: ignore[no-untyped-def]
    """s = exp(s - shift), 0 from `count` on; their sum."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        scores = _pointer(context, builder, signature, given, 0)
        shift = _everywhere(builder, given[4])

        def body(offset: Any, mass: Any) -> Any:
            x = _within(builder, _load(builder, scores, offset), offset, given[3])
            weight = _exp(builder, builder.fsub(x, shift))
            _store(builder, weight, scores, offset)
            return builder.fadd(mass, weight)

        mass = _loop(builder, given[2], _constant(0.0), body)
        zero = ir.Constant(_FLOAT, 0.0)
        return _called(builder, "vector.reduce.fadd", [zero, mass], ("reassoc",))

    i, f = types.int64, types.float32
    return f(s, i, i, i, f), code


def _weigh_backward(typing, s, s0, d, d0, vectors, count, shift, dot):  # type: ignore[no-untyped-def]
    """s = exp(s - shift), 0 from `count` on; d = s (d - dot)."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        scores = _pointer(context, builder, signature, given, 0)
        grads = _pointer(context, builder, signature, given, 2)
        shift, dot = _everywhere(builder, given[6]), _everywhere(builder, given[7])

        def body(offset: Any, nothing: Any) -> Any:
            x = _within(builder, _load(builder, scores, offset), offset, given[5])
            weight = _exp(builder, builder.fsub(x, shift))
            _store(builder, weight, scores, offset)
            grad = builder.fsub(_load(builder, grads, offset), dot)
            _store(builder, builder.fmul(weight, grad), grads, offset)
            return nothing

        _loop(builder, given[4], _constant(0.0), body)
        return context.get_dummy_value()

    i, f = types.int64, types.float32
    return types.void(s, i, d, i, i, i, f, f), code


def _turn(typing, x, x0, out, out0, half, c, c0, s, s0, vectors):  # type: ignore[no-untyped-def]
    """out = (a c - b s, b c + a s) for halves x = (a, b), `half` apart in both."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        here, there, cosine, sine = (
            _pointer(context, builder, signature, given, position) for position in (0, 2, 5, 7)
        )
        half = given[4]

        def body(offset: Any, nothing: Any) -> Any:
            a, b = (_load(builder, here, o) for o in (offset, builder.add(offset, half)))
            c, s = _load(builder, cosine, offset), _load(builder, sine, offset)
            first = builder.fsub(builder.fmul(a, c), builder.fmul(b, s))
            second = _plus_product(builder, b, c, builder.fmul(a, s))
            _store(builder, first, there, offset)
            _store(builder, second, there, builder.add(offset, half))
            return nothing

        _loop(builder, given[9], _constant(0.0), body)
        return context.get_dummy_value()

    i = types.int64
    return types.void(x, i, out, i, i, c, i, s, i, i), code


top: Any = intrinsic(_top)
weigh: Any = intrinsic(_weigh)
weigh_backward: Any = intrinsic(_weigh_backward)
turn: Any = intrinsic(_turn)
