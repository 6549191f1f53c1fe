"""The training forward pass with every distinct prompt computed once for all rows that share it.

N rows of one prompt cost P + N * R tokens instead of N * (P + R). First the prompts run, then the
responses in pieces of some thousand tokens, each reading its prompt's keys and values; on a CPU
pieces are dealt to lanes (`lanes.py`). Gradients equal those of the padded computation to rounding.

The pieces are one operation to autograd (`_Pieces`): each keeps a graph of its own, and backward
runs them in the same lanes and adds their gradients in a fixed order.

Not here: the output head (`head.py`), and architectures that `decoder.unsupported` names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from oneshot_rlvr.policy import blocks, compiled_blocks
from oneshot_rlvr.policy.decoder import Decoder, Rotation, norms_heads
from oneshot_rlvr.policy.lanes import in_lanes, lane_count, share_out
from oneshot_rlvr.policy.recompute import recomputes, through

Tokens = Sequence[int]

# Tokens of a piece: enough that packed weights and sums of gradients, which every piece has, cost
# little, few enough that lanes come out even.
_PIECE_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some rows of one prompt, and how many tokens of each are read, padding included.

    A response's last token is predicted only.
    """

    prompt: int
    rows: list[int]
    reads: list[int]

    @property
    def starts(self) -> list[int]:
        """Where rows begin, and the end."""
        return [0, *accumulate(self.reads)]


def response_states(
    decoder: Decoder, prompts: Sequence[Tokens], responses: Sequence[Tokens], pad_id: int
) -> Tensor:
    """What the output head reads at the positions that predict the responses' M tokens, (M, width).

    Row after row, each in the order of its tokens. Differentiable. Under autocast the layers' loops
    make products of bfloat16 numbers where the CPU can; norms and attention stay as they are then.
    """
    if blocks.narrows(decoder.layers, decoder.body.embed_tokens.weight):
        with torch.autocast("cpu", enabled=False):
            return response_states(Decoder(decoder.model, narrow=True), prompts, responses, pad_id)
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for n, prompt in enumerate(prompts):
        groups[tuple(prompt)].append(n)
    distinct = list(groups)
    lanes, padded = lane_count(decoder.device), not _compiles(decoder)
    pieces = [
        piece
        for number, members in enumerate(groups.values())
        for piece in _pieces(number, members, responses, lanes, padded)
    ]
    prefixes = _run(
        decoder,
        [len(prompt) for prompt in distinct],
        lambda b, _: _prompt_pass(decoder, distinct[b]),
        [[] for _ in distinct],
    )
    states = _run(
        decoder,
        [piece.starts[-1] for piece in pieces],
        lambda i, given: _response_pass(decoder, pieces[i], responses, given, pad_id),
        [prefixes[piece.prompt][1:] for piece in pieces],
    )
    outputs = [prefix[0] for prefix in prefixes] + [out for (out,) in states]
    before = len(distinct)  # rows of the outputs so far: each prompt's last position comes first
    wanted_N = [torch.empty(0)] * len(prompts)
    for piece in pieces:
        for start, n in zip(piece.starts, piece.rows, strict=False):
            # The first token is predicted at the prompt's last position, token t at token t - 1.
            rows = torch.arange(len(responses[n])) + before + start - 1
            rows[0] = piece.prompt
            wanted_N[n] = rows
        before += piece.starts[-1]
    wanted_M = torch.cat(wanted_N).to(decoder.device)
    return decoder.final_norm(torch.cat(outputs).index_select(0, wanted_M))


def _compiles(decoder: Decoder) -> bool:
    """Whether all layers are compiled loops, which take rows of different lengths as they are."""
    like = decoder.body.embed_tokens.weight
    return all(blocks.compiles(layer, like) for layer in decoder.layers)


