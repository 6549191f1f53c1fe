"""Rotation of heads by their position (Su et al. 2021, arXiv 2104.09864), in halves.

    (a, b) -> (a c - b s, b c + a s)        for the halves a, b of a head and cosines c, sines s

Its backward pass is the same with -s.
"""

from __future__ import annotations

from oneshot_rlvr.kernels.compiling import part
from oneshot_rlvr.kernels.tiles import WIDTH
from oneshot_rlvr.kernels.vectors import turn


@part
def rotate(x, x0, out, out0, half, factors, t):  # type: ignore[no-untyped-def]
    """A head rotated by the cosines and sines (positions * size / 2) of position t."""
    cosines, sines = factors
    at, vectors = t * half, half // WIDTH
    turn(x, x0, out, out0, half, cosines, at, sines, at, vectors)
    for i in range(vectors * WIDTH, half):
        c, s = cosines[at + i], sines[at + i]
        a, b = x[x0 + i], x[x0 + half + i]
        out[out0 + i] = a * c - b * s
        out[out0 + half + i] = b * c + a * s


@part
def factors_of(cosine, sine, factor):  # type: ignore[no-untyped-def]
    """For `rotate`, times a factor."""
    return (cosine * factor).reshape(-1), (sine * factor).reshape(-1)
