"""Drawing a token from logits and a uniform by inversion, and its log-probability.

With p = softmax(z / temperature), cut to its best tokens: the first token y with sum of p up to y
above the uniform u, and log p_y. What is cut off is found without sorting the vocabulary: weights
go into buckets of like logits, and only the bucket in which the kept end is sorted. Weights are
added up in double precision. Which tokens are kept: `rollouts/sampling.py`, `truncate`. Forward
only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from oneshot_rlvr.kernels.compiling import compiled, part
from oneshot_rlvr.kernels.elementary import ONE, TINIEST, ZERO, exp, largest

_PART = 64  # logits whose weights are added up before it is asked where a token falls
_BUCKETS = 2048  # of nats below the best, up to where `exp` ends
_PER_NAT = np.float32(_BUCKETS / 88)


class Rules(NamedTuple):
    """How to draw, in numpy's own types so that one compiled loop serves all."""

    temperature: np.float32  # 0: the best token
    top_k: np.int64  # 0: off
    top_p: np.float64  # 1: off
    min_p: np.float64  # 0: off
    penalty: np.float32  # of tokens that were there before; 1: off


def rules_of(
    temperature: float, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, penalty: float = 1.0
) -> Rules:
    """Rules from Python's numbers."""
    return Rules(
        np.float32(temperature),
        np.int64(top_k),
        np.float64(top_p),
        np.float64(min_p),
        np.float32(penalty),
    )


@part
def room_for(vocabulary):  # type: ignore[no-untyped-def]
    """What `draw_one` writes on: weights and their sums by part; counts and sums by bucket; how far
    tokens lie below the best."""
    return (
        np.empty(vocabulary, np.float32),
        np.empty((vocabulary + _PART - 1) // _PART, np.float64),
        np.empty(_BUCKETS, np.int64),
        np.empty(_BUCKETS, np.float64),
        np.empty(vocabulary, np.float32),
    )


@part
def penalise(row, seen, penalty):  # type: ignore[no-untyped-def]
    """Logits of tokens that were seen, closer to improbable (Keskar et al. 2019, arXiv 1909.05858,
    as transformers has it): z / penalty above 0, z * penalty below."""
    for i in range(len(seen)):
        if seen[i]:
            row[i] = row[i] / penalty if row[i] > ZERO else row[i] * penalty


@part
def _bucket(x):  # type: ignore[no-untyped-def]
    return min(np.int64(-x * _PER_NAT), _BUCKETS - 1)


@part
def _members(x, weights, bucket, count):  # type: ignore[no-untyped-def]
    """Tokens of a bucket and their x, from the worst to the best; of equals the lower id is the
    worse."""
    tokens, own, found = np.empty(count, np.int64), np.empty(count, np.float32), 0
    for i in range(len(weights)):
        if weights[i] > ZERO and _bucket(x[i]) == bucket:
            tokens[found], own[found] = i, x[i]
            found += 1
    order = np.argsort(own, kind="mergesort")  # stable
    return tokens[order], own[order]


@part
def _cut(rules, room):  # type: ignore[no-untyped-def]
    """Weights of tokens that are not kept become 0. What is compared is read, never computed again:
    two loops may round one expression in two ways."""
    weights, _, counts, masses, x = room
    least, first, last = np.float32(-np.inf), 0, _BUCKETS - 1
    if rules.top_k > 0 or rules.top_p < 1.0:
        for b in range(_BUCKETS):
            counts[b], masses[b] = 0, 0.0
        for i in range(len(weights)):
            if weights[i] > ZERO:
                b = _bucket(x[i])
                counts[b] += 1
                masses[b] += np.float64(weights[i])
    if rules.top_k > 0:
        b, before = 0, 0
        while b < _BUCKETS and before + counts[b] < rules.top_k:
            before += counts[b]
            b += 1
        if b < _BUCKETS:
            tokens, own = _members(x, weights, b, counts[b])
            least, last, masses[b] = own[len(own) - (rules.top_k - before)], b, 0.0
            for j in range(len(own)):
                if own[j] >= least:
                    masses[b] += np.float64(weights[tokens[j]])
    if rules.top_p < 1.0:
        total = 0.0
        for b in range(last + 1):
            total += masses[b]
        wanted, ahead, b = rules.top_p * total, 0.0, 0
        while b < last and ahead + masses[b] < wanted:
            ahead += masses[b]
            b += 1
        tokens, own = _members(x, weights, b, counts[b])
        # A token stays where what is better than it weighs less than is wanted.
        j, end = len(own) - 1, least
        while j >= 0 and own[j] >= end and ahead < wanted:
            least, first = own[j], tokens[j]
            ahead += np.float64(weights[tokens[j]])
            j -= 1
    # The best weighs 1 but for its rounding, and stays.
    light = rules.min_p * np.float64(largest(weights))
    for i in range(len(weights)):
        if x[i] < least or (x[i] == least and i < first) or np.float64(weights[i]) < light:
            weights[i] = ZERO


@part
def draw_one(row, uniform, rules, room):  # type: ignore[no-untyped-def]
    """A token, as `rollouts/sampling.py` draws it, and its log-prob.

    That is not a number where the logits are no distribution. Weights are added up by parts, then
    within the part that is hit. `row` has at least as many numbers as `room` has weights.
    """
    weights, sums, below = room[0], room[1], room[4]
    vocabulary, greedy = len(weights), rules.temperature == ZERO
    temperature = ONE if greedy else rules.temperature
    best = largest(row[:vocabulary])
    if not greedy:
        best /= temperature
    for i in range(vocabulary):
        x = row[i] / temperature - best
        below[i] = x
        weights[i] = ZERO if x < TINIEST else exp(x)
    if not greedy and (rules.top_k > 0 or rules.top_p < 1.0 or rules.min_p > 0.0):
        _cut(rules, room)
    total = 0.0
    for piece in range(len(sums)):
        mass = 0.0
        for i in range(piece * _PART, min((piece + 1) * _PART, vocabulary)):
            mass += np.float64(weights[i])
        sums[piece] = mass
        total += mass
    if not 0.5 < total < np.inf:  # the best alone weighs 1, give or take its rounding
        return 0, np.nan
    if greedy:
        token = 0
        while row[token] != best:
            token += 1
        return token, -np.log(total)
    target = uniform * total
    # The last part with mass that begins before the target, then the last token of non-zero
    # weight that does: rounding may let the target fall behind all of them.
    begins, before, found = 0, 0.0, 0.0
    for piece in range(len(sums)):
        if sums[piece] > 0.0 and before <= target:
            begins, found = piece, before
        before += sums[piece]
    token = 0
    for i in range(begins * _PART, min((begins + 1) * _PART, vocabulary)):
        if weights[i] > ZERO and found <= target:
            token = i
        found += np.float64(weights[i])
    return token, min(0.0, np.float64(below[token]) - np.log(total))


@compiled
def draw(logits, uniforms, rules, tokens, logprobs):  # type: ignore[no-untyped-def]
    """One token a row of logits (n, V), and its log-prob. False where a row is no distribution."""
    room = room_for(logits.shape[1])
    for r in range(logits.shape[0]):
        tokens[r], logprobs[r] = draw_one(logits[r], uniforms[r], rules, room)
        if np.isnan(logprobs[r]):
            return False
    return True
