"""Attention of responses to one prompt and to their own past as compiled loops, for training.

For a CPU in float32 (numba). A block of a row's queries meets all keys that it sees at once: its
scores are the only ones that exist, and the backward pass makes them again from the sums that the
forward pass kept (Dao et al. 2022, arXiv 2205.14135, without its blocks of keys: a block's scores
fit in a core's cache). The query heads of a group read their keys together; the prompt's keys lie
there once for all rows; keys after a block's last query are not multiplied.

A call takes tokens of several rows, row n from starts[n] to starts[n + 1]. With per row and query i
    p_ij = exp(s_ij - L_i), s_ij = c (q_i . k_j), L_i = log sum_j exp(s_ij), o_i = sum_j p_ij v_j
the gradients are, for g_i that of o_i,
    ds_ij = p_ij (g_i . v_j - g_i . o_i), dq_i = c sum_j ds_ij k_j, dk_j = c sum_i ds_ij q_i,
    dv_j = sum_i p_ij g_i
and rotations turn back. Not here: autograd's side (`policy/compiled_blocks.py`); sampling
(`decoding.py`).
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import compiled, part
from oneshot_rlvr.kernels.elementary import ONE, ZERO
from oneshot_rlvr.kernels.products import pack, whole
from oneshot_rlvr.kernels.rotation import factors_of, rotate
from oneshot_rlvr.kernels.tiles import (
    PANEL,
    WIDTH,
    columns_1,
    columns_1_add,
    columns_2,
    columns_2_add,
)
from oneshot_rlvr.kernels.vectors import top, weigh, weigh_backward


@part
def _queries(per):  # type: ignore[no-untyped-def]
    """Of a block: with those of a group's heads enough for a product, few masked."""
    return 32 if per == 1 else 16


@part
def _copy(x, x0, x_row, rows, size, out, out0, wide):  # type: ignore[no-untyped-def]
    """Rows of `size` numbers into rows of `wide`, the rest 0."""
    for r in range(rows):
        at = out0 + r * wide
        given, row = x[x0 + r * x_row : x0 + r * x_row + size], out[at : at + wide]
        for i in range(size):
            row[i] = given[i]
        for i in range(size, wide):
            row[i] = ZERO


@part
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = ZERO
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@part
def _by_columns(a, rows, wide, panels, p0, count, size, c, c0, c_row):  # type: ignore[no-untyped-def]
    """C (rows, count) = A B for packed columns B of `size` numbers; overwrites up to a vector."""
    for j in range(0, count, PANEL):
        if count - j > WIDTH:
            columns_2(a, 0, wide, 1, rows, panels, p0 + j * size, PANEL, size, c, c0 + j, c_row)
        else:
            columns_1(a, 0, wide, 1, rows, panels, p0 + j * size, PANEL, size, c, c0 + j, c_row)


@part
def _by_rows(a, a0, a_row, a_k, rows, b, b0, count, c, c0, wide, add):  # type: ignore[no-untyped-def]
    """C (rows, wide) = or += A B for `count` rows B."""
    for v in range(0, wide, PANEL):
        if wide - v >= PANEL:
            if add:
                columns_2_add(a, a0, a_row, a_k, rows, b, b0 + v, wide, count, c, c0 + v, wide)
            else:
                columns_2(a, a0, a_row, a_k, rows, b, b0 + v, wide, count, c, c0 + v, wide)
        elif add:
            columns_1_add(a, a0, a_row, a_k, rows, b, b0 + v, wide, count, c, c0 + v, wide)
        else:
            columns_1(a, a0, a_row, a_k, rows, b, b0 + v, wide, count, c, c0 + v, wide)


@part
def _longest(starts):  # type: ignore[no-untyped-def]
    most = 0
    for n in range(starts.shape[0] - 1):
        most = max(most, starts[n + 1] - starts[n])
    return most


@part
def _packed_heads(heads, wide):  # type: ignore[no-untyped-def]
    """Of (P, kv, size): columns by head, (kv, panels), and rows by head, (kv, P, wide)."""
    P, kv, size = heads.shape
    flat, each = heads.reshape(-1), whole(P, PANEL) * size
    columns = np.empty(kv * each, np.float32)
    rows = np.empty(kv * P * wide, np.float32)
    for g in range(kv):
        pack(flat, g * size, 1, kv * size, P, size, columns, g * each, 0, size)
        _copy(flat, g * size, kv * size, P, size, rows, g * P * wide, wide)
    return columns, rows


