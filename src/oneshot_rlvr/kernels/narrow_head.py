"""Log-probabilities and entropies from hidden states with bfloat16 products, forward and backward.

The formulas of `head.py`, for a vocabulary of any size: it is gone through in parts, each for all
tokens, so that a part's weights are rounded once and logits of a part alone exist. Of the softmax
the forward pass keeps the largest logit so far and sums below it (Milakov and Gimelshein 2018,
arXiv 1805.02867); the backward pass makes the logits again. Products sum in float32, and logits,
softmax and all gradients are float32. A call does some of the words: `first` to `last`.

Not here: autograd's side, and what calls for different words found put together (`policy/head.py`).
"""

from __future__ import annotations

import numpy as np

from oneshot_rlvr.kernels.compiling import compiled, part
from oneshot_rlvr.kernels.elementary import TINIEST, ZERO, exp, largest
from oneshot_rlvr.kernels.narrow_layer import add_outer
from oneshot_rlvr.kernels.narrow_products import (
    multiply,
    paired_columns,
    paired_rows,
    panels_of,
    room_of,
    rounded,
)
from oneshot_rlvr.kernels.narrow_tiles import COLUMNS, DEPTH
from oneshot_rlvr.kernels.products import whole

PART = 512
"""Words whose logits are held at once, of a block of tokens."""
_BLOCK = 256  # tokens


@part
def _logits(a, t, rows, D, panels, bias, word, words, temperature, z):  # type: ignore[no-untyped-def]
    """z (rows, words) at the temperature, for tokens from t on and a part's panels."""
    deep = whole(D, DEPTH)
    multiply(a[t * deep :], rows, D, panels, 0, words, z, 0, PART, False)
    for r in range(rows):
        row = z[r * PART : r * PART + words]
        if bias.shape[0]:
            for i in range(words):
                row[i] += bias[word + i]
        for i in range(words):
            row[i] /= temperature


@compiled
def scores(hidden, weight, bias, tokens, temperature, first, last, own, best, mass, mean):  # type: ignore[no-untyped-def]
    """Of M tokens' states (M, D) and words `first` to `last` of (V, D): the token's logit, where it
    is among them, the largest logit, and of x, the logits less that, the sums of exp x and x exp x.
    """
    (M, D), nothing = hidden.shape, np.empty(0, np.float32)
    a, panels = room_of(M, D), panels_of(D, PART)
    rounded(hidden.reshape(-1), 0, D, M, D, a)
    flat, z = weight.reshape(-1), np.empty(_BLOCK * PART, np.float32)
    for word in range(first, last, PART):
        words = min(PART, last - word)
        paired_columns(flat, word * D, D, nothing, words, D, panels, 0)
        for t in range(0, M, _BLOCK):
            rows = min(_BLOCK, M - t)
            _logits(a, t, rows, D, panels, bias, word, words, temperature, z)
            for r in range(rows):
                row, token = z[r * PART : r * PART + words], tokens[t + r] - word
                if token >= 0 and token < words:
                    own[t + r] = row[token]
                here = largest(row)
                if word == first:
                    best[t + r], mass[t + r], mean[t + r] = here, ZERO, ZERO
                elif here > best[t + r]:
                    x = best[t + r] - here
                    x = TINIEST if x < TINIEST else x
                    share = exp(x)
                    mean[t + r] = share * (mean[t + r] + x * mass[t + r])
                    mass[t + r] *= share
                    best[t + r] = here
                top, some, weighed = best[t + r], ZERO, ZERO
                for i in range(words):
                    x = row[i] - top
                    x = TINIEST if x < TINIEST else x  # else 0 times infinity
                    p = exp(x)
                    some += p
                    weighed += p * x
                mass[t + r] += some
                mean[t + r] += weighed


@compiled
def scores_backward(  # type: ignore[no-untyped-def]
    for_logprobs, for_entropy, hidden, weight, bias, tokens, temperature, log_sums, entropy,
    first, last, grad_hidden, grad_weight, grad_bias,
):  # fmt: skip
    """Of log-probabilities and entropies, by words `first` to `last`; `log_sums` are log sum exp z.

    Gradients of no length are left out; sums begin at 0, grad_weight (V, D) and grad_bias (V) are
    written at these words only.
    """
    (M, D), nothing = hidden.shape, np.empty(0, np.float32)
    a, panels = room_of(M, D), panels_of(D, PART)
    deep = whole(_BLOCK, DEPTH) // 2 * whole(D, COLUMNS)  # of a block's states as a B
    states = np.empty(whole(M, _BLOCK) // _BLOCK * deep, np.uint32)
    straight, narrow = panels_of(PART, D), room_of(_BLOCK, PART)
    pairs, across = panels_of(_BLOCK, PART), room_of(PART, _BLOCK)
    given, flat = hidden.reshape(-1), weight.reshape(-1)
    out, sums = grad_hidden.reshape(-1), grad_weight.reshape(-1)
    rounded(given, 0, D, M, D, a)
    if sums.shape[0]:
        for t in range(0, M, _BLOCK):
            paired_rows(given, t * D, D, min(_BLOCK, M - t), D, states, t // _BLOCK * deep)
    z = np.empty(_BLOCK * PART, np.float32)
    for word in range(first, last, PART):
        words = min(PART, last - word)
        paired_columns(flat, word * D, D, nothing, words, D, panels, 0)
        if out.shape[0]:
            paired_rows(flat, word * D, D, words, D, straight, 0)
        for t in range(0, M, _BLOCK):
            rows = min(_BLOCK, M - t)
            _logits(a, t, rows, D, panels, bias, word, words, temperature, z)
            for r in range(rows):
                row, token = z[r * PART : r * PART + words], tokens[t + r] - word
                g, h, H, log_sum = (
                    for_logprobs[t + r], for_entropy[t + r], entropy[t + r], log_sums[t + r],
                )  # fmt: skip
                for i in range(words):
                    x = row[i] - log_sum
                    x = TINIEST if x < TINIEST else x
                    row[i] = -exp(x) * (g + h * (x + H))
                if token >= 0 and token < words:
                    row[token] += g
                for i in range(words):
                    row[i] /= temperature
                for i in range(min(words, grad_bias.shape[0])):
                    grad_bias[word + i] += row[i]
            if out.shape[0]:
                rounded(z, 0, PART, rows, words, narrow)
                multiply(narrow, rows, words, straight, 0, D, out, t * D, D, True)
            if sums.shape[0]:
                at = t // _BLOCK * deep
                add_outer(
                    z, 0, PART, words, rows, states[at : at + deep], D, pairs, across,
                    sums[word * D : (word + words) * D],
                )  # fmt: skip
