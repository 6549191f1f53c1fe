"""Log-probability and entropy from hidden states, in parts, so that [tokens, V] never exists.

The output head, the softmax and the gather are one differentiable operation over M tokens. Each
direction holds the logits of one part only. The backward pass computes them again, one more
product with the head in exchange for M * V numbers of memory, unless these are few (`KEPT_BYTES`):
then the forward pass keeps them.

With z = W h / temperature, p = softmax(z), H = -sum p log p (nats), y the token:
    d log p_y / dz = 1_y - p          dH / dz = -p (log p + H)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from oneshot_rlvr.kernels import head as kernels
from oneshot_rlvr.kernels import narrow as cpu
from oneshot_rlvr.kernels import narrow_head
from oneshot_rlvr.policy.lanes import in_lanes, lane_count
from oneshot_rlvr.policy.truncation import Cut, truncate_around
from oneshot_rlvr.policy.wide import add_outer, wide_linear, wide_product, wide_type

# Logits held at once. 2^18 floats are 1 MiB, about one core's second-level cache; elsewhere a
# launch costs more. At least 64 tokens, so that the product stays a matrix product.
_PART_CPU, _PART_ELSEWHERE, _LEAST_TOKENS = 1 << 18, 1 << 26, 64
KEPT_BYTES = 1 << 29
"""Logits of a call that are kept for its backward pass; more are computed again."""

# Of the head's numbers, where every lane packs it for itself twice: 64 MiB of copies a lane.
LARGEST_COMPILED = 1 << 23

WHOLE = Cut()
"""Nothing is cut off."""


def token_scores(
    hidden_M_D: Tensor,
    weight_V_D: Tensor,
    bias_V: Tensor | None,
    tokens_M: Tensor,
    temperature: float,
    cut: Cut = WHOLE,
) -> tuple[Tensor, Tensor]:
    """Log-probability (M, nats) of each token and entropy (M, nats), at the temperature, of what
    `cut` leaves of the distribution (which tokens those are has no gradient).

    In float32 or wider, logits and the head's gradient too, whatever the weights' type (`wide.py`);
    differentiable in hidden states and head. Under autocast states and head are rounded to
    autocast's type, and the gradient of the logits where it is multiplied with them.
    """
    device = hidden_M_D.device.type
    if _narrows(hidden_M_D, weight_V_D) and not cut:
        narrow: Any = _NarrowHead.apply(hidden_M_D, weight_V_D, bias_V, tokens_M, temperature)
        return narrow[0], narrow[1]
    if torch.is_autocast_enabled(device):
        # Cast here, where autograd sees it: the backward pass runs outside autocast and must make
        # the same products again.
        narrow = torch.get_autocast_dtype(device)
        hidden_M_D, weight_V_D = hidden_M_D.to(narrow), weight_V_D.to(narrow)
        bias_V = None if bias_V is None else bias_V.to(narrow)
    with torch.autocast(device, enabled=False):
        if _compiles(hidden_M_D, weight_V_D) and not cut:
            scores: Any = _CompiledHead.apply(hidden_M_D, weight_V_D, bias_V, tokens_M, temperature)
            return scores[0], scores[1]
        keeps = torch.is_grad_enabled() and keeps_logits(
            len(hidden_M_D), weight_V_D.shape[0], wide_type(hidden_M_D.dtype)
        )
        logprobs_M, entropy_M = _Head.apply(
            hidden_M_D, weight_V_D, bias_V, tokens_M, temperature, keeps, cut
        )
    return logprobs_M, entropy_M


def keeps_logits(M: int, V: int, dtype: torch.dtype = torch.float32) -> bool:
    """Whether the logits of M tokens are few enough to be kept."""
    return M * V * dtype.itemsize <= KEPT_BYTES


def _compiles(hidden_M_D: Tensor, weight_V_D: Tensor) -> bool:
    return (
        hidden_M_D.device.type == "cpu"
        and hidden_M_D.dtype == weight_V_D.dtype == torch.float32
        and 0 < weight_V_D.numel() <= LARGEST_COMPILED
    )


def _narrows(hidden_M_D: Tensor, weight_V_D: Tensor) -> bool:
    return (
        hidden_M_D.device.type == "cpu"
        and hidden_M_D.dtype == weight_V_D.dtype == torch.float32
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and min(hidden_M_D.numel(), weight_V_D.numel()) > 0
        and bool(cpu.instructions())
    )


def _part(hidden_M_D: Tensor, weight_V_D: Tensor) -> int:
    held = _PART_CPU if hidden_M_D.device.type == "cpu" else _PART_ELSEWHERE
    return max(_LEAST_TOKENS, held // weight_V_D.shape[0])


def _log_softmax(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    temperature: float,
    tokens: Tensor,
    cut: Cut,
) -> Tensor:
    logits = wide_linear(hidden, weight, bias) / temperature
    return (truncate_around(logits, tokens, cut) if cut else logits).log_softmax(-1)


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        temperature: float,
        keeps: bool,
        cut: Cut,
    ) -> tuple[Tensor, Tensor]:
        M, part = hidden.shape[0], _part(hidden, weight)
        wide = wide_type(hidden.dtype)
        kept = hidden.new_empty((M, weight.shape[0]) if keeps else 0, dtype=wide)
        logprobs, entropy = hidden.new_empty(M, dtype=wide), hidden.new_empty(M, dtype=wide)
        for m in range(0, M, part):
            chosen = tokens[m : m + part]
            logs = _log_softmax(hidden[m : m + part], weight, bias, temperature, chosen, cut)
            if keeps:
                kept[m : m + part] = logs
            logprobs[m : m + part] = logs.gather(1, chosen[:, None])[:, 0]
            # -inf logits have p = 0 and must give 0, not nan.
            entropy[m : m + part] = -(logs.exp() * logs.clamp(min=torch.finfo(wide).min)).sum(-1)
        ctx.save_for_backward(hidden, weight, bias, tokens, entropy, kept)
        ctx.temperature, ctx.cut = temperature, cut
        return logprobs, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_logprobs, grad_entropy = grads
        hidden, weight, bias, tokens, entropy, kept = ctx.saved_tensors
        M, part = hidden.shape[0], _part(hidden, weight)
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        # Sums over many parts: in 16 bits they would soon stand still.
        wide = wide_type(weight.dtype)
        grad_weight = torch.zeros_like(weight, dtype=wide) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias, dtype=wide) if bias is not None else None
        for m in range(0, M, part):
            here = slice(m, m + part)
            if len(kept):
                logs = kept[here]
            else:
                logs = _log_softmax(
                    hidden[here], weight, bias, ctx.temperature, tokens[here], ctx.cut
                )
            p = logs.exp()
            # dz = -p (g_logprob + g_entropy (log p + H)) + g_logprob 1_y, then through z = W h / T
            dz = logs.clamp(min=torch.finfo(logs.dtype).min).add_(entropy[here, None])
            dz.mul_(grad_entropy[here, None]).add_(grad_logprobs[here, None]).mul_(p).neg_()
            if ctx.cut:
                dz.masked_fill_(p == 0, 0.0)  # the least of floats times a large gradient is none
            dz.scatter_add_(1, tokens[here, None], grad_logprobs[here, None])
            dz.div_(ctx.temperature)
            if grad_hidden is not None:
                grad_hidden[here] = wide_product(dz, weight)
            if grad_weight is not None:
                add_outer(grad_weight, dz, hidden[here])
            if grad_bias is not None:
                grad_bias += dz.sum(0)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
            None,
            None,
        )


def _array(x: Tensor | None) -> Any:
    return np.empty(0, np.float32) if x is None else x.detach().contiguous().numpy()


def _lane_parts(M: int, device: torch.device) -> list[slice]:
    """M tokens in consecutive parts for the lanes, none of them tiny."""
    lanes = max(1, min(lane_count(device), M // _LEAST_TOKENS))
    bounds = [M * lane // lanes for lane in range(lanes + 1)]
    return [slice(bounds[i], bounds[i + 1]) for i in range(lanes)]


class _CompiledHead(torch.autograd.Function):
    """The same in compiled loops, a part of the tokens in each lane."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        logprobs, entropy = hidden.new_empty(2, len(hidden))
        states, head, shift, chosen = map(_array, (hidden, weight, bias, tokens))

        def lane(part: slice) -> None:
            kernels.scores(
                states[part], head, shift, chosen[part], np.float32(temperature),
                logprobs.numpy()[part], entropy.numpy()[part],
            )  # fmt: skip

        in_lanes(lane, _lane_parts(len(hidden), hidden.device))
        ctx.save_for_backward(hidden, weight, bias, tokens, logprobs, entropy)
        ctx.temperature = temperature
        return logprobs, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, *known = ctx.saved_tensors
        states, head, shift, chosen = map(_array, (hidden, weight, bias, tokens))
        of_scores, known = [_array(g) for g in grads], [_array(k) for k in known]
        grad_hidden = torch.empty(hidden.shape if ctx.needs_input_grad[0] else (0, 0))
        into = grad_hidden.numpy()

        def lane(part: slice) -> tuple[Tensor, Tensor]:
            grad_weight = torch.zeros(weight.shape if ctx.needs_input_grad[1] else (0, 0))
            grad_bias = torch.zeros(0 if bias is None else len(bias))
            kernels.scores_backward(
                *(g[part] for g in of_scores), states[part], head, shift, chosen[part],
                np.float32(ctx.temperature), *(k[part] for k in known), into[part],
                grad_weight.numpy(), grad_bias.numpy(),
            )  # fmt: skip
            return grad_weight, grad_bias

        done = in_lanes(lane, _lane_parts(len(hidden), hidden.device))
        grad_weight, grad_bias = (sum(g[1:], g[0]) for g in zip(*done, strict=True))
        return (
            grad_hidden if ctx.needs_input_grad[0] else None,
            grad_weight if ctx.needs_input_grad[1] else None,
            None if bias is None else grad_bias,
            None,
            None,
        )


