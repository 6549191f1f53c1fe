"""A decoder's forward pass over new tokens as one compiled loop, for a CPU (numba).

A position of a small model is some forty small operations, each with a price of its own; with few
rollouts left that price is most of the time. Here a position, or many with the drawing of their
tokens, are one call: products from packed weights, norms, rotation, attention, the MLP. Prompts'
keys and values are held once and multiplied with the queries of all rollouts that read them; a
rollout's own are read where they lie. No row reads another: a rollout does not depend on what is
decoded beside it. Calls hold no lock of Python's.

Per layer, for x the state of a token: x += a Wo with a what `attend` reads for norm(x) Wqkv, then
x += (silu(g) u) Wd for norm(x) Wgu; logits are norm(x) W. Norms' weights lie in the maps that
follow them. What the tuples hold: `packing.py`. All is float32, but for maps that were packed in
bfloat16: what they are multiplied with is rounded to it, and sums are float32.
Forward only: training has `layer.py`.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from oneshot_rlvr.kernels.compiling import compiled, part
from oneshot_rlvr.kernels.drawing import draw_one, penalise, room_for
from oneshot_rlvr.kernels.elementary import ONE
from oneshot_rlvr.kernels.mlp import silu
from oneshot_rlvr.kernels.narrow_products import multiply, room_of, rounded
from oneshot_rlvr.kernels.narrow_tiles import COLUMNS
from oneshot_rlvr.kernels.norm import norm_alone
from oneshot_rlvr.kernels.packing import OWN
from oneshot_rlvr.kernels.rotation import rotate
from oneshot_rlvr.kernels.tiles import (
    PANEL,
    TALL,
    WIDTH,
    columns_1,
    columns_2,
    columns_2_add,
    columns_4,
    columns_4_add,
)
from oneshot_rlvr.kernels.vectors import top, weigh

# A batch is compacted when this share of it has ended: moving the survivors' keys then costs
# at most 1 / _GONE times what was already saved, so compaction stays cheap however it goes.
_GONE = 0.125


@part
def _times_wide(a, first, rows, w, layer, count, c):  # type: ignore[no-untyped-def]
    """C = A[first:] W for a layer's packed W (layers, panels, count, PANEL)."""
    a_row, c_row, panels = a.shape[1], c.shape[1], w.shape[1]
    # Flat: the tiles are compiled once for all that they are given.
    a_flat, w_flat, c_flat = a.reshape(-1), w.reshape(-1), c.reshape(-1)
    for j in range(panels):
        at, a0 = (layer * panels + j) * count * PANEL, first * a_row
        columns_2(a_flat, a0, a_row, 1, rows, w_flat, at, PANEL, count, c_flat, j * PANEL, c_row)


@part
def _plus_wide(a, rows, w, layer, count, c, first):  # type: ignore[no-untyped-def]
    """C[first:] += A W."""
    a_row, c_row, panels = a.shape[1], c.shape[1], w.shape[1]
    a_flat, w_flat, c_flat = a.reshape(-1), w.reshape(-1), c.reshape(-1)
    for j in range(panels):
        at, to = (layer * panels + j) * count * PANEL, first * c_row + j * PANEL
        columns_2_add(a_flat, 0, a_row, 1, rows, w_flat, at, PANEL, count, c_flat, to, c_row)


@part
def _times_narrow(a, first, rows, w, layer, count, c):  # type: ignore[no-untyped-def]
    """The same with W (layers, panels, pairs, 32) of bfloat16 numbers, to which A is rounded."""
    a_row, c_row, panels, pairs = a.shape[1], c.shape[1], w.shape[1], w.shape[2]
    narrow, at = room_of(rows, count), layer * panels * pairs * COLUMNS
    rounded(a.reshape(-1), first * a_row, a_row, rows, count, narrow)
    multiply(narrow, rows, count, w.reshape(-1), at, panels * COLUMNS,
             c.reshape(-1), 0, c_row, False)  # fmt: skip


@part
def _plus_narrow(a, rows, w, layer, count, c, first):  # type: ignore[no-untyped-def]
    """And added to C[first:]."""
    a_row, c_row, panels, pairs = a.shape[1], c.shape[1], w.shape[1], w.shape[2]
    narrow, at = room_of(rows, count), layer * panels * pairs * COLUMNS
    rounded(a.reshape(-1), 0, a_row, rows, count, narrow)
    multiply(narrow, rows, count, w.reshape(-1), at, panels * COLUMNS,
             c.reshape(-1), first * c_row, c_row, True)  # fmt: skip


