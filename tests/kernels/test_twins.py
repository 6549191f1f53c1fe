"""Every kernel of the room against a twin in double precision, forward and backward.

`@twin("file.kernel", ...)` registers a check of these kernels. A check compares with numpy or torch
(autograd for backward passes) at odd sizes: one, three, seventeen, and about a vector. The test
walks the room: a kernel without a check fails by its name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numba import njit
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic

import narrow_twins
from double_precision import close, double, gradients, normals
from oneshot_rlvr import kernels
from oneshot_rlvr.kernels import (
    attention,
    decoding,
    drawing,
    elementary,
    head,
    layer,
    mlp,
    norm,
    products,
    rotation,
    rows,
    tiles,
    vectors,
)
from oneshot_rlvr.kernels.packing import OWN, Drawn, Own, Prompts, Weights, padded
from oneshot_rlvr.kernels.tiles import PANEL, TALL, WIDTH

random = partial(normals, 7)
CHECKS: dict[str, list[Callable[[], None]]] = {}
ODD = sorted({1, 3, 17, WIDTH - 1, WIDTH, WIDTH + 1, PANEL + 1})
ROWS = sorted({1, 3, TALL, TALL + 1, 17})


def twin(*names: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Registers a check of these kernels."""

    def register(check: Callable[[], None]) -> Callable[[], None]:
        for name in names:
            CHECKS.setdefault(name, []).append(check)
        return check

    return register


def room() -> Iterator[str]:
    """Every kernel of the room, "file.name": what numba compiles and other files may use."""
    for found in pkgutil.iter_modules(kernels.__path__):
        module = importlib.import_module(f"{kernels.__name__}.{found.name}")
        for name, value in vars(module).items():
            made = value.py_func if isinstance(value, Dispatcher) else None
            made = value._defn if isinstance(value, _Intrinsic) else made
            if made is not None and made.__module__ == module.__name__ and name[0] != "_":
                yield f"{found.name}.{name}"


for names, check in narrow_twins.CHECKS:
    twin(*names)(check)


@njit
def _tile(columns, a, a_row, a_k, count_rows, b, b_k, count, c, c_row):
    columns(a, 0, a_row, a_k, count_rows, b, 0, b_k, count, c, 1, c_row)


@twin(*(f"tiles.columns_{n}{add}" for n in (1, 2, 4) for add in ("", "_add")))
def tiles_are_products() -> None:
    for number in (1, 2, 4):
        for add in (False, True):
            columns = getattr(tiles, f"columns_{number}" + "_add" * add)
            for count_rows in ROWS:
                for count in (0, 1, 3, 17):
                    width = number * WIDTH
                    a, b = random(count_rows, count), random(count, width + 3)
                    c = random(count_rows, width + 5)
                    wanted = c.astype(np.float64)
                    product = a.astype(np.float64) @ b[:, :width].astype(np.float64)
                    wanted[:, 1 : 1 + width] = product + add * wanted[:, 1 : 1 + width]
                    _tile(columns, a, count, 1, count_rows, b, width + 3, count, c, width + 5)
                    close(c, wanted)


@njit
def _copies(a, panel, strip):
    tiles.copy_panel(a, 3, panel, 2)
    tiles.copy_strip(a, 1, strip, 4)


@twin("tiles.copy_panel", "tiles.copy_strip")
def copies_write_what_they_say_and_no_more() -> None:
    a, panel, strip = random(PANEL + 9), np.zeros(PANEL + 9), np.zeros(TALL + 9)
    panel, strip = panel.astype(np.float32), strip.astype(np.float32)
    _copies(a, panel, strip)
    assert (panel[2 : 2 + PANEL] == a[3 : 3 + PANEL]).all()
    assert (strip[4 : 4 + TALL] == a[1 : 1 + TALL]).all()
    assert np.count_nonzero(panel) == PANEL
    assert np.count_nonzero(strip) == TALL


@njit
def _softmax(s, vectors_, count):
    best = vectors.top(s, 0, vectors_, count)
    return best, vectors.weigh(s, 0, vectors_, count, best)