def _pieces(
    prompt: int, members: Sequence[int], responses: Sequence[Tokens], lanes: int, padded: bool
) -> list[_Piece]:
    """The rows of a prompt in pieces, rows of like length together, those of a piece padded."""
    order = sorted(members, key=lambda n: -len(responses[n]))
    total = sum(len(responses[n]) for n in members)
    # In lanes at least a piece for each, and lanes even.
    budget = total if padded and lanes == 1 else min(_PIECE_TOKENS, -(-total // lanes))
    pieces: list[_Piece] = []
    for n in order:
        last, read = pieces[-1] if pieces else None, len(responses[n]) - 1
        wanted = last.reads[0] if last is not None and padded else read
        if last is not None and sum(last.reads) + wanted <= budget:
            last.rows.append(n)
            last.reads.append(wanted)
        else:
            pieces.append(_Piece(prompt, [n], [read]))
    return pieces


def _prompt_pass(decoder: Decoder, prompt: tuple[int, ...]) -> list[Tensor]:
    """The prompt's last state (1, width), then keys and values (P, kv, size) of every layer."""
    x = decoder.embed(torch.tensor(prompt, device=decoder.device))
    rotation = decoder.rotation(torch.arange(len(prompt), device=decoder.device))
    kept = []
    recompute = recomputes(decoder.model)

    def run(layer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = _attention_inputs(decoder, layer, x, rotation)
        query, key, value = (y.transpose(0, 1)[None] for y in (q, k, v))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        return _after_attention(decoder, layer, x, mixed[0].transpose(0, 1).flatten(1)), k, v

    for layer in decoder.layers:
        x, k, v = through(partial(run, layer), recompute, x)
        kept += [k, v]
    return [x[-1:], *kept]


def _response_pass(
    decoder: Decoder,
    piece: _Piece,
    responses: Sequence[Tokens],
    prefix: Sequence[Tensor],
    pad_id: int,
) -> list[Tensor]:
    """Last layer's output (tokens read, width)."""
    N, R, P = len(piece.rows), piece.reads[0], len(prefix[0])
    starts = piece.starts
    tokens = torch.full((starts[-1],), pad_id)
    for start, read, n in zip(starts, piece.reads, piece.rows, strict=False):
        own = torch.tensor(responses[n][:read])
        tokens[start : start + len(own)] = own
    x = decoder.embed(tokens.to(decoder.device))
    if not R:
        return [x]
    recompute = recomputes(decoder.model)
    positions = torch.arange(P, P + R, device=decoder.device)
    run = (
        _compiled_layer(decoder, starts, positions)
        if _compiles(decoder)
        else _padded_layer(decoder, N, positions)
    )
    for number, layer in enumerate(decoder.layers):
        x = through(partial(run, layer), recompute, x, *prefix[2 * number : 2 * number + 2])
    return [x]


Layer = Callable[[Any, Tensor, Tensor, Tensor], Tensor]


def _compiled_layer(decoder: Decoder, starts: list[int], positions: Tensor) -> Layer:
    """A layer for rows of any lengths that begin at `starts`; `positions` are the longest's."""
    begins, angles = np.array(starts), decoder.angles(positions)

    def run(layer: Any, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        qkv = _side_by_side(decoder, layer, x)
        mixed = compiled_blocks.attend(qkv, begins, angles, keys, values)
        return blocks.outputs(layer, x, mixed, decoder.narrow)

    return run


def _padded_layer(decoder: Decoder, N: int, positions: Tensor) -> Layer:
    """A layer for N rows of one length."""
    R, P = len(positions), int(positions[0])
    rotation = decoder.rotation(positions.repeat(N))
    # Position i of a response sees the whole prompt and its own past up to i.
    visible = torch.ones(R, P + R, dtype=torch.bool, device=decoder.device).tril(P)

    def run(layer: Any, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q, k, v = _attention_inputs(decoder, layer, x, rotation)
        mixed = _attend(q, k, v, keys, values, visible, N)
        return _after_attention(decoder, layer, x, mixed)

    return run


def _attention_inputs(
    decoder: Decoder, layer: Any, x: Tensor, rotation: Rotation
) -> tuple[Tensor, Tensor, Tensor]:
    if not blocks.plain(layer, x):
        return decoder.attention_inputs(layer, x, rotation)
    return decoder.rotated(layer, *blocks.inputs(layer, x, decoder.narrow), rotation)


def _side_by_side(decoder: Decoder, layer: Any, x: Tensor) -> Tensor:
    """Queries, keys and values of a layer that compiles, one matrix, not rotated."""
    if not norms_heads(layer):
        return blocks.side_by_side(layer, x, decoder.narrow)
    by_heads = decoder.by_heads(layer, *blocks.inputs(layer, x, decoder.narrow))
    return torch.cat([y.flatten(1) for y in by_heads], 1)


def _after_attention(decoder: Decoder, layer: Any, x: Tensor, mixed: Tensor) -> Tensor:
    if not blocks.plain(layer, x):
        return decoder.after_attention(layer, x, mixed)
    return blocks.outputs(layer, x, mixed, decoder.narrow)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, visible: Tensor, N: int
) -> Tensor:
    """The responses' attention to prompt and own past: (N * read, heads * size)."""

    def with_prompt(own: Tensor, prompt: Tensor) -> Tensor:
        own = own.view(N, -1, *own.shape[1:])
        return torch.cat([prompt.expand(N, -1, -1, -1), own], 1).transpose(1, 2)

    query = q.view(N, -1, *q.shape[1:]).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(
        query, with_prompt(k, keys), with_prompt(v, values), attn_mask=visible, enable_gqa=True
    )
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


Work = Callable[[int, Sequence[Tensor]], list[Tensor]]


def _run(
    decoder: Decoder, sizes: Sequence[int], work: Work, given: Sequence[Sequence[Tensor]]
) -> list[list[Tensor]]:
    """`work(i, given[i])` for every size, in lanes where there are several; differentiable in
    `given` and in the model's parameters."""
    dealt = share_out(sizes, lane_count(decoder.device))
    if len(dealt) == 1:
        return [work(i, given[i]) for i in range(len(sizes))]
    if not torch.is_grad_enabled():
        return _in_order(dealt, lambda i: work(i, given[i]))
    parameters = [p for p in decoder.model.parameters() if p.requires_grad]
    distinct = {id(t): t for tensors in given for t in tensors}
    places = {key: place for place, key in enumerate(distinct)}
    which = [[places[id(t)] for t in tensors] for tensors in given]
    flat = _Pieces.apply(work, dealt, which, parameters, *distinct.values(), *parameters)
    counts = [1 + 2 * len(decoder.layers) if not tensors else 1 for tensors in given]
    results, at = [], 0
    for count in counts:
        results.append(list(flat[at : at + count]))
        at += count
    return results


def _in_order(
    dealt: Sequence[Sequence[int]], work: Callable[[int], list[Tensor]]
) -> list[list[Tensor]]:
    """`work` of every number, in lanes; results by number."""
    done = in_lanes(lambda numbers: [work(i) for i in numbers], dealt)
    by_number = {
        i: result
        for numbers, results in zip(dealt, done, strict=True)
        for i, result in zip(numbers, results, strict=True)
    }
    return [by_number[i] for i in range(len(by_number))]


class _Pieces(torch.autograd.Function):
    """Several passes with graphs of their own, forward and backward in lanes."""

    @staticmethod
    def forward(
        ctx: Any,
        work: Work,
        dealt: list[list[int]],
        which: list[list[int]],
        parameters: list[Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        given = tensors[: len(tensors) - len(parameters)]
        leaves = [[given[g].detach().requires_grad_() for g in places] for places in which]

        def run(i: int) -> list[Tensor]:
            with torch.enable_grad():
                return work(i, leaves[i])

        ctx.outputs = _in_order(dealt, run)
        ctx.dealt, ctx.which, ctx.leaves = dealt, which, leaves
        ctx.parameters, ctx.given = parameters, len(given)
        return tuple(output.detach() for outputs in ctx.outputs for output in outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        firsts, at = [], 0
        for outputs in ctx.outputs:
            firsts.append(at)
            at += len(outputs)

        def lane(numbers: list[int]) -> tuple[list[Tensor | None], list[list[Tensor | None]]]:
            """Gradients of the parameters, summed, and of each pass's own inputs."""
            total: list[Tensor | None] = [None] * len(ctx.parameters)
            own: list[list[Tensor | None]] = []
            for i in numbers:
                outputs, ctx.outputs[i] = ctx.outputs[i], []
                given_grads = grads[firsts[i] : firsts[i] + len(outputs)]
                # A response of one token reads nothing: with frozen embeddings it has no graph.
                pairs = [(o, g) for o, g in zip(outputs, given_grads, strict=True) if o.grad_fn]
                wanted = [*ctx.leaves[i], *ctx.parameters]
                found: Sequence[Tensor | None] = [None] * len(wanted)
                if pairs:
                    found = torch.autograd.grad(
                        [o for o, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True
                    )
                own.append(list(found[: len(ctx.leaves[i])]))
                total = [_sum(t, f) for t, f in zip(total, found[len(own[-1]) :], strict=True)]
            return total, own

        given: list[Tensor | None] = [None] * ctx.given
        total: list[Tensor | None] = [None] * len(ctx.parameters)
        for numbers, (sums, own) in zip(ctx.dealt, in_lanes(lane, ctx.dealt), strict=True):
            total = [_sum(t, s) for t, s in zip(total, sums, strict=True)]
            for i, found in zip(numbers, own, strict=True):
                for place, grad in zip(ctx.which[i], found, strict=True):
                    given[place] = _sum(given[place], grad)
        return None, None, None, None, *given, *total


def _sum(total: Tensor | None, more: Tensor | None) -> Tensor | None:
    if total is None or more is None:
        return total if more is None else more
    return total + more
