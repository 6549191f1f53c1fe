"""Linear maps with oneDNN's packed weights against the plain formulas."""

import pytest
import torch
import torch.nn.functional as F

from oneshot_rlvr.policy import linear
from oneshot_rlvr.policy.linear import Linear, packable, product, product_plus


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 40])  # not only as many as were announced
def test_the_joined_operations_are_the_plain_ones(monkeypatch, packed, biased, rows):
    if not packed:
        monkeypatch.setattr(linear, "_AVAILABLE", False)
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(*s, generator=generator) for s in ((rows, 12), (20, 12)))
    bias = torch.randn(20, generator=generator) if biased else None
    other = torch.randn(rows, 20, generator=generator)
    expected = F.linear(x, weight, bias)
    with torch.no_grad():
        made = Linear(weight, bias, 40)
        assert made._packed == packed
        for got, wanted in [
            (made(x), expected),
            (made.silu(x), F.silu(expected)),
            (made.times(x, other), expected * other),
            (made.plus(x, other), expected + other),
            (product(x, weight, bias), expected),
            (product_plus(x, weight, other), F.linear(x, weight) + other),
            (product(other, weight.T, None), other @ weight),
        ]:
            assert torch.allclose(got, wanted, atol=1e-5)


def test_only_float32_on_a_cpu_is_packed():
    assert not packable(torch.zeros(2, 2, dtype=torch.float64))
    assert not packable(torch.zeros(2, 2, dtype=torch.bfloat16))
    assert not packable(torch.zeros(2, 2, device="meta"))