@njit
def _softmax_backward(s, d, vectors_, count, shift, dot):
    vectors.weigh_backward(s, 0, d, 0, vectors_, count, shift, dot)


@twin("vectors.top", "vectors.weigh", "vectors.weigh_backward")
def softmax_in_whole_vectors() -> None:
    for count in ODD:
        number = -(-count // WIDTH)
        s, d = 3 * random(number * WIDTH), random(number * WIDTH + 1)[1:].copy()
        (z,) = double(s[:count])
        p, given = z.softmax(0), s.copy()
        best, mass = _softmax(s, number, count)
        assert best == given[:count].max()
        close(s[:count] / mass, p)
        assert not s[count:].any()
        (grad,) = gradients(p, d[:count], [z])
        dot = np.float32((p.detach().numpy() * d[:count]).sum())
        shift = np.float32(z.detach().logsumexp(0))
        _softmax_backward(given, d, number, count, shift, dot)
        close(given[:count], p)
        close(d[:count], grad)
        assert not d[count:].any()


@njit
def _turn(x, out, half, c, s):
    vectors.turn(x, 0, out, 0, half, c, 0, s, 0, half // WIDTH)


@twin("vectors.turn")
def rotation_in_whole_vectors() -> None:
    for number in (1, 3):
        half = number * WIDTH
        x, angle, out = random(2 * half), random(half), np.empty(2 * half, np.float32)
        c, s = np.cos(angle), np.sin(angle)
        _turn(x, out, half, c, s)
        a, b = x[:half].astype(np.float64), x[half:].astype(np.float64)
        close(out, np.concatenate([a * c - b * s, b * c + a * s]))
        back = np.empty_like(x)  # its transpose, which is the backward pass, turns it back
        _turn(out, back, half, c, -s)
        close(back, x)


@twin("rotation.rotate", "rotation.factors_of")
def rotation_of_any_head() -> None:
    for half in ODD:
        x, angle, factor = random(3, 2 * half), random(5, half), np.float32(0.7)
        c, s = rotation.factors_of(np.cos(angle), np.sin(angle), factor)
        out = np.empty_like(x)
        rotation.rotate(x.reshape(-1), 2 * half, out.reshape(-1), 4 * half, half, (c, s), 3)
        a, b = x[1, :half].astype(np.float64), x[1, half:].astype(np.float64)
        cosine, sine = np.cos(angle[3]) * 0.7, np.sin(angle[3]) * 0.7
        close(out[2], np.concatenate([a * cosine - b * sine, b * cosine + a * sine]))


@twin("products.whole")
def whole_rounds_up() -> None:
    for count in ODD:
        assert products.whole(count, PANEL) == -(-count // PANEL) * PANEL


def _unpacked(panels, count, columns):
    by_panel = panels.reshape(-1, count, PANEL).transpose(1, 0, 2).reshape(count, -1)
    assert not by_panel[:, columns:].any()
    return by_panel[:, :columns]


@twin("products.pack", "products.packed", "products.packed_transposed")
def packed_is_the_same_matrix() -> None:
    for outputs in ODD:
        for inputs in ODD:
            w = random(outputs, inputs)
            assert (_unpacked(products.packed(w), outputs, inputs) == w).all()
            assert (_unpacked(products.packed_transposed(w), inputs, outputs) == w.T).all()
            # Two matrices over one another, the second from row k0 of the panels on.
            room = products.whole(inputs, PANEL) * 2 * outputs
            panels = np.full(room, np.nan, np.float32)
            for k0 in (0, outputs):
                flat = w.reshape(-1)
                products.pack(flat, 0, inputs, 1, inputs, outputs, panels, 0, k0, 2 * outputs)
            assert (_unpacked(panels, 2 * outputs, inputs) == np.concatenate([w, w])).all()


@twin("products.multiply_packed", "products.add_transposed")
def products_forward_and_backward() -> None:
    sizes = [(m, k, n) for m in (1, 3, 17) for k in (1, 17, WIDTH + 1) for n in ODD]
    for m, k, n in [*sizes, (TALL + 1, 2 * 768 + 1, PANEL + 3), (3, 131, 133)]:
        x, w, add = random(m, k), random(n, k), random(m, n)
        left, right = double(x, w)
        out = left @ right.T
        for adds in (False, True):
            c = add.copy().reshape(-1)
            panels = products.packed_transposed(w)
            products.multiply_packed(x.reshape(-1), 0, k, m, panels, n, k, c, 0, n, adds)
            close(c.reshape(m, n), out.detach().numpy() + adds * add)
        grad_left, grad_right = gradients(out, add, [left, right])
        dx, dw = np.empty(m * k, np.float32), np.zeros(n * k, np.float32)
        g = add.reshape(-1)
        products.multiply_packed(g, 0, n, m, products.packed(w), k, n, dx, 0, k, False)
        products.add_transposed(g, 0, n, n, x.reshape(-1), 0, k, k, m, dw)
        close(dx.reshape(m, k), grad_left)
        close(dw.reshape(n, k), grad_right)


@njit
def _each(x, exps, sigmoids, silus):
    for i in range(len(x)):
        exps[i] = elementary.exp(x[i])
        sigmoids[i] = elementary.sigmoid(x[i])
        silus[i] = mlp.silu(x[i])


@twin("elementary.exp", "elementary.sigmoid", "mlp.silu")
def elementary_functions() -> None:
    x = np.linspace(-86, 87, 10_007).astype(np.float32)
    ours = np.empty((3, len(x)), np.float32)
    _each(x, *ours)
    wide = torch.from_numpy(x.astype(np.float64))
    for got, wanted in zip(ours, (wide.exp(), wide.sigmoid(), F.silu(wide)), strict=True):
        near = np.abs(got - wanted.numpy()) <= 4e-7 * np.abs(wanted.numpy()) + 1e-37
        assert near.all()


@twin("elementary.largest")
def the_largest() -> None:
    for count in ODD:
        assert elementary.largest(random(count)) == random(count).max()


@njit
def _rows(x, y):
    part = rows.row_of(x, 1, 3)
    part[0] = 7.0
    rows.add(x, 2, y, 1, len(y) - 1)
    rows.copy(x, 2, y, len(y) - 2)


@twin("rows.row_of", "rows.add", "rows.copy")
def rows_of_flat_arrays() -> None:
    for count in (*ODD, PANEL):
        x, y = random(count + 4), random(count + 3)[1:].copy()
        wanted = x.astype(np.float64)
        wanted[1] = 7.0
        wanted[2 : len(y) + 1] += y[1:]
        copied = y.copy()
        _rows(x, copied)
        close(x, wanted)
        assert (copied[2:] == x[2 : len(y)]).all()
        assert (copied[:2] == y[:2]).all()


@twin("norm.scale_of", "norm.norm_alone", "norm.norm", "norm.norm_backward")
def norm_forward_and_backward() -> None:
    epsilon = np.float32(1e-3)
    for width in ODD:
        for M in (1, 3, 17):
            x, weight, g, other = (
                random(M, width),
                random(width),
                random(M, width),
                random(M, width),
            )
            leaves = double(x, weight)
            out = F.rms_norm(leaves[0], (width,), leaves[1], float(epsilon))
            ours, alone = np.empty(M * width, np.float32), np.empty(width, np.float32)
            norm.norm(x.reshape(-1), 0, M, weight, epsilon, ours)
            close(ours.reshape(M, width), out)
            norm.norm_alone(x[0], epsilon, alone)
            bare = F.rms_norm(leaves[0][0], (width,), None, float(epsilon))
            close(alone, bare)
            scale = norm.scale_of(x[0], width, epsilon)
            close([scale], 1 / np.sqrt([np.square(x[0], dtype=np.float64).mean() + epsilon]))
            grad_x, grad_weight = gradients(out, g, leaves)
            for beside in (np.empty(0, np.float32), other.reshape(-1)):
                dx, dw = np.empty(M * width, np.float32), np.zeros(width, np.float32)
                flat, given = x.reshape(-1), g.reshape(-1)
                norm.norm_backward(given, flat, 0, M, weight, epsilon, beside, dx, dw)
                wanted = grad_x.numpy() + (other if len(beside) else 0)
                close(dx.reshape(M, width), wanted, 1e-5)
                close(dw, grad_weight, 1e-5)


@twin("mlp.activate", "mlp.activate_backward")
def activation_forward_and_backward() -> None:
    for middle in ODD:
        for M in (1, 3, 17):
            gate_up, g = 3 * random(M, 2 * middle), random(M, middle)
            (leaf,) = double(gate_up)
            gate, up = leaf.chunk(2, 1)
            out = F.silu(gate) * up
            hidden, flat = np.empty(M * middle, np.float32), gate_up.reshape(-1)
            mlp.activate(flat, 0, middle, M, hidden)
            close(hidden.reshape(M, middle), out)
            both = np.zeros((M, 2 * middle), np.float32)
            both[:, middle:] = g
            hidden[:] = 0
            mlp.activate_backward(flat, 0, middle, M, hidden, both.reshape(-1))
            close(hidden.reshape(M, middle), out)
            close(both, gradients(out, g, [leaf])[0])


EPSILON = np.float32(1e-3)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@twin("layer.inputs", "layer.inputs_backward")
def the_first_half_of_a_layer() -> None:
    for M, width, q, kv in [
        (1, 1, 1, 1),
        (3, 17, 3, 1),
        (17, WIDTH + 1, 17, WIDTH - 1),
        (257, 3, 2, 5),
    ]:
        for biased in (False, True):
            x, weight, g = random(M, width), random(width), random(M, q + 2 * kv)
            maps = [*[random(n, width, scale=0.3) for n in (q, kv, kv + 1)][:2], random(kv, width)]
            bias = random(q + 2 * kv) if biased else zeros(0)
            leaves = double(x, weight, *maps, *([bias] if biased else []))
            n = F.rms_norm(leaves[0], (width,), leaves[1], float(EPSILON))
            out = torch.cat([n @ m.T for m in leaves[2:5]], 1)
            out = out + leaves[5] if biased else out
            qkv = zeros(M, q + 2 * kv)
            layer.inputs(x, weight, EPSILON, *maps, bias, qkv)
            close(qkv, out)
            sums = zeros(M, width), zeros(width), zeros(q + 2 * kv, width), zeros(len(bias))
            layer.inputs_backward(g, x, weight, EPSILON, *maps, *sums)
            grads = gradients(out, g, leaves)
            for ours, theirs in zip(
                sums, [*grads[:2], torch.cat(grads[2:5]), *grads[5:]], strict=False
            ):
                close(ours, theirs, 2e-5)


@twin("layer.outputs", "layer.outputs_backward")
def the_second_half_of_a_layer() -> None:
    for M, width, wide, middle in [
        (1, 1, 1, 1),
        (3, 17, 3, 17),
        (17, WIDTH + 1, 17, WIDTH - 1),
        (257, 3, 5, 17),
    ]:
        x, mixed, g = random(M, width), random(M, wide), random(M, width)
        w_out, weight = random(width, wide), random(width)
        mlp = [random(middle, width), random(middle + 1, width)[:-1].copy(), random(width, middle)]
        leaves = double(x, mixed, w_out, weight, *mlp)
        y = leaves[0] + leaves[1] @ leaves[2].T
        n = F.rms_norm(y, (width,), leaves[3], float(EPSILON))
        out = y + (F.silu(n @ leaves[4].T) * (n @ leaves[5].T)) @ leaves[6].T
        kept, gate_up, ours = zeros(M, width), zeros(M, 2 * middle), zeros(M, width)
        layer.outputs(x, mixed, w_out, weight, EPSILON, *mlp, kept, gate_up, ours)
        close(kept, y)
        close(ours, out)
        grads = gradients(out, g, leaves)
        sums = [zeros(M, width), zeros(M, wide), zeros(width, wide), zeros(width)]
        sums += [zeros(2 * middle, width), zeros(width, middle)]
        layer.outputs_backward(g, kept, mixed, gate_up, w_out, weight, EPSILON, *mlp, *sums)
        for mine, theirs in zip(sums, [*grads[:4], torch.cat(grads[4:6]), grads[6]], strict=False):
            close(mine, theirs, 2e-5)


def turned(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)


def read(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, seen: int) -> torch.Tensor:
    """q (R, heads, size) at the last R of k, v (T, kv, size); position i sees `seen` + i + 1."""
    k, v = (y.repeat_interleave(q.shape[1] // k.shape[1], 1) for y in (k, v))
    scores = torch.einsum("ihd,jhd->hij", q, k) / q.shape[2] ** 0.5
    visible = torch.ones(len(q), len(k), dtype=torch.bool).tril(seen)
    return torch.einsum("hij,jhd->ihd", scores.masked_fill(~visible, -torch.inf).softmax(-1), v)


@twin("attention.attend", "attention.attend_backward")
def attention_in_training() -> None:
    sizes = [2, 2 * (WIDTH - 1), 2 * WIDTH, 2 * WIDTH + 2, 64, 80]
    shapes = [(size, 1, 3, [17, 1, 3], 3) for size in sizes]
    shapes += [(6, kv, per, [1, 33], P) for kv, per in ((1, 1), (3, 1), (2, 2)) for P in ODD]
    for size, kv, per, lengths, P in shapes:
        M, heads, R = sum(lengths), kv * per, max(lengths)
        qkv, keys, values = (
            random(M, (heads + 2 * kv) * size),
            random(P, kv, size),
            random(P, kv, size + 1)[..., 1:].copy(),
        )
        angle, g = random(R, size // 2), random(M, heads * size)
        starts, factor = np.cumsum([0, *lengths]), np.float32(size**-0.5)
        leaves = double(qkv, keys, values)
        cosine, sine = np.cos(angle), np.sin(angle)
        outs = []
        for part in leaves[0].split(lengths):
            by_head = part.view(len(part), -1, size)
            c, s = (
                torch.from_numpy(x[: len(part), None].astype(np.float64)) for x in (cosine, sine)
            )
            k = torch.cat([leaves[1], turned(by_head[:, heads : heads + kv], c, s)])
            v = torch.cat([leaves[2], by_head[:, heads + kv :]])
            outs.append(read(turned(by_head[:, :heads], c, s), k, v, P).flatten(1))
        out = torch.cat(outs)
        mixed, logsums = zeros(M, heads * size), zeros(M, heads)
        attention.attend(qkv, starts, cosine, sine, keys, values, factor, mixed, logsums)
        close(mixed, out)
        wide = -(-size // WIDTH) * WIDTH
        sums = zeros(*qkv.shape), zeros(kv, P, wide), zeros(kv, P, wide)
        attention.attend_backward(
            g, qkv, starts, cosine, sine, keys, values, factor, mixed, logsums, *sums
        )
        grads = gradients(out, g, leaves)
        close(sums[0], grads[0], 1e-5)
        for ours, theirs in zip(sums[1:], grads[1:], strict=True):
            close(ours[..., :size].transpose(1, 0, 2), theirs, 1e-5)


@twin("head.scores", "head.scores_backward")
def the_output_head() -> None:
    for M, D, V in [
        (1, 1, 1),
        (3, 17, 3),
        (17, 3, WIDTH - 1),
        (3, WIDTH + 1, PANEL + 1),
        (131, 17, 65),
    ]:
        for biased in (False, True):
            hidden, weight, temperature = random(M, D), random(V, D), np.float32(0.7)
            bias = random(V) if biased else zeros(0)
            tokens = np.random.default_rng(0).integers(0, V, M)
            leaves = double(hidden, weight, *([bias] if biased else []))
            logs = (F.linear(*leaves) / float(temperature)).log_softmax(-1)
            wanted = [
                logs.gather(1, torch.from_numpy(tokens)[:, None])[:, 0],
                -(logs.exp() * logs).sum(-1),
            ]
            logprobs, entropy = zeros(M), zeros(M)
            head.scores(hidden, weight, bias, tokens, temperature, logprobs, entropy)
            close(logprobs, wanted[0], 1e-5)
            close(entropy, wanted[1], 1e-5)
            given = random(M), random(M + 1)[1:].copy()
            out = sum(
                torch.from_numpy(g.astype(np.float64)) * w
                for g, w in zip(given, wanted, strict=True)
            )
            sums = zeros(M, D), zeros(V, D), zeros(len(bias))
            head.scores_backward(
                *given, hidden, weight, bias, tokens, temperature, logprobs, entropy, *sums
            )
            for ours, theirs in zip(sums, gradients(out, np.ones(M), leaves), strict=False):
                assert np.abs(ours - theirs.numpy()).max() < 2e-5 * M


def drawn(logits: np.ndarray, uniform: float, rules: drawing.Rules) -> tuple[int, float]:
    """By inversion in double precision, of the tokens kept; greedy at temperature 0. The uniforms
    of these checks fall near no border, and no token lies near the edge of what is kept."""
    x = logits.astype(np.float64) / float(rules.temperature or 1)
    p = np.exp(x - x.max())
    if rules.temperature == 0:
        return int(x.argmax()), float(-np.log(p.sum()))
    order = np.lexsort((-np.arange(len(p)), -p))
    kept = np.ones(len(p), bool)
    if rules.top_k:
        kept &= p >= np.sort(p)[::-1][: rules.top_k][-1]
    ahead = np.zeros(len(p))
    ahead[order] = np.cumsum((p * kept)[order]) - (p * kept)[order]
    kept &= ahead < rules.top_p * (p * kept).sum()
    kept &= p >= rules.min_p
    p = p * kept / (p * kept).sum()
    token = int(np.searchsorted(np.cumsum(p), uniform, side="right"))
    assert np.abs(np.cumsum(p) - uniform).min() > 1e-6
    return token, float(np.log(p[token]))


RULES = [
    drawing.rules_of(*given)
    for given in [(0.6,), (0.0,), (0.6, 3), (1.0, 0, 0.7), (0.6, 0, 1.0, 0.2), (0.8, 9, 0.9, 0.01)]
]


@twin("drawing.room_for", "drawing.draw_one", "drawing.draw")
def drawing_by_inversion() -> None:
    for vocabulary in (1, 3, 17, 63, 64, 65, 544):
        room = drawing.room_for(vocabulary)
        sizes = [vocabulary, -(-vocabulary // 64), 2048, 2048, vocabulary]
        assert [len(part) for part in room] == sizes
        logits, uniforms = 2 * random(5, vocabulary), np.random.default_rng(1).random(5)
        for rules in RULES:
            tokens, logprobs = np.zeros(5, np.int64), np.zeros(5)
            assert drawing.draw(logits, uniforms, rules, tokens, logprobs)
            for r in range(5):
                wanted = drawn(logits[r], uniforms[r], rules)
                one = drawing.draw_one(logits[r], uniforms[r], rules, room)
                assert one[0] == tokens[r] == wanted[0]
                assert abs(one[1] - logprobs[r]) < 1e-6
                assert abs(logprobs[r] - wanted[1]) < 1e-5


def less_likely(logits: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    """Logits of tokens that were seen: divided above 0, multiplied below."""
    return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)


@twin("drawing.penalise")
def a_penalty_on_what_was_seen() -> None:
    for count in ODD:
        for penalty in (np.float32(1.3), np.float32(0.5)):
            logits = random(count)
            seen = np.arange(count) % 2 == 0
            wanted = less_likely(logits.astype(np.float64), seen, float(penalty))
            drawing.penalise(logits, seen, penalty)
            close(logits, wanted, 1e-6)


class Model:
    """A random decoder as plain matrices, and packed as the loops want it."""

    def __init__(self, size: int, kv: int, per: int, prompts: list[int], n: int, new: int):
        L, V, width, middle, heads = 2, 17, 9, WIDTH + 1, kv * per
        self.size, self.kv, self.heads, self.n = size, kv, heads, n
        shapes = [((heads + 2 * kv) * size, width), (width, heads * size), (middle, width)]
        shapes += [(middle, width), (width, middle)]
        self.layers = [
            [random(*s, n + 1, i + 1)[..., n, i] * 0.4 for i, s in enumerate(shapes)]
            for n in range(L)
        ]
        self.bias = random(L, (heads + 2 * kv) * size)
        self.table, self.head = random(V, width), random(V, width + 1)[:, 1:].copy()
        longest = max(prompts)
        self.keys, self.values = (
            random(L, len(prompts), longest, kv, size + i)[..., i:].copy() for i in (0, 1)
        )
        angle = random(longest + new + 1, size // 2)
        self.cosine, self.sine = np.cos(angle), np.sin(angle)
        self.lengths, self.which = np.array(prompts), np.arange(n) % len(prompts)
        self.which.sort()
        self.tokens: list[list[int]] = [[] for _ in range(n)]
        none = zeros(L, 0)
        self.weights = Weights(
            table=self.table, qkv=panels([maps[0] for maps in self.layers]), qkv_bias=self.bias,
            head_norms=zeros(L, 0, size),
            out=panels([maps[1] for maps in self.layers]), out_bias=none,
            gate_up=np.concatenate([panels([maps[i] for maps in self.layers]) for i in (2, 3)], 1),
            gate_up_bias=none, down=panels([maps[4] for maps in self.layers]), down_bias=none,
            head=panels([self.head]), head_bias=zeros(1, 0),
            epsilons=np.full((L + 1, 2), EPSILON), vocabulary=np.array([V]),
            read=np.array([heads * size]),
        )  # fmt: skip
        by_head = self.keys.transpose(0, 3, 1, 4, 2), self.values.transpose(0, 3, 1, 2, 4)
        P = -(-longest // PANEL)
        keys = zeros(*by_head[0].shape[:4], P * PANEL)
        keys[..., :longest] = by_head[0]
        values = zeros(*by_head[1].shape[:4], padded(size))
        values[..., :size] = by_head[1]
        self.prompts = Prompts(
            keys=np.ascontiguousarray(keys.reshape(*keys.shape[:4], P, PANEL).swapaxes(3, 4)),
            values=values, lengths=self.lengths, turns=np.stack([self.cosine, self.sine], 1),
        )  # fmt: skip
        blocks = -(-new // OWN)
        self.own = Own(
            keys=zeros(L, n, kv, blocks, size, OWN),
            values=zeros(L, n, kv, blocks * OWN, padded(size)),
            which=self.which.copy(), sequence=np.arange(n), x=zeros(n, padded(width)),
            normed=zeros(n, width), qkv=zeros(n, self.weights.qkv.shape[1] * PANEL),
            mixed=zeros(n, heads * size),
            hidden=zeros(min(n, 2), self.weights.gate_up.shape[1] * PANEL),
            logits=zeros(n, padded(V)),
        )  # fmt: skip

    def logits(self, r: int, tokens: list[int]) -> np.ndarray:
        """After these tokens of rollout r, from the beginning, in double precision."""
        b = self.which[r]
        p = int(self.lengths[b])
        at = slice(p, p + len(tokens))
        c, s = (torch.from_numpy(x[at, None].astype(np.float64)) for x in (self.cosine, self.sine))
        x = torch.from_numpy(self.table[tokens].astype(np.float64))
        wide = lambda y: torch.from_numpy(y.astype(np.float64))  # noqa: E731
        norm = lambda y: F.rms_norm(y, y.shape[-1:], None, float(EPSILON))  # noqa: E731
        for number, (w_qkv, w_out, w_gate, w_up, w_down) in enumerate(self.layers):
            qkv = norm(x) @ wide(w_qkv).T + wide(self.bias[number])
            qkv = qkv.view(len(tokens), -1, self.size)
            q, k, v = qkv.split([self.heads, self.kv, self.kv], 1)
            k = torch.cat([wide(self.keys[number, b, :p]), turned(k, c, s)])
            v = torch.cat([wide(self.values[number, b, :p]), v])
            x = x + read(turned(q, c, s), k, v, p).flatten(1) @ wide(w_out).T
            m = norm(x)
            x = x + (F.silu(m @ wide(w_gate).T) * (m @ wide(w_up).T)) @ wide(w_down).T
        return (norm(x[-1]) @ wide(self.head).T).numpy()


def panels(maps: list[np.ndarray]) -> np.ndarray:
    """(layers, panels, count, PANEL) of maps (columns, count)."""
    columns, count = maps[0].shape
    room = zeros(len(maps), padded(columns), count)
    room[:, :columns] = np.stack(maps)
    return np.ascontiguousarray(room.reshape(len(maps), -1, PANEL, count).swapaxes(2, 3))


MODELS = [(2, 1, 1, [1], 1), (6, 3, 1, [3, 17], 3), (2 * WIDTH + 2, 1, 3, [PANEL + 1, 3, 1], 17)]


@twin("decoding.advance", "decoding.attend", "decoding.keep")
def positions_one_by_one() -> None:
    for shape in MODELS:
        new = OWN + 3
        model, draw = Model(*shape, new), np.random.default_rng(5)
        going, tokens = list(range(model.n)), [[] for _ in range(model.n)]
        for place in range(new):
            if place == WIDTH + 1 and len(going) > 2:
                slots = np.arange(0, len(going), 2)
                decoding.keep(model.own, slots, place)
                going = [going[i] for i in slots]
            given = draw.integers(0, 17, len(going))
            decoding.advance(given, place + 1, model.weights, model.prompts, model.own)
            for r, token in zip(going, given, strict=True):
                tokens[r].append(int(token))
            if place in (0, 1, WIDTH, WIDTH + 1, 2 * WIDTH, OWN - 1, OWN, new - 1):
                for slot, r in enumerate(going):
                    close(model.own.logits[slot, :17], model.logits(r, tokens[r]), 1e-5)


@twin("decoding.decode")
def many_positions_in_one_call() -> None:
    for shape in MODELS:
        new, rules = OWN + 3, drawing.rules_of(0.8, 9, 0.95, 0.01, 1.2)
        model = Model(*shape, new)
        N, ends = model.n, np.array([0, 1, 2])
        uniforms = np.random.default_rng(6).random((new, N))
        first = random(N, 17)
        model.own.logits[:, :17] = first
        out = Drawn(uniforms, np.zeros((new, N), np.int64), np.zeros((new, N)))
        before = np.random.default_rng(7).random((N, 17)) < 0.3
        n, t, seen = N, 0, before.copy()
        while n and t < new:
            n, t, _ = decoding.decode(
                n, t, t + 5, rules, ends, seen, out, model.weights, model.prompts, model.own
            )
        for r in range(N):
            tokens: list[int] = []
            for place in range(new):
                logits = model.logits(r, tokens) if tokens else first[r]
                logits = less_likely(logits.astype(np.float64), before[r], 1.2)
                token, logprob = drawn(logits, uniforms[place, r], rules)
                before[r, token] = True
                assert out.tokens[place, r] == token
                assert abs(out.logprobs[place, r] - logprob) < 2e-5
                if token in ends:
                    break
                tokens.append(token)


def test_every_kernel_has_a_twin():
    bare, gone = set(room()) - set(CHECKS), set(CHECKS) - set(room())
    assert not bare, f"give {sorted(bare)} a check under @twin(...) in tests/kernels/test_twins.py"
    assert not gone, f"@twin names {sorted(gone)}, which kernels/ has not"


@pytest.mark.parametrize(
    "check",
    dict.fromkeys(c for cs in CHECKS.values() for c in cs),
    ids=lambda check: check.__name__,
)
def test_kernels_are_their_twins(check):
    check()
