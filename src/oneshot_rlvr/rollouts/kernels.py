"""A decoding step's small operations as compiled loops, for a CPU in float32 (numba).

Between two matrix products of a decoder layer lie some twenty small operations (rotation, two
attentions, a softmax over both, copies between their layouts), each with its own price and its own
pass over memory. Here they are one pass over a rollout's own keys and values, which stay where they
are: `attend`. No row reads another, so that a rollout does not depend on what is decoded beside it.

Two heads of a group are computed together: they read the same keys. Compiled on first use and kept
beside this file (or in the user's cache); they release Python's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Sums in any order. Not among them: that nothing is infinite or not a number; a model that diverged
# must be seen to have.
_FREE = {"reassoc", "contract", "arcp", "nsz"}


def _compiled() -> Callable[[Any], Any]:
    """numba's `njit`, kept on disk where any place can be written."""

    def wrap(function: Any) -> Any:
        try:
            return njit(cache=True, nogil=True, fastmath=_FREE)(function)
        except RuntimeError:  # neither this directory nor the user's own
            return njit(nogil=True, fastmath=_FREE)(function)

    return wrap


def _float_of_bits(typing_context, x):  # type: ignore[no-untyped-def]
    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), code


_bits_as_float: Any = intrinsic(_float_of_bits)


_ZERO, _ONE, _HALF, _TINIEST = (np.float32(x) for x in (0, 1, 0.5, -87.0))
_LOG2_E, _LN2_HIGH, _LN2_LOW = (
    np.float32(x) for x in (1.4426950408889634, 0.693359375, -2.12194440e-4)
)
# exp on [-ln 2 / 2, ln 2 / 2], as in the Cephes library: 2 units in the last place.
_C5, _C4, _C3, _C2, _C1 = (
    np.float32(x)
    for x in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)
_C6 = np.float32(1.9875691500e-4)
_SHIFT, _BIAS = np.int32(23), np.int32(127)
_PART = 64  # logits whose weights are added up before it is asked where a token falls


@njit(inline="always", fastmath=_FREE)
def _exp(x):  # type: ignore[no-untyped-def]
    """Of x <= 0, without a branch, so that a loop of it is computed many at a time."""
    x = _TINIEST if x < _TINIEST else x
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = ((((_C6 * r + _C5) * r + _C4) * r + _C3) * r + _C2) * r + _C1
    return (p * r * r + r + _ONE) * _bits_as_float((np.int32(n) + _BIAS) << _SHIFT)


@njit(inline="always", fastmath=_FREE)
def _rotate(x, cosine, sine, factor, out, half):  # type: ignore[no-untyped-def]
    for i in range(half):
        out[i] = (x[i] * cosine[i] - x[i + half] * sine[i]) * factor
        out[i + half] = (x[i + half] * cosine[i] + x[i] * sine[i]) * factor


@njit(inline="always", fastmath=_FREE)
def _scores(keys, count, q, s, at, size):  # type: ignore[no-untyped-def]
    for t in range(count):
        a = _ZERO
        b = _ZERO
        for i in range(size):
            a += q[0, i] * keys[t, i]
            b += q[1, i] * keys[t, i]
        s[0, at + t] = a
        s[1, at + t] = b


@njit(fastmath={"nnan", "nsz"})  # else it is not computed many at a time
def _largest(x, count):  # type: ignore[no-untyped-def]
    best = x[0]
    for t in range(count):
        best = max(best, x[t])
    return best


@njit(inline="always", fastmath=_FREE)
def _softmax(s, count):  # type: ignore[no-untyped-def]
    """Overwrites s with exp(s - max); their sum."""
    best = _largest(s, count)
    total = _ZERO
    for t in range(count):
        weight = _exp(s[t] - best)
        s[t] = weight
        total += weight
    return total


@njit(inline="always", fastmath=_FREE)
def _read(values, count, s, at, out, size):  # type: ignore[no-untyped-def]
    fours = count // 4 * 4
    for t in range(0, fours, 4):
        a0, a1, a2, a3 = s[0, at + t], s[0, at + t + 1], s[0, at + t + 2], s[0, at + t + 3]
        b0, b1, b2, b3 = s[1, at + t], s[1, at + t + 1], s[1, at + t + 2], s[1, at + t + 3]
        for i in range(size):
            x0, x1, x2, x3 = values[t, i], values[t + 1, i], values[t + 2, i], values[t + 3, i]
            out[0, i] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            out[1, i] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
    for t in range(fours, count):
        for i in range(size):
            out[0, i] += s[0, at + t] * values[t, i]
            out[1, i] += s[1, at + t] * values[t, i]


