"""Checks of the kernels with bfloat16 products: `CHECKS` is (names, check), for test_twins.py.

A product is compared with double precision of the same rounded operands, to what sums in float32
keep. What has several products in a row is compared with double precision of operands that are not
rounded: a bfloat16 number has 8 bits, so rounding is off by at most 2^-9 of it, one product of two
by about 2^-8, and every further one adds as much.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numba import njit

from double_precision import close, double, gradients, normals
from oneshot_rlvr.kernels import narrow, narrow_head, narrow_layer, narrow_products, narrow_tiles
from oneshot_rlvr.kernels.narrow_tiles import COLUMNS, DEPTH, ROWS

random = partial(normals, 8)
CHECKS: list[tuple[tuple[str, ...], Callable[[], None]]] = []
BITS = 2.0**-8
"""Of one product, relative to its size, where both operands are rounded."""
ODD = [1, 3, 17, COLUMNS - 1, COLUMNS, COLUMNS + 1, 2 * COLUMNS + 3]
EPSILON = np.float32(1e-3)
NOTHING = np.empty(0, np.float32)


def twin(*names: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Registers a check, which is skipped where the CPU has no such products."""

    def register(check: Callable[[], None]) -> Callable[[], None]:
        def where_it_can() -> None:
            if not narrow.instructions():
                pytest.skip("this CPU multiplies no bfloat16 numbers")
            check()

        where_it_can.__name__ = check.__name__
        CHECKS.append((names, where_it_can))
        return check

    return register


def bits(x: Any) -> Any:
    """torch's rounding, as uint16."""
    return torch.from_numpy(np.ascontiguousarray(x)).bfloat16().view(torch.uint16).numpy()


def short(x: Any) -> Any:
    """Rounded to bfloat16, in double precision."""
    return torch.from_numpy(np.ascontiguousarray(x)).bfloat16().double().numpy()


@njit
def _numbers(x, y, halves, wholes):
    for i in range(len(x)):
        halves[i] = narrow_tiles.narrowed(x[i])
        wholes[i] = narrow_tiles.paired(x[i], y[i])


