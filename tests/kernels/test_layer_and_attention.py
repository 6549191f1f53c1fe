"""The compiled halves of a layer and its attention against torch in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from oneshot_rlvr.policy import compiled_blocks


def made(generator, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def differentiated(function, given, weight):
    """Value and gradients, for leaves of the given type."""
    leaves = [x.detach().clone().requires_grad_() for x in given]
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad((out * weight.to(out)).sum(), leaves)]


def close(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() <= 2e-6 * b.norm() + 1e-12


def turned(x, cosine, sine):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)


def attention_in_torch(lengths, cosine, sine, heads):
    def run(qkv, keys, values):
        P, kv, size = keys.shape
        outs = []
        for part in qkv.split(lengths):
            R = len(part)
            by_head = part.view(R, -1, size)
            c, s = cosine[:R, None].to(part), sine[:R, None].to(part)
            q, k = turned(by_head[:, :heads], c, s), turned(by_head[:, heads : heads + kv], c, s)
            k, v = torch.cat([keys, k]), torch.cat([values, by_head[:, heads + kv :]])
            visible = torch.ones(R, P + R, dtype=torch.bool).tril(P)
            k, v = (y.repeat_interleave(heads // kv, 1) for y in (k, v))
            scores = torch.einsum("ihd,jhd->hij", q, k) / size**0.5
            p = scores.masked_fill(~visible, -torch.inf).softmax(-1)
            outs.append(torch.einsum("hij,jhd->ihd", p, v).flatten(1))
        return torch.cat(outs)

    return run


@pytest.mark.parametrize(
    ("size", "kv", "per", "lengths", "P"),
    [
        (8, 1, 1, [7, 7], 5),
        (24, 2, 3, [33, 12, 1], 50),
        (32, 1, 4, [130], 1),
        (64, 2, 2, [33, 33], 50),
        (64, 3, 1, [1, 1, 1], 5),
        (80, 1, 2, [40], 33),
        (16, 2, 1, [130, 40], 70),
    ],
)
def test_attention_and_its_gradients(size, kv, per, lengths, P):
    generator = torch.Generator().manual_seed(3)
    heads, M, R = kv * per, sum(lengths), max(lengths)
    angles = made(generator, R, size // 2)
    given = [
        made(generator, M, (heads + 2 * kv) * size),
        made(generator, P, kv, size),
        made(generator, P, kv, size),
    ]
    weight = made(generator, M, heads * size)
    cosine, sine = angles.cos(), angles.sin()
    theirs = differentiated(attention_in_torch(lengths, cosine, sine, heads), given, weight)
    starts = np.cumsum([0, *lengths])

    def ours(qkv, keys, values):
        return compiled_blocks.attend(qkv, starts, (cosine.float(), sine.float()), keys, values)

    close(differentiated(ours, [x.float() for x in given], weight), theirs)


def normed(x, weight, epsilon):
    return x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt() * weight


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    ("M", "width", "q", "kv"), [(1, 8, 8, 8), (70, 24, 40, 20), (600, 64, 96, 32)]
)
def test_inputs_and_their_gradients(M, width, q, kv, biased):
    generator = torch.Generator().manual_seed(4)
    given = [made(generator, M, width), made(generator, width)]
    given += [made(generator, n, width) for n in (q, kv, kv)]
    given += [made(generator, n) for n in (q, kv, kv)] if biased else []
    weight = made(generator, M, q + 2 * kv)

    def theirs(x, w, *maps):
        maps = [*maps, None, None, None]
        n = normed(x, w, 1e-3)
        return torch.cat([F.linear(n, m, b) for m, b in zip(maps[:3], maps[3:6], strict=True)], 1)

    def ours(x, w, *maps):
        return compiled_blocks.inputs(x, w, 1e-3, list(maps[:3]), list(maps[3:]) or None)

    close(
        differentiated(ours, [x.float() for x in given], weight),
        differentiated(theirs, given, weight),
    )


@pytest.mark.parametrize(
    ("M", "width", "wide", "middle"), [(1, 8, 8, 24), (70, 40, 24, 100), (600, 64, 128, 96)]
)
def test_outputs_and_their_gradients(M, width, wide, middle):
    generator = torch.Generator().manual_seed(5)
    shapes = [(M, width), (M, wide), (width, wide), (width,), (middle, width), (middle, width)]
    given = [made(generator, *shape) for shape in [*shapes, (width, middle)]]
    weight = made(generator, M, width)

    def theirs(x, mixed, out, w, gate, up, down):
        y = x + mixed @ out.T
        n = normed(y, w, 1e-3)
        return y + (F.silu(n @ gate.T) * (n @ up.T)) @ down.T

    def ours(x, mixed, out, w, *mlp):
        return compiled_blocks.outputs(x, mixed, out, w, 1e-3, list(mlp))

    close(
        differentiated(ours, [x.float() for x in given], weight),
        differentiated(theirs, given, weight),
    )


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_passed_on(bad):
    generator = torch.Generator().manual_seed(6)
    x = made(generator, 9, 16).float()
    x[4, 3] = bad
    w, maps = torch.ones(16), [made(generator, 16, 16).float() for _ in range(3)]
    qkv = compiled_blocks.inputs(x, w, 1e-6, maps, None)
    assert not qkv[4].isfinite().any()
    assert qkv[[0, 8]].isfinite().all()
    keys = made(generator, 3, 1, 16).float()
    angles = torch.ones(9, 8), torch.ones(9, 8)
    read = compiled_blocks.attend(qkv, np.array([0, 3, 9]), angles, keys, keys)
    assert not read[4:].isfinite().any()
    assert read[:3].isfinite().all()
    mlp = [made(generator, n, m).float() for n, m in ((32, 16), (32, 16), (16, 32))]
    out = compiled_blocks.outputs(x, qkv[:, :16], maps[0], w, 1e-6, mlp)
    assert not out[4].isfinite().any()