def _times(a, first, rows, w, layer, count, c):  # type: ignore[no-untyped-def]
    """C = A[first:] W, by the type of W's numbers."""


def _plus(a, rows, w, layer, count, c, first):  # type: ignore[no-untyped-def]
    """C[first:] += A W, by the type of W's numbers."""


def _count_of(w):  # type: ignore[no-untyped-def]
    """Of a packed map's inner axis, to whole pairs."""


@overload(_times)
def _(a, first, rows, w, layer, count, c):  # type: ignore[no-untyped-def]
    times = _times_narrow if w.dtype == types.uint32 else _times_wide
    return lambda a, first, rows, w, layer, count, c: times(a, first, rows, w, layer, count, c)


@overload(_plus)
def _(a, rows, w, layer, count, c, first):  # type: ignore[no-untyped-def]
    plus = _plus_narrow if w.dtype == types.uint32 else _plus_wide
    return lambda a, rows, w, layer, count, c, first: plus(a, rows, w, layer, count, c, first)


@overload(_count_of)
def _(w):  # type: ignore[no-untyped-def]
    each = 2 if w.dtype == types.uint32 else 1
    return lambda w: each * w.shape[2]


@part
def _shift(c, rows, biases, layer):  # type: ignore[no-untyped-def]
    """C += a layer's bias, where there is one."""
    bias = biases[layer]
    for r in range(rows):
        row = c[r]
        for i in range(len(bias)):
            row[i] += bias[i]


