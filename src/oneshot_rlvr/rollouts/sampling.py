"""From logits and a uniform to a token and its log-probability: inverse-CDF sampling in float64.

Sampling by inversion makes the token a function of (logits, uniform) alone; each row is computed
by itself, so equal logits and equal uniforms give equal tokens in any batch.

Not here: where logits or uniforms come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from oneshot_rlvr.policy.truncation import truncate
from oneshot_rlvr.rollouts.engine import Sampling

# Rows are drawn in parts of about this many logits, which fit a core's second-level cache; a
# launch on an accelerator costs more than its memory, so parts are larger there.
_PART_CPU, _PART_ELSEWHERE = 1 << 16, 1 << 26


def sample(logits_N_V: Tensor, uniforms_N: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Tokens (N, int64) and their log-probabilities (N, float64, nats).

    The log-probability is under the distribution that was sampled from: the softmax of
    logits / temperature, cut (`truncate`) and renormalised. A greedy token has no such
    distribution; its log-probability is the model's own, at temperature 1. A penalty on repetition
    is in the logits already (`penalised`).
    """
    N, V = logits_N_V.shape
    drawn_N = _compiled(logits_N_V, uniforms_N, sampling)
    if drawn_N is not None:
        return drawn_N
    part = _PART_CPU if logits_N_V.device.type == "cpu" else _PART_ELSEWHERE
    parts = -(-N * V // part)
    rows = max(1, -(-N // parts))
    if rows >= N:
        return _sample(logits_N_V, uniforms_N, sampling)
    drawn = [
        _sample(logits_N_V[n : n + rows], uniforms_N[n : n + rows], sampling)
        for n in range(0, N, rows)
    ]
    return torch.cat([tokens for tokens, _ in drawn]), torch.cat([logs for _, logs in drawn])


def _compiled(
    logits_N_V: Tensor, uniforms_N: Tensor, sampling: Sampling
) -> tuple[Tensor, Tensor] | None:
    """The same in compiled loops, on a CPU in float32.

    None elsewhere, and where logits are not finite.
    """
    if logits_N_V.device.type != "cpu" or logits_N_V.dtype != torch.float32:
        return None
    from oneshot_rlvr.kernels.drawing import draw, rules_of  # numba takes its time

    tokens_N = torch.empty(len(logits_N_V), dtype=torch.int64)
    logprobs_N = torch.empty(len(logits_N_V), dtype=torch.float64)
    logits = logits_N_V.detach().contiguous().numpy()
    rules = rules_of(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p)
    fine = draw(logits, uniforms_N.numpy(), rules, tokens_N.numpy(), logprobs_N.numpy())
    return (tokens_N, logprobs_N) if fine else None


def _sample(logits_N_V: Tensor, uniforms_N: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    logits_N_V = logits_N_V.to(torch.promote_types(logits_N_V.dtype, torch.float32))
    if sampling.temperature > 0:
        if sampling.temperature != 1:
            logits_N_V = logits_N_V / sampling.temperature
        if sampling.cuts:
            logits_N_V = truncate(
                logits_N_V, top_p=sampling.top_p, top_k=sampling.top_k, min_p=sampling.min_p
            )
    best_N_1 = logits_N_V.amax(-1, keepdim=True)
    # A cumulative sum, not a reduction: its order of additions is the same in every batch.
    cumulative_N_V = (logits_N_V - best_N_1).exp_().cumsum(-1, dtype=torch.float64)
    total_N = cumulative_N_V[:, -1]
    if sampling.temperature > 0:
        # Strictly below the total, so that the last token of non-zero weight catches the rest.
        target_N = torch.minimum(uniforms_N * total_N, torch.nextafter(total_N, total_N * 0))
        tokens_N_1 = torch.searchsorted(cumulative_N_V, target_N[:, None], right=True)
        # Beyond the end only where the logits are no distribution; the log-probability is then not
        # a number.
        tokens_N_1.clamp_(max=logits_N_V.shape[-1] - 1)
    else:
        tokens_N_1 = logits_N_V.argmax(-1, keepdim=True)
    chosen_N = (logits_N_V.gather(-1, tokens_N_1).double() - best_N_1)[:, 0]
    return tokens_N_1[:, 0], chosen_N - total_N.log()


def penalised(logits_N_V: Tensor, seen_N_V: Tensor, penalty: float) -> Tensor:
    """Logits of the tokens that were seen, divided by the penalty where positive, else multiplied
    (Keskar et al. 2019, arXiv 1909.05858, as transformers and vLLM have it)."""
    less_N_V = torch.where(logits_N_V > 0, logits_N_V / penalty, logits_N_V * penalty)
    return torch.where(seen_N_V, less_N_V, logits_N_V)


def seen_in(prompts_N: Sequence[Sequence[int]], vocabulary: int) -> Tensor:
    """Which tokens each prompt has (N, V), on the CPU."""
    seen_N_V = torch.zeros(len(prompts_N), vocabulary, dtype=torch.bool)
    for seen_V, prompt in zip(seen_N_V, prompts_N, strict=True):
        seen_V[list(prompt)] = True
    return seen_N_V