@part
def _turned_queries(x, row, first, i0, rows, g, per, size, wide, factors, q):  # type: ignore[no-untyped-def]
    """A block's queries of a group's heads, head after head, (per * rows, wide)."""
    for h in range(per):
        for r in range(rows):
            at = (h * rows + r) * wide
            source = (first + i0 + r) * row + (g * per + h) * size
            rotate(x, source, q, at, size // 2, factors, i0 + r)
            for i in range(size, wide):
                q[at + i] = ZERO


@compiled
def attend(qkv, starts, cosine, sine, keys, values, factor, out, logsums):  # type: ignore[no-untyped-def]
    """out (M, heads * size) and logsums (M, heads) of M tokens.

    qkv (M, (heads + 2 kv) * size) is not rotated; cosine and sine (longest row, size / 2) are those
    of the rows' positions. keys and values (P, kv, size) are the prompt's, rotated; P is not 0.
    `factor` is on the scores.
    """
    row, (P, kv, size) = qkv.shape[1], keys.shape
    heads, half, wide = logsums.shape[1], size // 2, whole(size, WIDTH)
    per, longest = heads // kv, _longest(starts)
    prompt_keys, _ = _packed_heads(keys, wide)
    _, prompt_values = _packed_heads(values, wide)
    own = whole(P, PANEL)  # where scores of own keys begin
    stride, each = own + whole(longest, PANEL), own * size
    x, o_flat = qkv.reshape(-1), out.reshape(-1)
    for_q, for_k = factors_of(cosine, sine, factor), factors_of(cosine, sine, ONE)
    k_rows = np.empty(longest * size, np.float32)
    k_columns = np.empty(whole(longest, PANEL) * size, np.float32)
    v_rows = np.empty(longest * wide, np.float32)
    most = _queries(per)
    q = np.empty(per * most * wide, np.float32)
    o = np.empty(per * most * wide, np.float32)
    s = np.empty(per * most * stride, np.float32)
    masses = np.empty(per * most, np.float32)
    for n in range(starts.shape[0] - 1):
        first, R = starts[n], starts[n + 1] - starts[n]
        for g in range(kv):
            k0 = first * row + (heads + g) * size
            for t in range(R):
                rotate(x, k0 + t * row, k_rows, t * size, half, for_k, t)
            pack(k_rows, 0, 1, size, R, size, k_columns, 0, 0, size)
            _copy(x, k0 + kv * size, row, R, size, v_rows, 0, wide)
            for i0 in range(0, R, most):
                rows = min(most, R - i0)
                total, seen = per * rows, i0 + rows
                _turned_queries(x, row, first, i0, rows, g, per, size, wide, for_q, q)
                _by_columns(q, total, wide, prompt_keys, g * each, P, size, s, 0, stride)
                _by_columns(q, total, wide, k_columns, 0, seen, size, s, own, stride)
                of_prompt, of_own = whole(P, WIDTH) // WIDTH, whole(seen, WIDTH) // WIDTH
                for h in range(per):
                    for r in range(rows):
                        a, last = h * rows + r, i0 + r
                        s0 = a * stride
                        s1 = s0 + own
                        best = max(top(s, s0, of_prompt, P), top(s, s1, of_own, last + 1))
                        mass = weigh(s, s0, of_prompt, P, best)
                        mass += weigh(s, s1, of_own, last + 1, best)
                        logsums[first + last, g * per + h] = best + np.log(mass)
                        masses[a] = mass
                _by_rows(s, 0, stride, 1, total, prompt_values, g * P * wide, P, o, 0, wide, False)
                _by_rows(s, own, stride, 1, total, v_rows, 0, seen, o, 0, wide, True)
                for h in range(per):
                    for r in range(rows):
                        a = h * rows + r
                        at = ((first + i0 + r) * heads + g * per + h) * size
                        read, result = o[a * wide : a * wide + size], o_flat[at : at + size]
                        scale = ONE / masses[a]
                        for i in range(size):
                            result[i] = read[i] * scale


@compiled
def attend_backward(  # type: ignore[no-untyped-def]
    grad, qkv, starts, cosine, sine, keys, values, factor, out, logsums,
    grad_qkv, grad_keys, grad_values,
):  # fmt: skip
    """Of `attend`; grad_keys and grad_values (kv, P, size up to a whole vector) begin at 0."""
    row, (P, kv, size) = qkv.shape[1], keys.shape
    heads, half, wide = logsums.shape[1], size // 2, whole(size, WIDTH)
    per, longest = heads // kv, _longest(starts)
    key_columns, key_rows = _packed_heads(keys, wide)
    value_columns, _ = _packed_heads(values, wide)
    own = whole(P, PANEL)
    stride, each = own + whole(longest, PANEL), own * size
    x, g_flat, o_flat, dx = qkv.reshape(-1), grad.reshape(-1), out.reshape(-1), grad_qkv.reshape(-1)
    for_q, for_k = factors_of(cosine, sine, factor), factors_of(cosine, sine, ONE)
    for_dq, for_dk = factors_of(cosine, -sine, factor), factors_of(cosine, -sine, ONE)
    dk_prompt, dv_prompt = grad_keys.reshape(-1), grad_values.reshape(-1)
    k_rows = np.empty(longest * wide, np.float32)
    k_columns = np.empty(whole(longest, PANEL) * size, np.float32)
    v_columns = np.empty(whole(longest, PANEL) * size, np.float32)
    dk = np.empty(longest * wide, np.float32)
    dv = np.empty(longest * wide, np.float32)
    most = _queries(per)
    q = np.empty(per * most * wide, np.float32)
    dq = np.empty(per * most * wide, np.float32)
    do = np.empty(per * most * wide, np.float32)
    p = np.empty(per * most * stride, np.float32)
    ds = np.empty(per * most * stride, np.float32)
    for n in range(starts.shape[0] - 1):
        first, R = starts[n], starts[n + 1] - starts[n]
        for g in range(kv):
            k0 = first * row + (heads + g) * size
            v0, prompt0 = k0 + kv * size, g * P * wide
            for t in range(R):
                rotate(x, k0 + t * row, k_rows, t * wide, half, for_k, t)
                for i in range(size, wide):
                    k_rows[t * wide + i] = ZERO
            pack(k_rows, 0, 1, wide, R, size, k_columns, 0, 0, size)
            pack(x, v0, 1, row, R, size, v_columns, 0, 0, size)
            for i in range(R * wide):
                dk[i] = ZERO
                dv[i] = ZERO
            for i0 in range(0, R, most):
                rows = min(most, R - i0)
                total, seen = per * rows, i0 + rows
                _turned_queries(x, row, first, i0, rows, g, per, size, wide, for_q, q)
                for h in range(per):
                    at = ((first + i0) * heads + g * per + h) * size
                    _copy(g_flat, at, heads * size, rows, size, do, h * rows * wide, wide)
                _by_columns(q, total, wide, key_columns, g * each, P, size, p, 0, stride)
                _by_columns(q, total, wide, k_columns, 0, seen, size, p, own, stride)
                _by_columns(do, total, wide, value_columns, g * each, P, size, ds, 0, stride)
                _by_columns(do, total, wide, v_columns, 0, seen, size, ds, own, stride)
                of_prompt, of_own = whole(P, WIDTH) // WIDTH, whole(seen, WIDTH) // WIDTH
                for h in range(per):
                    for r in range(rows):
                        a, last = h * rows + r, i0 + r
                        s0, d0, head = a * stride, a * wide, g * per + h
                        s1, at = s0 + own, ((first + last) * heads + head) * size
                        logsum = logsums[first + last, head]
                        dot = _dot(do[d0 : d0 + size], o_flat[at : at + size])
                        weigh_backward(p, s0, ds, s0, of_prompt, P, logsum, dot)
                        weigh_backward(p, s1, ds, s1, of_own, last + 1, logsum, dot)
                _by_rows(ds, 0, stride, 1, total, key_rows, prompt0, P, dq, 0, wide, False)
                _by_rows(ds, own, stride, 1, total, k_rows, 0, seen, dq, 0, wide, True)
                _by_rows(ds, 0, 1, stride, P, q, 0, total, dk_prompt, prompt0, wide, True)
                _by_rows(ds, own, 1, stride, seen, q, 0, total, dk, 0, wide, True)
                _by_rows(p, 0, 1, stride, P, do, 0, total, dv_prompt, prompt0, wide, True)
                _by_rows(p, own, 1, stride, seen, do, 0, total, dv, 0, wide, True)
                for h in range(per):
                    for r in range(rows):
                        at = (first + i0 + r) * row + (g * per + h) * size
                        rotate(dq, (h * rows + r) * wide, dx, at, half, for_dq, i0 + r)
            for t in range(R):
                rotate(dk, t * wide, dx, k0 + t * row, half, for_dk, t)
                for i in range(size):
                    dx[v0 + t * row + i] = dv[t * wide + i]