@part
def attend(layer, n, filled, factor, prompts, own):  # type: ignore[no-untyped-def]
    """What n new tokens read from their prompts and from their own rollouts so far.

    `own.qkv` (n, heads + 2 kv, size), neither rotated nor scaled, to `own.mixed` (n, heads * size);
    the keys and values of the tokens are written at place `filled` - 1. `factor` is on the scores.
    """
    kv, size = prompts.keys.shape[1], prompts.keys.shape[4]
    wide = prompts.values.shape[4]
    heads = own.mixed.shape[1] // size
    per = heads // kv
    some = max(1, TALL // per)  # rollouts whose queries of a group are multiplied together
    panels, room = prompts.keys.shape[3], own.keys.shape[3]
    longest, last = prompts.values.shape[3], filled - 1
    block, lane = last // OWN, last % OWN
    s_row, o_row = panels * PANEL + room * OWN, wide
    q = np.empty(some * per * size, np.float32)
    s = np.empty(some * per * s_row, np.float32)
    o = np.empty(some * per * o_row, np.float32)
    turned, sums = np.empty(size, np.float32), np.empty(some * per, np.float32)
    half, turns, flat = size // 2, prompts.turns.reshape(-1), own.qkv.reshape(-1)
    cosines, sines = np.empty(half, np.float32), np.empty(half, np.float32)
    prompt_keys, prompt_values = prompts.keys.reshape(-1), prompts.values.reshape(-1)
    own_keys, own_values = own.keys.reshape(-1), own.values.reshape(-1)
    r = 0
    while r < n:
        b = own.which[r]
        m = 1
        while m < some and r + m < n and own.which[r + m] == b:
            m += 1
        p = prompts.lengths[b]
        mine = -(-p // PANEL) * PANEL  # where scores of own tokens begin
        of_prompt, of_own = -(-p // WIDTH), -(-filled // WIDTH)  # vectors
        place = 2 * (p + last)  # of its cosines; its sines lie behind them
        for i in range(half):
            cosines[i] = turns[place * half + i] * factor
            sines[i] = turns[(place + 1) * half + i] * factor
        for g in range(kv):
            for j in range(m):
                qkv, x0 = own.qkv[r + j], (r + j) * own.qkv.shape[1]
                rotate(flat, x0 + (heads + g) * size, turned, 0, half, (turns, turns[half:]), place)
                column = own.keys[layer, r + j, g, block, :, lane]
                for i in range(size):
                    column[i] = turned[i]
                x = qkv[(heads + kv + g) * size : (heads + kv + g + 1) * size]
                value = own.values[layer, r + j, g, last]
                for i in range(size):
                    value[i] = x[i]
                for h in range(g * per, (g + 1) * per):
                    to = (j * per + h - g * per) * size
                    rotate(flat, x0 + h * size, q, to, half, (cosines, sines), 0)
            for j in range(mine // PANEL):
                at = (((layer * kv + g) * len(prompts.lengths) + b) * panels + j) * size * PANEL
                columns_2(q, 0, size, 1, m * per, prompt_keys, at, PANEL, size, s, j * PANEL, s_row)
            for j in range(m):
                for c in range(block + 1):
                    at = (((layer * own.keys.shape[1] + r + j) * kv + g) * room + c) * size * OWN
                    to = j * per * s_row + mine + c * OWN
                    left, first = filled - c * OWN, j * per * size
                    if left > 2 * WIDTH:
                        columns_4(q, first, size, 1, per, own_keys, at, OWN, size, s, to, s_row)
                    elif left > WIDTH:
                        columns_2(q, first, size, 1, per, own_keys, at, OWN, size, s, to, s_row)
                    else:
                        columns_1(q, first, size, 1, per, own_keys, at, OWN, size, s, to, s_row)
            at = ((layer * kv + g) * len(prompts.lengths) + b) * longest * wide
            for h in range(m * per):
                s0, s1 = h * s_row, h * s_row + mine
                best = max(top(s, s0, of_prompt, p), top(s, s1, of_own, filled))
                sums[h] = weigh(s, s0, of_prompt, p, best) + weigh(s, s1, of_own, filled, best)
            for i in range(0, wide, PANEL):
                columns_2(s, 0, s_row, 1, m * per, prompt_values, at + i, wide, p, o, i, o_row)
            for j in range(m):
                at = ((layer * own.keys.shape[1] + r + j) * kv + g) * room * OWN * wide
                first, to, i = j * per * s_row + mine, j * per * o_row, 0
                while i + 2 * PANEL <= wide:
                    columns_4_add(
                        s, first, s_row, 1, per, own_values, at + i, wide, filled, o, to + i, o_row
                    )
                    i += 2 * PANEL
                if i < wide:
                    columns_2_add(
                        s, first, s_row, 1, per, own_values, at + i, wide, filled, o, to + i, o_row
                    )
            for j in range(m):
                for h in range(per):
                    share = ONE / sums[j * per + h]
                    read = o[(j * per + h) * o_row : (j * per + h + 1) * o_row]
                    mixed = own.mixed[r + j, (g * per + h) * size : (g * per + h + 1) * size]
                    for i in range(size):
                        mixed[i] = read[i] * share
        r += m


@part
def _mlp(n, layer, weights, own):  # type: ignore[no-untyped-def]
    """x += (silu(g) u) Wd with g and u, the halves of `own.hidden`, from the normed x."""
    width, inner = own.normed.shape[1], own.hidden.shape[1] // 2
    count = _count_of(weights.down)
    for r in range(0, n, len(own.hidden)):
        m = min(len(own.hidden), n - r)
        _times(own.normed, r, m, weights.gate_up, layer, width, own.hidden)
        _shift(own.hidden, m, weights.gate_up_bias, layer)
        for j in range(m):
            gates, ups = own.hidden[j, :inner], own.hidden[j, inner:]
            for i in range(count):
                gates[i] = silu(gates[i]) * ups[i]
        _plus(own.hidden, m, weights.down, layer, count, own.x, r)
    _shift(own.x, n, weights.down_bias, layer)


@part
def _forward(n, filled, tokens, weights, prompts, own):  # type: ignore[no-untyped-def]
    """From the last tokens of n rollouts to their logits (n, V), in `own.logits`."""
    layers, kv, size = prompts.keys.shape[0], prompts.keys.shape[1], prompts.keys.shape[4]
    width, heads = weights.table.shape[1], own.mixed.shape[1] // size
    factor = ONE / np.sqrt(np.float32(size))
    for r in range(n):
        token, x = weights.table[tokens[r]], own.x[r]
        for i in range(width):
            x[i] = token[i]
    for layer in range(layers):
        for r in range(n):
            norm_alone(own.x[r], weights.epsilons[layer, 0], own.normed[r])
        _times(own.normed, 0, n, weights.qkv, layer, width, own.qkv)
        _shift(own.qkv, n, weights.qkv_bias, layer)
        if weights.head_norms.shape[1] > 0:
            for r in range(n):
                for h in range(heads + kv):
                    which = 0 if h < heads else 1
                    weight = weights.head_norms[layer, which]
                    x = own.qkv[r, h * size : (h + 1) * size]
                    norm_alone(x, weights.epsilons[layer, 2 + which], x)
                    for i in range(size):
                        x[i] *= weight[i]
        attend(layer, n, filled, factor, prompts, own)
        _plus(own.mixed, n, weights.out, layer, heads * size, own.x, 0)
        _shift(own.x, n, weights.out_bias, layer)
        for r in range(n):
            norm_alone(own.x[r], weights.epsilons[layer, 1], own.normed[r])
        _mlp(n, layer, weights, own)
    for r in range(n):
        norm_alone(own.x[r], weights.epsilons[layers, 0], own.normed[r])
    _times(own.normed, 0, n, weights.head, 0, width, own.logits)
    _shift(own.logits, n, weights.head_bias, 0)


@part
def _move(x, width, target, source, count):  # type: ignore[no-untyped-def]
    """The first `count` numbers of part `source`, of so many, of a flat x to part `target`."""
    to = x[target * width : target * width + count]
    read = x[source * width : source * width + count]
    for i in range(count):
        to[i] = read[i]


@part
def _keep(own, slots, m, filled):  # type: ignore[no-untyped-def]
    """Slots slots[0] < slots[1] ... go on as 0 .. m - 1; those that stay cost nothing."""
    layers, rows, kv, blocks, size, _ = own.keys.shape
    keys, values = own.keys.reshape(-1), own.values.reshape(-1)
    wide, begun = own.values.shape[4], (filled + OWN - 1) // OWN
    for r in range(m):
        source = slots[r]
        if source == r:
            continue
        own.which[r] = own.which[source]
        own.sequence[r] = own.sequence[source]
        for layer in range(layers):
            for g in range(kv):
                here, there = (layer * rows + r) * kv + g, (layer * rows + source) * kv + g
                _move(keys, blocks * size * OWN, here, there, begun * size * OWN)
                _move(values, blocks * OWN * wide, here, there, filled * wide)


@compiled
def keep(own, slots, filled):  # type: ignore[no-untyped-def]
    """See `_keep`."""
    _keep(own, slots, len(slots), filled)


@compiled
def advance(tokens, filled, weights, prompts, own):  # type: ignore[no-untyped-def]
    """Appends a token to each rollout, at place `filled` - 1; logits in `own.logits`."""
    _forward(len(tokens), filled, tokens, weights, prompts, own)


@compiled
def decode(n, t, until, rules, ends, seen, drawn, weights, prompts, own):  # type: ignore[no-untyped-def]
    """Draws the tokens of places t, t + 1 ... and their logits, until all have ended or `until`.

    `own.logits` has the logits of place t. `seen` (N, V) marks the tokens that were there before,
    where `rules` have a penalty on them (else nobody looks). How many go on, the next place, and
    the tokens computed. None goes on after a row of logits that is no distribution.
    """
    places, penalised = drawn.tokens.shape[0], rules.penalty != ONE
    room = room_for(weights.vocabulary[0])
    tokens, slots = np.empty(n, np.int64), np.empty(n, np.int64)
    running, computed = np.ones(n, np.bool_), 0
    while True:
        going = 0
        for r in range(n):
            at = own.sequence[r]
            if penalised:
                penalise(own.logits[r], seen[at], rules.penalty)
            token, logprob = draw_one(own.logits[r], drawn.uniforms[t, at], rules, room)
            tokens[r] = token
            if penalised:
                seen[at, token] = True
            # Slots that have ended keep writing until they are dropped; nothing after the first
            # end-of-text is read.
            drawn.tokens[t, at], drawn.logprobs[t, at] = token, logprob
            if np.isnan(logprob):
                return 0, t, computed
            for end in ends:
                if token == end:
                    running[r] = False
            going += running[r]
        t += 1
        if going == 0 or t == places:
            return 0, t, computed
        if going <= (1 - _GONE) * n or t >= until:
            m = 0
            for r in range(n):
                if running[r]:
                    slots[m], tokens[m] = r, tokens[r]
                    m += 1
            _keep(own, slots, m, t - 1)
            running[:m] = True
            n = m
        _forward(n, t, tokens, weights, prompts, own)
        computed += n
        if t >= until:
            return n, t, computed