@_compiled()
def attend(  # type: ignore[no-untyped-def]
    qkv, turns, which, lengths, prompt_keys, prompt_values, keys, values, filled, factor, out
):
    """What n new tokens read from their prompts and from their own rollouts so far.

    qkv (n, heads + 2 kv, size): queries, keys, values, not rotated. turns (positions, 2, size / 2):
    cosines and sines. Rollout r continues prompt which[r], of lengths[which[r]] tokens, with keys
    and values (kv, B, P, size) in `prompt_keys` and `prompt_values`. Its own (n, kv, capacity,
    size) are in `keys` and `values`; place filled - 1 is written here. `factor` is on the
    queries. out: (n, heads * size).
    """
    n = qkv.shape[0]
    kv, size = keys.shape[1], keys.shape[3]
    half = size // 2
    per = (qkv.shape[1] - 2 * kv) // kv
    heads = kv * per
    last = filled - 1
    q = np.empty((2, size), np.float32)
    o = np.empty((2, size), np.float32)
    s = np.empty((2, prompt_keys.shape[2] + filled), np.float32)
    for r in range(n):
        b = which[r]
        p = lengths[b]
        cosine, sine = turns[p + last, 0], turns[p + last, 1]
        for g in range(kv):
            own_keys, own_values = keys[r, g], values[r, g]
            _rotate(qkv[r, heads + g], cosine, sine, _ONE, own_keys[last], half)
            own_values[last] = qkv[r, heads + kv + g]
            for first in range(g * per, (g + 1) * per, 2):
                # An odd head out is computed beside itself.
                second = min(first + 1, (g + 1) * per - 1)
                _rotate(qkv[r, first], cosine, sine, factor, q[0], half)
                _rotate(qkv[r, second], cosine, sine, factor, q[1], half)
                _scores(prompt_keys[g, b], p, q, s, 0, size)
                _scores(own_keys, filled, q, s, p, size)
                z0 = _ONE / _softmax(s[0], p + filled)
                z1 = _ONE / _softmax(s[1], p + filled)
                for i in range(size):
                    o[0, i] = _ZERO
                    o[1, i] = _ZERO
                _read(prompt_values[g, b], p, s, 0, o, size)
                _read(own_values, filled, s, p, o, size)
                for i in range(size):
                    out[r, first * size + i] = o[0, i] * z0
                    out[r, second * size + i] = o[1, i] * z1


@_compiled()
def norm(x, epsilon, out):  # type: ignore[no-untyped-def]
    """Root-mean-square norm of the rows of x (n, width), without its weight."""
    width = x.shape[1]
    for r in range(x.shape[0]):
        square = _ZERO
        for i in range(width):
            square += x[r, i] * x[r, i]
        scale = _ONE / np.sqrt(square / np.float32(width) + epsilon)
        for i in range(width):
            out[r, i] = x[r, i] * scale


@_compiled()
def draw(logits, uniforms, temperature, tokens, logprobs):  # type: ignore[no-untyped-def]
    """One token a row of logits (n, V) by inversion, as `sampling.sample` does, and its log-prob.

    Weights are added up in double precision, by parts, then within the part that is hit: a row's
    token is a function of its logits and its uniform alone. False where a row is no distribution
    (not a number, or infinite).
    """
    n, vocabulary = logits.shape
    parts = (vocabulary + _PART - 1) // _PART
    weights = np.empty(vocabulary, np.float32)
    sums = np.empty(parts, np.float64)
    for r in range(n):
        row = logits[r]
        best = _largest(row, vocabulary) / temperature
        for i in range(vocabulary):
            x = row[i] / temperature - best
            weights[i] = _ZERO if x < _TINIEST else _exp(x)
        total = 0.0
        for part in range(parts):
            mass = 0.0
            for i in range(part * _PART, min((part + 1) * _PART, vocabulary)):
                mass += np.float64(weights[i])
            sums[part] = mass
            total += mass
        if not 1.0 <= total < np.inf:
            return False
        target = uniforms[r] * total
        # The last part with mass that begins before the target, then the last token of non-zero
        # weight that does: rounding may let the target fall behind all of them.
        begins, before, found = 0, 0.0, 0.0
        for part in range(parts):
            if sums[part] > 0.0 and before <= target:
                begins, found = part, before
            before += sums[part]
        token = 0
        for i in range(begins * _PART, min((begins + 1) * _PART, vocabulary)):
            if weights[i] > _ZERO and found <= target:
                token = i
            found += np.float64(weights[i])
        tokens[r] = token
        logprobs[r] = np.float64(row[token] / temperature - best) - np.log(total)
    return True