def _lane_words(V: int, device: torch.device) -> list[tuple[int, int]]:
    """The vocabulary in consecutive parts for the lanes, whole parts of the loops'."""
    parts = -(-V // narrow_head.PART)
    lanes = max(1, min(lane_count(device), parts))
    bounds = [min(V, parts * lane // lanes * narrow_head.PART) for lane in range(lanes + 1)]
    return [(bounds[i], bounds[i + 1]) for i in range(lanes)]


class _NarrowHead(torch.autograd.Function):
    """In compiled loops with bfloat16 products, a part of the vocabulary in each lane: no logits
    are kept, and the head's gradient is there once."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        M, lanes = len(hidden), _lane_words(len(weight), hidden.device)
        states, head, shift, chosen = map(_array, (hidden, weight, bias, tokens))
        own = hidden.new_empty(M)
        best_L_M, mass_L_M, mean_L_M = hidden.new_empty(3, len(lanes), M)

        def lane(number: int) -> None:
            narrow_head.scores(
                states, head, shift, chosen, np.float32(temperature), *lanes[number],
                own.numpy(), *(x[number].numpy() for x in (best_L_M, mass_L_M, mean_L_M)),
            )  # fmt: skip

        in_lanes(lane, range(len(lanes)))
        best = best_L_M.amax(0)
        below_L_M = best_L_M - best
        share_L_M = below_L_M.exp()
        mass = (share_L_M * mass_L_M).sum(0)
        mean = (share_L_M * (mean_L_M + below_L_M * mass_L_M)).sum(0)
        log_mass = mass.log()
        logprobs, entropy = own - best - log_mass, log_mass - mean / mass
        ctx.save_for_backward(hidden, weight, bias, tokens, best + log_mass, entropy)
        ctx.temperature = temperature
        return logprobs, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, *known = ctx.saved_tensors
        lanes = _lane_words(len(weight), hidden.device)
        states, head, shift, chosen = map(_array, (hidden, weight, bias, tokens))
        of_scores, known = [_array(g) for g in grads], [_array(k) for k in known]
        wanted = ctx.needs_input_grad
        grad_hidden_L = torch.zeros(len(lanes), *(hidden.shape if wanted[0] else (0, 0)))
        grad_weight = torch.zeros(weight.shape if wanted[1] else (0, 0))
        grad_bias = torch.zeros(0 if bias is None else len(bias))

        def lane(number: int) -> None:
            narrow_head.scores_backward(
                *of_scores, states, head, shift, chosen, np.float32(ctx.temperature), *known,
                *lanes[number], grad_hidden_L[number].numpy(), grad_weight.numpy(),
                grad_bias.numpy(),
            )  # fmt: skip

        in_lanes(lane, range(len(lanes)))
        return (
            grad_hidden_L.sum(0) if wanted[0] else None,
            grad_weight if wanted[1] else None,
            None if bias is None else grad_bias,
            None,
            None,
        )
