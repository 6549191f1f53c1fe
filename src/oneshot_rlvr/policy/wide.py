"""Products of 16-bit matrices whose sums stay in float32. Pure.

A bfloat16 product rounds every result to 8 bits. For logits that is an error of up to 0.06 at a
size of 16, which goes straight into log-probabilities and ratios; so the output head asks for its
results in float32. On a GPU the units that multiply 16-bit numbers sum in float32 anyway and are
told to leave it at that; elsewhere the operands are widened, the head's a part at a time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_WIDENED = 1 << 22
"""Numbers of the head that are held widened at once: 16 MiB."""


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """float32, or the type itself where it is wider."""
    return torch.promote_types(dtype, torch.float32)


def wide_linear(x_M_D: Tensor, weight_V_D: Tensor, bias_V: Tensor | None = None) -> Tensor:
    """x W^T + b (M, V) in float32 or wider, whatever the types of its parts (one for both)."""
    wide = wide_type(weight_V_D.dtype)
    if weight_V_D.dtype == wide:
        return F.linear(x_M_D, weight_V_D, bias_V)
    if x_M_D.is_cuda:
        product = torch.mm(x_M_D, weight_V_D.T, out_dtype=wide)
    else:
        x_M_D, product = x_M_D.to(wide), x_M_D.new_empty(len(x_M_D), len(weight_V_D), dtype=wide)
        for rows in _parts(weight_V_D):
            product[:, rows] = x_M_D @ weight_V_D[rows].to(wide).T
    return product if bias_V is None else product.add_(bias_V)


def wide_product(dz_M_V: Tensor, weight_V_D: Tensor) -> Tensor:
    """dz W (M, D) in float32 or wider; dz comes in that type."""
    if weight_V_D.dtype == dz_M_V.dtype:
        return dz_M_V @ weight_V_D
    if dz_M_V.is_cuda:
        return torch.mm(dz_M_V.to(weight_V_D.dtype), weight_V_D, out_dtype=dz_M_V.dtype)
    total = dz_M_V.new_zeros(len(dz_M_V), weight_V_D.shape[1])
    for rows in _parts(weight_V_D):
        total.addmm_(dz_M_V[:, rows], weight_V_D[rows].to(dz_M_V.dtype))
    return total


def add_outer(total_V_D: Tensor, dz_M_V: Tensor, x_M_D: Tensor) -> None:
    """Adds dz^T x to a total in float32 or wider; dz comes in that type."""
    if total_V_D.dtype == x_M_D.dtype or not dz_M_V.is_cuda:
        total_V_D.addmm_(dz_M_V.T, x_M_D.to(total_V_D.dtype))
    else:
        total_V_D += torch.mm(dz_M_V.T.to(x_M_D.dtype), x_M_D, out_dtype=total_V_D.dtype)


def _parts(weight_V_D: Tensor) -> list[slice]:
    V, D = weight_V_D.shape
    size = max(1, _WIDENED // D)
    return [slice(v, min(v + size, V)) for v in range(0, V, size)]
