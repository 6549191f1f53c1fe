"""Where two models differ on the same texts, position by position: choices, ranks, divergence.

Both read the same tokens and are asked for the next one at the same positions. The logits of both
are there for a part of the positions at a time. Not here: which texts, and what the numbers come to
(`analysis.token_changes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneshot_rlvr.policy.decoder import unsupported
from oneshot_rlvr.policy.logprobs import Layout, Tokens, _right_padded, plain_head, states
from oneshot_rlvr.policy.wide import wide_linear

_LOGITS = 1 << 24
"""Logits of one model that are held at once: 64 MiB in float32."""


@dataclass(frozen=True, slots=True)
class Positions:
    """M positions, texts in order: arrays of M numbers.

    text, place: which text, and which of its tokens; token: what stands there. base_choice,
    trained_choice: each model's most likely token (the lower id of equals). rank: the place of
    trained_choice in the base's list, from 1; token_rank: that of `token`. kl: KL(trained || base)
    in nats at temperature 1.
    """

    text: NDArray[np.int64]
    place: NDArray[np.int64]
    token: NDArray[np.int64]
    base_choice: NDArray[np.int64]
    trained_choice: NDArray[np.int64]
    rank: NDArray[np.int64]
    token_rank: NDArray[np.int64]
    kl: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.text)

    @staticmethod
    def joined(parts: Sequence[Positions]) -> Positions:
        """All of them, in the order of texts and places."""
        columns = [np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Positions)]
        order = np.lexsort((columns[1], columns[0]))
        return Positions(*(column[order] for column in columns))


@dataclass(frozen=True, slots=True)
class Compared:
    """Of M positions, from both models' logits; see `Positions`."""

    base_choice_M: Tensor
    trained_choice_M: Tensor
    rank_M: Tensor
    token_rank_M: Tensor
    kl_M: Tensor


def compare_logits(base_M_V: Tensor, trained_M_V: Tensor, token_M: Tensor) -> Compared:
    """Choices, ranks and divergences from logits (M, V); log-probabilities in float64."""
    base_choice_M, trained_choice_M = (logits.argmax(-1) for logits in (base_M_V, trained_M_V))
    base_logs_M_V = base_M_V.double().log_softmax(-1)
    logs_M_V = trained_M_V.double().log_softmax(-1)
    ratio_M_V = torch.where(logs_M_V > -torch.inf, logs_M_V - base_logs_M_V, 0.0)
    return Compared(
        base_choice_M,
        trained_choice_M,
        ranks(base_M_V, trained_choice_M),
        ranks(base_M_V, token_M),
        (logs_M_V.exp() * ratio_M_V).sum(-1).clamp(min=0.0),
    )


def ranks(logits_M_V: Tensor, token_M: Tensor) -> Tensor:
    """The place (M) of each token in its list, from 1: tokens with larger logits come before it,
    and of equal ones those with lower ids."""
    own_M_1 = logits_M_V.gather(1, token_M[:, None])
    ids_V = torch.arange(logits_M_V.shape[1], device=logits_M_V.device)
    before_M_V = (logits_M_V > own_M_1) | ((logits_M_V == own_M_1) & (ids_V < token_M[:, None]))
    return before_M_V.sum(-1) + 1


@torch.no_grad()
def differences(
    base: nn.Module,
    trained: nn.Module,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    *,
    pad_id: int,
) -> Positions:
    """The positions of `responses[n]` after `prompts[n]`, under both models.

    The models have one vocabulary and lie on one device.
    """
    layout = Layout.of(prompts, responses, next(base.parameters()).device)
    readers = [_logits(model, prompts, responses, layout, pad_id) for model in (base, trained)]
    found = []
    vocabulary = int(base.get_output_embeddings().weight.shape[0])  # type: ignore[operator]
    for part in _parts(len(layout.row_M), max(1, _LOGITS // vocabulary)):
        token_M = layout.tokens_M[part]
        compared = compare_logits(readers[0](part), readers[1](part), token_M)
        found.append(
            Positions(
                text=_numpy(layout.row_M[part]),
                place=_numpy(layout.position_M[part]),
                token=_numpy(token_M),
                base_choice=_numpy(compared.base_choice_M),
                trained_choice=_numpy(compared.trained_choice_M),
                rank=_numpy(compared.rank_M),
                token_rank=_numpy(compared.token_rank_M),
                kl=_numpy(compared.kl_M),
            )
        )
    return Positions.joined(found)


def _logits(
    model: nn.Module,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    layout: Layout,
    pad_id: int,
) -> Callable[[slice], Tensor]:
    """A reader of some positions' logits, in float32 or wider."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    if type(head) is nn.Linear and (unsupported(model) is None or plain_head(model)):
        states_M_D = states(model, prompts, responses, layout, pad_id)
        return lambda part: wide_linear(states_M_D[part], head.weight, head.bias)
    tokens_N_S, column_M = _right_padded(prompts, responses, layout, pad_id)
    logits_N_S_V = model(input_ids=tokens_N_S, use_cache=False).logits
    return lambda part: logits_N_S_V[layout.row_M[part], column_M[part]].float()


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


def _numpy(tensor: Tensor) -> NDArray:
    return tensor.cpu().numpy()
