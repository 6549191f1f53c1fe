"""The plain engine: any Hugging Face causal LM through its own forward pass and cache.

Every distinct prompt is processed once, then its cache is copied to its rollouts. Prompts are left
padded, and only where those decoded together differ in length. A model without a key-value cache
is run over the whole text for every token: slow, and right.

Not here: speed (`shared_prefix.py`).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from oneshot_rlvr.policy.load import Policy
from oneshot_rlvr.rollouts.capacity import rows_that_fit
from oneshot_rlvr.rollouts.engine import Sampling, to_rollouts
from oneshot_rlvr.rollouts.loop import Batch, even_parts, generate
from oneshot_rlvr.rollouts.randomness import StreamKey
from oneshot_rlvr.types import Prompt, Rollout

log = logging.getLogger(__name__)


class HFEngine:
    """`max_rows`: sequences decoded together at most."""

    name = "hf"

    def __init__(self, policy: Policy, max_rows: int = 256):
        self.policy = policy
        self.max_rows = max_rows

    def sync(self, policy: Policy) -> None:
        """From now on sample from `policy`; its parameters are read at every call anyway."""
        self.policy = policy

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling, key: StreamKey
    ) -> list[Rollout]:
        """See `Engine.generate`."""
        policy = self.policy

        def batches(pairs: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
            # By prompt length, so that little or nothing is padded.
            pairs = sorted(pairs, key=lambda pair: len(prompts[pair[0]].tokens))
            longest = max((len(p.tokens) for p in prompts), default=0)
            rows = rows_that_fit(policy, longest + sampling.max_new_tokens, self.max_rows)
            return even_parts(pairs, rows)

        tokens_N, logprobs_N = generate(
            prompts, group_size, sampling, key,
            eos_ids=policy.eos_ids, device=policy.device, batches=batches,
            state_of=lambda batch: _HFState(policy, batch, sampling.max_new_tokens),
            tokenizer=policy.tokenizer,
        )  # fmt: skip
        return to_rollouts(
            prompts, group_size, tokens_N, logprobs_N, policy.eos_ids, policy.tokenizer,
            sampling.stop,
        )  # fmt: skip


class _HFState:
    """A batch in mid-generation: the model's cache, or without one the text so far."""

    def __init__(self, policy: Policy, batch: Batch, max_new_tokens: int):
        self._model = policy.model
        prompts_B, which_N = batch.distinct()
        lengths_B = torch.tensor([len(p) for p in prompts_B])
        longest = int(lengths_B.max())
        tokens_B_P = torch.full((len(prompts_B), longest), policy.pad_id)
        for b, prompt in enumerate(prompts_B):
            tokens_B_P[b, longest - len(prompt) :] = torch.tensor(prompt)
        self._tokens_B_P = tokens_B_P.to(policy.device)
        self._which_n = which_N.to(policy.device)
        self._length_n = lengths_B.to(policy.device)[self._which_n]
        self._mask_B_S: Tensor | None = None  # None: nothing is padded
        if int(lengths_B.min()) < longest:
            columns_S = torch.arange(longest + max_new_tokens)
            mask_B_S = columns_S[None] >= longest - lengths_B[:, None]
            self._mask_B_S = mask_B_S.long().to(policy.device)
        accepted = inspect.signature(policy.model.forward).parameters
        self._takes_positions = "position_ids" in accepted
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self._cache: Any = None
        self._text_n_S: Tensor | None = None  # for models without a cache
        self._seen = longest

    def start(self) -> Tensor:
        mask_B_S = self._mask_B_S
        output = self._forward(self._tokens_B_P, use_cache=True)
        logits_B_V: Tensor = output.logits[:, -1]
        self._cache = getattr(output, "past_key_values", None)
        if hasattr(self._cache, "batch_select_indices"):
            self._cache.batch_select_indices(self._which_n)
        else:
            log.warning(
                "%s has no key-value cache that this engine can use: every token is computed from "
                "the whole text", type(self._model).__name__,
            )  # fmt: skip
            self._cache = None
            self._text_n_S = self._tokens_B_P[self._which_n]
        self._mask_B_S = mask_B_S[self._which_n] if mask_B_S is not None else None
        return logits_B_V[self._which_n]

    def advance(self, tokens_n: Tensor) -> Tensor:
        self._seen += 1
        self._length_n = self._length_n + 1
        tokens_n_1 = tokens_n[:, None]
        if self._text_n_S is None:
            output = self._forward(tokens_n_1, past_key_values=self._cache, use_cache=True)
        else:
            self._text_n_S = torch.cat([self._text_n_S, tokens_n_1], 1)
            output = self._forward(self._text_n_S, use_cache=False)
        logits_n_V: Tensor = output.logits[:, -1]
        return logits_n_V

    def keep(self, slots_m: Tensor) -> None:
        if self._text_n_S is None:
            self._cache.batch_select_indices(slots_m)
        else:
            self._text_n_S = self._text_n_S[slots_m]
        self._length_n = self._length_n[slots_m]
        if self._mask_B_S is not None:
            self._mask_B_S = self._mask_B_S[slots_m]

    def _forward(self, tokens_n_S: Tensor, **options: Any) -> Any:
        if self._mask_B_S is not None:
            mask_n_S = self._mask_B_S[:, : self._seen]
            options["attention_mask"] = mask_n_S
            if self._takes_positions:
                positions_n_S = (mask_n_S.cumsum(1) - 1).clamp(min=0)
                options["position_ids"] = positions_n_S[:, -tokens_n_S.shape[1] :]
        return self._model(tokens_n_S, **options, **self._last_only)