@twin("narrow_tiles.narrowed", "narrow_tiles.paired")
def numbers_are_rounded_to_the_nearest() -> None:
    halfway = np.array([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7F800000, 0xFF800000], np.uint32)
    none = np.array([0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    x = np.concatenate([random(1000), halfway.view(np.float32), np.float32([0.0, -0.0])])
    y, halves = x[::-1].copy(), np.zeros(len(x), np.uint16)
    wholes = np.zeros(len(x), np.uint32)
    _numbers(x, y, halves, wholes)
    assert (halves == bits(x)).all()
    assert (wholes == bits(x) + (bits(y).astype(np.uint32) << 16)).all()
    halves, wholes = np.zeros(3, np.uint16), np.zeros(3, np.uint32)
    _numbers(none, none, halves, wholes)  # what is no number stays none
    assert np.isnan((halves.astype(np.uint32) << 16).view(np.float32)).all()


@njit
def _turned(x, out):
    narrow_tiles.turned(x, 2, 17, out, 3, 18)


@twin("narrow_tiles.turned")
def blocks_are_transposed() -> None:
    x = np.arange(400, dtype=np.uint32)
    out = np.zeros(400, np.uint32)
    _turned(x, out)
    block = x[2 : 2 + 16 * 17].reshape(16, 17)[:, :16]
    assert (out[3 : 3 + 16 * 18].reshape(16, 18)[:, :16] == block.T).all()
    assert np.count_nonzero(out) == 256


def _called(tile: Any) -> Any:
    @njit
    def call(a, a_row, b, steps, c, c_row):  # type: ignore[no-untyped-def]
        narrow_tiles.begin()
        tile(a, 1, a_row, b, 2, steps, c, 3, c_row)
        narrow_tiles.end()

    return call


@twin(
    *(f"narrow_tiles.tile_{tall}{add}" for tall in (1, 2) for add in ("", "_add")),
    "narrow_tiles.begin", "narrow_tiles.end",
)  # fmt: skip
def tiles_are_products() -> None:
    for tall in (1, 2):
        for add in (False, True):
            for steps in (0, 1, 3):
                rows, depth = ROWS * tall, DEPTH * steps
                x, w = random(rows, depth), random(depth, COLUMNS)
                a, a_row, c_row = np.zeros(rows * (depth + 2) + 1, np.uint16), depth + 2, 37
                a[1:].reshape(rows, a_row)[:, :depth] = bits(x)
                pairs = bits(w).astype(np.uint32).reshape(-1, 2, COLUMNS)
                b = np.concatenate([[0, 0], (pairs[:, 0] + (pairs[:, 1] << 16)).ravel()])
                c = random(3 + rows * c_row)
                wanted = c.astype(np.float64)
                inside = wanted[3:].reshape(rows, c_row)[:, :COLUMNS]
                inside[:] = short(x) @ short(w) + add * inside
                tile = getattr(narrow_tiles, f"tile_{tall}" + "_add" * add)
                _called(tile)(a, a_row, b.astype(np.uint32), steps, c, c_row)
                close(c, wanted)


@njit
def _product(x, w, scale, c, add):
    (M, K), N = x.shape, w.shape[0]
    a, panels = narrow_products.room_of(M, K), narrow_products.panels_of(K, N)
    narrow_products.rounded(x.reshape(-1), 0, K, M, K, a)
    narrow_products.paired_columns(w.reshape(-1), 0, K, scale, N, K, panels, 0)
    narrow_products.multiply(a, M, K, panels, 0, N, c, 1, N + 2, add)
    return panels


@njit
def _backward(g, x, w, dx, dw):
    (M, N), K = g.shape, x.shape[1]
    a = narrow_products.room_of(M, N)
    narrow_products.rounded(g.reshape(-1), 0, N, M, N, a)
    panels = narrow_layer.backward_panels(w)
    narrow_products.multiply(a, M, N, panels, 0, K, dx, 0, K, False)
    states = narrow_products.panels_of(M, K)
    narrow_products.paired_rows(x.reshape(-1), 0, K, M, K, states, 0)
    pairs, across = narrow_products.panels_of(M, N), narrow_products.room_of(N, M)
    narrow_layer.add_outer(g.reshape(-1), 0, N, N, M, states, K, pairs, across, dw)


@twin(
    *(
        f"narrow_products.{name}"
        for name in ("room_of", "panels_of", "rounded", "paired_rows", "paired_columns")
    ),
    "narrow_products.transposed", "narrow_products.multiply", "narrow_products.pack_map",
    "narrow_layer.forward_panels", "narrow_layer.backward_panels", "narrow_layer.add_outer",
)  # fmt: skip
def products_forward_and_backward() -> None:
    sizes = [(m, k, n) for m in (1, 3, 17) for k in (1, 17, DEPTH + 1) for n in ODD]
    for m, k, n in [*sizes, (33, 100, 65), (513, 70, 35), (31, 35, 513)]:
        x, w, g, scale = random(m, k), random(n, k), random(m, n), random(k)
        for add in (False, True):
            for by in (NOTHING, scale):
                c = random(m * (n + 2) + 1)
                wanted = c.astype(np.float64)
                inside = wanted[1:].reshape(m, n + 2)[:, :n]
                scaled = w * by if len(by) else w
                inside[:] = short(x) @ short(scaled).T + add * inside
                panels = _product(x, w, by, c, add)
                close(c, wanted)
                packed = np.zeros(narrow_products.packed_shape(n, k), np.uint32)
                narrow_products.pack_map(w, by, packed)
                assert (packed.ravel() == panels).all()
        assert (narrow_layer.forward_panels(w) == _product(x, w, NOTHING, c, False)).all()
        dx, dw = np.empty(m * k, np.float32), random(n * k)
        wanted = dw.reshape(n, k) + short(g).T @ short(x)
        _backward(g, x, w, dx, dw)
        close(dx.reshape(m, k), short(g) @ short(w))
        close(dw.reshape(n, k), wanted)


SHAPES = [(1, 1, 1, 1), (3, 17, 3, 17), (17, 33, 35, 31), (600, 40, 24, 72)]
"""Tokens, width, numbers that attention reads, width of the MLP; the last are several blocks."""


@twin("narrow_layer.inputs", "narrow_layer.inputs_backward")
def the_first_half_of_a_layer() -> None:
    for M, width, q, kv in SHAPES:
        for biased in (False, True):
            x, weight, g = random(M, width), random(width), random(M, q + 2 * kv)
            maps = [random(q, width), random(kv, width), random(kv, width + 1)[:, 1:].copy()]
            bias = random(q + 2 * kv) if biased else NOTHING
            exact = double(x, weight, *maps, *([bias] if biased else []))
            n = F.rms_norm(exact[0], (width,), exact[1], float(EPSILON))
            out = torch.cat([n @ m.T for m in exact[2:5]], 1)
            out = out + exact[5] if biased else out
            qkv = np.zeros((M, q + 2 * kv), np.float32)
            narrow_layer.inputs(x, weight, EPSILON, *maps, bias, qkv)
            close(qkv, out, BITS)
            assert M < 17 or np.linalg.norm(qkv - out.detach().numpy()) > 1e-4  # it was rounded
            sums = [np.zeros(s, np.float32) for s in ((M, width), width, (q + 2 * kv, width))]
            sums.append(np.zeros(len(bias), np.float32))
            narrow_layer.inputs_backward(g, x, weight, EPSILON, *maps, *sums)
            grads = gradients(out, g, exact)
            wanted = [*grads[:2], torch.cat(grads[2:5]), *grads[5:]]
            for ours, theirs in zip(sums, wanted, strict=False):
                close(ours, theirs, 2 * BITS)


@twin("narrow_layer.outputs", "narrow_layer.outputs_backward")
def the_second_half_of_a_layer() -> None:
    for M, width, wide, middle in SHAPES:
        x, mixed, g = random(M, width), random(M, wide), random(M, width)
        w_out, weight = random(width, wide), random(width)
        mlp = [random(middle, width), random(middle + 1, width)[:-1].copy(), random(width, middle)]
        exact = double(x, mixed, w_out, weight, *mlp)
        y = exact[0] + exact[1] @ exact[2].T
        n = F.rms_norm(y, (width,), exact[3], float(EPSILON))
        out = y + (F.silu(n @ exact[4].T) * (n @ exact[5].T)) @ exact[6].T
        kept, ours = (np.zeros((M, width), np.float32) for _ in range(2))
        gate_up = np.zeros((M, 2 * middle), np.float32)
        narrow_layer.outputs(x, mixed, w_out, weight, EPSILON, *mlp, kept, gate_up, ours)
        close(kept, y, BITS)
        close(ours, out, 4 * BITS)  # three products in a row, of which two are multiplied
        shapes = [(M, width), (M, wide), (width, wide), width, (2 * middle, width), (width, middle)]
        sums = [np.zeros(shape, np.float32) for shape in shapes]
        narrow_layer.outputs_backward(g, kept, mixed, gate_up, w_out, weight, EPSILON, *mlp, *sums)
        grads = gradients(out, g, exact)
        wanted = [*grads[:4], torch.cat(grads[4:6]), grads[6]]
        for mine, theirs in zip(sums, wanted, strict=True):
            close(mine, theirs, 6 * BITS)


@twin("narrow_head.scores", "narrow_head.scores_backward")
def the_output_head() -> None:
    for M, D, V in [(1, 1, 1), (3, 17, 3), (17, 33, 40), (300, 17, 2 * narrow_head.PART + 5)]:
        for biased in (False, True):
            hidden, weight, temperature = random(M, D), random(V, D), np.float32(0.7)
            bias = random(V) if biased else NOTHING
            tokens = np.random.default_rng(0).integers(0, V, M)
            # Rounded here, so that what is left is the softmax's own error.
            exact = double(short(hidden), short(weight), *([bias] if biased else []))
            logs = (F.linear(*exact) / float(temperature)).log_softmax(-1)
            wanted = [
                logs.gather(1, torch.from_numpy(tokens)[:, None])[:, 0],
                -(logs.exp() * logs).sum(-1),
            ]
            parts, found = range(0, V + narrow_head.PART, narrow_head.PART), []
            own = np.zeros(M, np.float32)
            for first, last in [(0, V)] if V < narrow_head.PART else [(0, parts[1]), (parts[1], V)]:
                found.append([np.zeros(M, np.float32) for _ in range(3)])
                narrow_head.scores(
                    hidden, weight, bias, tokens, temperature, first, last, own, *found[-1]
                )
            best = np.max([f[0] for f in found], 0).astype(np.float64)
            share = [np.exp(f[0] - best) for f in found]
            mass = sum(s * f[1] for s, f in zip(share, found, strict=True))
            mean = sum(s * (f[2] + (f[0] - best) * f[1]) for s, f in zip(share, found, strict=True))
            close(own - best - np.log(mass), wanted[0], 1e-5)
            entropy = np.log(mass) - mean / mass
            close(entropy, wanted[1], 1e-5)
            given = random(M), random(M + 1)[1:].copy()
            out = sum(
                torch.from_numpy(g.astype(np.float64)) * w
                for g, w in zip(given, wanted, strict=True)
            )
            sums = [np.zeros(s, np.float32) for s in ((M, D), (V, D), len(bias))]
            log_sums = (best + np.log(mass)).astype(np.float32)
            for first, last in [(0, V)] if V < narrow_head.PART else [(0, parts[1]), (parts[1], V)]:
                narrow_head.scores_backward(
                    *given, hidden, weight, bias, tokens, temperature, log_sums,
                    entropy.astype(np.float32), first, last, *sums,
                )  # fmt: skip
            for ours, theirs in zip(sums, gradients(out, np.ones(M), exact), strict=False):
                close(ours, theirs, BITS)
