"""Log-probabilities and entropies of given responses under a policy, at a temperature.

The output head is applied to response positions only, in parts (`head.py`). Differentiable.

Not here: sampling, and the sharing of prompts between rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from oneshot_rlvr.policy.decoder import Decoder, unsupported
from oneshot_rlvr.policy.head import WHOLE, token_scores
from oneshot_rlvr.policy.recompute import recomputing_layers
from oneshot_rlvr.policy.shared_forward import response_states
from oneshot_rlvr.policy.truncation import Cut, truncate_around

Tokens = Sequence[int]
_CERTAINTY_PART = 1 << 22  # logits held at once


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Per response token, in nats; entries on padding are 0.

    `entropy_N_T` is the exact entropy of the next-token distribution at each position; it is
    without gradient when it was asked for so. `generated_mask_N_T` is bool. `values_N_T` are those
    of a value head on the same states, None without one.
    """

    logprobs_N_T: Tensor
    entropy_N_T: Tensor
    generated_mask_N_T: Tensor
    values_N_T: Tensor | None = None


def sequence_logprobs(
    model: nn.Module,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    temperature: float,
    *,
    pad_id: int,
    with_entropy: bool = True,
    value_head: nn.Module | None = None,
    cut: Cut = WHOLE,
) -> TokenScores:
    """Scores of `responses[n]` after `prompts[n]` (each at least one token).

    Sequences are padded on the right, where causal attention makes padding harmless. With
    `with_entropy` False the entropy carries no gradient. `value_head` maps states (M, width) to
    values (M). `cut`: scores are those of what it leaves of each distribution.
    """
    layout = Layout.of(prompts, responses, next(model.parameters()).device)
    # An adapter of the head is no part of its weight; such a model gives its logits itself.
    plain = type(model.get_output_embeddings()) is nn.Linear  # type: ignore[operator]
    if plain and (unsupported(model) is None or plain_head(model)):
        states_M_D = states(model, prompts, responses, layout, pad_id)
        return score(
            model,
            states_M_D,
            layout,
            temperature,
            with_entropy=with_entropy,
            value_head=value_head,
            cut=cut,
        )
    tokens_N_S, column_M = _right_padded(prompts, responses, layout, pad_id)
    with recomputing_layers(model):
        outputs = model(
            input_ids=tokens_N_S, use_cache=False, output_hidden_states=value_head is not None
        )
    logits_M_V = outputs.logits[layout.row_M, column_M].float()
    logits_M_V = logits_M_V / temperature
    if cut:
        kept_M_V = truncate_around(logits_M_V.detach(), layout.tokens_M, cut).isfinite()
        logits_M_V = logits_M_V.masked_fill(~kept_M_V, torch.finfo(logits_M_V.dtype).min)
    logs_M_V = logits_M_V.log_softmax(-1)
    logprobs_M = logs_M_V.gather(1, layout.tokens_M[:, None])[:, 0]
    entropy_M = -(logs_M_V.exp() * logs_M_V.clamp(min=torch.finfo(logs_M_V.dtype).min)).sum(-1)
    values_M = None
    if value_head is not None:
        values_M = value_head(outputs.hidden_states[-1][layout.row_M, column_M])
    return spread(logprobs_M, entropy_M if with_entropy else entropy_M.detach(), layout, values_M)


