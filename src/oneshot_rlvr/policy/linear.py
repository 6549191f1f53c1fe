"""Linear maps that serve many products in a row: packed once, with the next operation joined on.

On a CPU in float32 the weight is brought into oneDNN's blocked layout, and silu, product or sum
ride on the matrix product (`torch.ops.mkldnn`): 10 to 25 % faster than plain calls at widths of
128 to 256. Everywhere else, and where this build of torch lacks the operators, the plain calls
are made. A packed weight is a copy: it must not outlive the weights it was made from.

Not here: gradients; these maps have none (`blocks.py` brings its own).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Linear:
    """y = x W^T + b for a fixed W, rows of x first; `rows` is about how many there will be."""

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int):
        self._bias = bias
        self._packed = packable(weight)
        pack: Any = torch.ops.mkldnn._reorder_linear_weight if self._packed else None
        self._weight: Tensor = pack(weight.contiguous(), rows) if self._packed else weight

    def __call__(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        if self._packed:
            return _pointwise(x, self._weight, self._bias, "none", [], "")
        return F.linear(x, self._weight, self._bias)

    def silu(self, x: Tensor) -> Tensor:
        """silu(x W^T + b)."""
        if self._packed:
            return _pointwise(x, self._weight, self._bias, "swish", [], "")
        return F.silu(F.linear(x, self._weight, self._bias))

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """(x W^T + b) * other."""
        if self._packed:
            return _binary(x, other, self._weight, self._bias, "mul")
        return F.linear(x, self._weight, self._bias).mul_(other)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """x W^T + b + other."""
        if self._packed:
            return _binary(x, other, self._weight, self._bias, "add")
        if self._bias is None:
            return torch.addmm(other, x, self._weight.T)
        return F.linear(x, self._weight, self._bias).add_(other)


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b, once; W may be a transposed view."""
    if packable(weight):
        return _pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def product_plus(x: Tensor, weight: Tensor, other: Tensor) -> Tensor:
    """x W^T + other."""
    if packable(weight):
        return _binary(x, other, weight, None, "add")
    return torch.addmm(other, x, weight.T)


def packable(weight: Tensor) -> bool:
    """Whether oneDNN's operators serve this weight, and the matrices that it multiplies."""
    return _AVAILABLE and weight.device.type == "cpu" and weight.dtype == torch.float32


def _operators() -> tuple[bool, Any, Any]:
    try:
        ops: Any = torch.ops.mkldnn
        pointwise, binary = ops._linear_pointwise.default, ops._linear_pointwise.binary
        ops._reorder_linear_weight.default  # noqa: B018 - is it there?
    except (AttributeError, RuntimeError):
        return False, None, None
    return torch.backends.mkldnn.is_available(), pointwise, binary


_AVAILABLE, _pointwise, _binary = _operators()
