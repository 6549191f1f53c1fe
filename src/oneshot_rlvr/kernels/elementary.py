"""Constants, the exponential, the logistic function and the largest: a number at a time.

Loops of them become vectors: no branch, and loops run from 0 over slices, since numba looks at
every index that might be negative, and what it looks at is not computed many at a time.

    exp x = 2^n exp r,   n = round(x / ln 2),   r = x - n ln 2 by two parts of ln 2
    sigmoid x = 1 / (1 + exp(-x)),   d sigmoid / dx = sigmoid (1 - sigmoid)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from oneshot_rlvr.kernels.compiling import inlined

ZERO, ONE, _HALF = (np.float32(x) for x in (0, 1, 0.5))
TINIEST, GREATEST = np.float32(-87), np.float32(88)
"""What `exp` takes."""

LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.693359375, -2.12194440e-4
POLYNOMIAL = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
    5.0000001201e-1,
)  # fmt: skip
"""exp on [-ln 2 / 2, ln 2 / 2], as in the Cephes library: 2 units in the last place."""

_LOG2_E, _LN2_HIGH, _LN2_LOW = (np.float32(x) for x in (LOG2_E, LN2_HIGH, LN2_LOW))
_C6, _C5, _C4, _C3, _C2, _C1 = (np.float32(x) for x in POLYNOMIAL)
_SHIFT, _BIAS = np.int32(23), np.int32(127)


def _float_of_bits(typing_context, x):  # type: ignore[no-untyped-def]
    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), code


_bits_as_float: Any = intrinsic(_float_of_bits)


@inlined
def exp(x):  # type: ignore[no-untyped-def]
    """Of -87 <= x <= 88 (below that as at -87), without a branch: a loop of it is vectors."""
    x = TINIEST if x < TINIEST else x
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = ((((_C6 * r + _C5) * r + _C4) * r + _C3) * r + _C2) * r + _C1
    return (p * r * r + r + ONE) * _bits_as_float((np.int32(n) + _BIAS) << _SHIFT)


@inlined
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)); for x below -88 as at -88."""
    negative = -x
    negative = GREATEST if negative > GREATEST else negative
    return ONE / (ONE + exp(negative))


@njit(fastmath={"nnan", "nsz"})  # else it is not computed many at a time
def largest(x):  # type: ignore[no-untyped-def]
    """Of x, which is not empty."""
    best = x[0]
    for t in range(len(x)):
        best = max(best, x[t])
    return best