def certainty(
    model: nn.Module,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    temperature: float,
    *,
    pad_id: int,
) -> Tensor:
    """KL(uniform || next-token distribution) before each response token, (N, T) in nats, 0 on
    padding: logsumexp(z) - mean(z) - log V of the logits z at the temperature. In float32 or wider.
    """
    layout = Layout.of(prompts, responses, next(model.parameters()).device)
    plain = type(model.get_output_embeddings()) is nn.Linear  # type: ignore[operator]
    logits: Iterable[Tensor]
    if plain and (unsupported(model) is None or plain_head(model)):
        head: Any = model.get_output_embeddings()  # type: ignore[operator]
        states_M_D = states(model, prompts, responses, layout, pad_id)
        kept = max(1, _CERTAINTY_PART // head.weight.shape[0])
        logits = (head(part_D).float() for part_D in states_M_D.split(kept))
    else:
        tokens_N_S, column_M = _right_padded(prompts, responses, layout, pad_id)
        whole_N_S_V = model(input_ids=tokens_N_S, use_cache=False).logits
        logits = [whole_N_S_V[layout.row_M, column_M].float()]
    parts = []
    for logits_M_V in logits:
        warm_M_V = logits_M_V / temperature
        guess = math.log(warm_M_V.shape[-1])
        parts.append(warm_M_V.logsumexp(-1) - warm_M_V.mean(-1) - guess)
    return layout.spread(torch.cat(parts))


def states(
    model: nn.Module,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    layout: Layout,
    pad_id: int,
) -> Tensor:
    """The body's last states (M, width) at the positions that predict the M response tokens."""
    if unsupported(model) is None:
        return response_states(Decoder(model), prompts, responses, pad_id)
    tokens_N_S, column_M = _right_padded(prompts, responses, layout, pad_id)
    with recomputing_layers(model):
        states_N_S_D = _body(model)(input_ids=tokens_N_S, use_cache=False).last_hidden_state
    return states_N_S_D[layout.row_M, column_M]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the M response tokens of N rows stand in (N, T)."""

    tokens_M: Tensor
    row_M: Tensor
    position_M: Tensor
    shape: tuple[int, int]

    @staticmethod
    def of(prompts: Sequence[Tokens], responses: Sequence[Tokens], device: torch.device) -> Layout:
        if not prompts or len(prompts) != len(responses):
            raise ValueError(
                f"{len(prompts)} prompts and {len(responses)} responses do not pair up"
            )
        if not all(map(len, prompts)):
            raise ValueError(
                "an empty prompt has no position that predicts the first response token"
            )
        lengths = torch.tensor([len(r) for r in responses])
        row_M = torch.repeat_interleave(torch.arange(len(responses)), lengths)
        first_M = (lengths.cumsum(0) - lengths)[row_M]
        position_M = torch.arange(len(row_M)) - first_M
        flat = [token for response in responses for token in response]
        return Layout(
            torch.tensor(flat, dtype=torch.int64).to(device),
            row_M.to(device),
            position_M.to(device),
            (len(responses), max(1, int(lengths.max()))),
        )

    def spread(self, values_M: Tensor) -> Tensor:
        """One number per response token laid out as (N, T), 0 on padding."""
        return values_M.new_zeros(self.shape).index_put((self.row_M, self.position_M), values_M)


def score(
    model: nn.Module,
    hidden_M_D: Tensor,
    layout: Layout,
    temperature: float,
    *,
    with_entropy: bool,
    value_head: nn.Module | None = None,
    cut: Cut = WHOLE,
) -> TokenScores:
    """Scores from the (M, D) states that the output head reads, one for each response token."""
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    logprobs_M, entropy_M = token_scores(
        hidden_M_D, head.weight, head.bias, layout.tokens_M, temperature, cut
    )
    values_M = None if value_head is None else value_head(hidden_M_D)
    return spread(logprobs_M, entropy_M if with_entropy else entropy_M.detach(), layout, values_M)


def spread(
    logprobs_M: Tensor, entropy_M: Tensor, layout: Layout, values_M: Tensor | None = None
) -> TokenScores:
    """The M response tokens laid out as (N, T), 0 on padding."""
    mask_N_T = torch.zeros(layout.shape, dtype=torch.bool, device=logprobs_M.device)
    mask_N_T[layout.row_M, layout.position_M] = True
    return TokenScores(
        layout.spread(logprobs_M),
        layout.spread(entropy_M),
        mask_N_T,
        None if values_M is None else layout.spread(values_M),
    )


_PLAIN_HEAD: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def plain_head(model: nn.Module) -> bool:
    """Whether the logits are the output embedding times the body's last state, and nothing more.

    Found by trying it on four tokens, once per model: some architectures scale or cap the logits,
    and adapters wrap the body.
    """
    if model not in _PLAIN_HEAD:
        _PLAIN_HEAD[model] = _try_plain_head(model)
    return _PLAIN_HEAD[model]


@torch.no_grad()
def _try_plain_head(model: Any) -> bool:
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or _body(model) is model:
        return False
    tokens = torch.arange(min(4, head.weight.shape[0]), device=head.weight.device)[None]
    states = getattr(_body(model)(input_ids=tokens, use_cache=False), "last_hidden_state", None)
    if states is None:
        return False
    logits = model(input_ids=tokens, use_cache=False).logits
    return logits.shape[-1] == head.weight.shape[0] and torch.allclose(
        head(states).float(), logits.float(), rtol=1e-3, atol=1e-4
    )


def _body(model: Any) -> Any:
    return model.base_model


def _right_padded(
    prompts: Sequence[Tokens], responses: Sequence[Tokens], layout: Layout, pad_id: int
) -> tuple[Tensor, Tensor]:
    """Input ids (N, S) and, for each response token, the column (M) that predicts it."""
    texts = [[*p, *r][:-1] for p, r in zip(prompts, responses, strict=True)]
    tokens_N_S = torch.full((len(texts), max(map(len, texts))), pad_id)
    for n, text in enumerate(texts):
        tokens_N_S[n, : len(text)] = torch.tensor(text)
    first_N = torch.tensor([len(p) - 1 for p in prompts], device=layout.row_M.device)
    return tokens_N_S.to(layout.row_M.device), first_N[layout.row_M] + layout.position_M
