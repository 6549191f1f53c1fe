"""An engine whose logits are written down, not computed: for tests and for trying the loop.

Sampling, randomness, stopping and compaction are the real ones (`loop.py`); only the model is
replaced by `script(prompt tokens, generated tokens) -> V logits`. `AnsweringEngine` does not sample
at all: it says given texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from oneshot_rlvr.policy.load import Policy
from oneshot_rlvr.rollouts.engine import Sampling, to_rollouts
from oneshot_rlvr.rollouts.loop import Batch, even_parts, generate
from oneshot_rlvr.rollouts.randomness import StreamKey
from oneshot_rlvr.types import Prompt, Rollout

Script = Callable[[tuple[int, ...], tuple[int, ...]], Sequence[float]]


class ScriptedEngine:
    """Samples from `script`; without one, uniformly over the policy's vocabulary."""

    name = "scripted"

    def __init__(self, policy: Policy, script: Script | None = None, max_rows: int = 256):
        self.policy = policy
        self.max_rows = max_rows
        flat = [0.0] * policy.vocabulary_size
        self.script: Script = script or (lambda _prompt, _generated: flat)

    def sync(self, policy: Policy) -> None:
        """Scripts do not learn: only tokenizer and end-of-text ids are taken over."""
        self.policy = policy

    def generate(
        self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling, key: StreamKey
    ) -> list[Rollout]:
        """See `Engine.generate`."""

        def batches(pairs: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
            return even_parts(pairs, self.max_rows)

        tokens_N, logprobs_N = generate(
            prompts, group_size, sampling, key,
            eos_ids=self.policy.eos_ids, device=torch.device("cpu"), batches=batches,
            state_of=lambda batch: _ScriptedState(self.script, batch),
            tokenizer=self.policy.tokenizer,
        )  # fmt: skip
        return to_rollouts(
            prompts, group_size, tokens_N, logprobs_N, self.policy.eos_ids, self.policy.tokenizer,
            sampling.stop,
        )  # fmt: skip


class _ScriptedState:
    def __init__(self, script: Script, batch: Batch):
        self._script = script
        self._texts_n: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
            (prompt.tokens, ()) for prompt in batch.prompts_N
        ]

    def start(self) -> Tensor:
        rows = [list(self._script(prompt, generated)) for prompt, generated in self._texts_n]
        return torch.tensor(rows, dtype=torch.float64)

    def advance(self, tokens_n: Tensor) -> Tensor:
        self._texts_n = [
            (prompt, (*generated, token))
            for (prompt, generated), token in zip(self._texts_n, tokens_n.tolist(), strict=True)
        ]
        return self.start()

    def keep(self, slots_m: Tensor) -> None:
        self._texts_n = [self._texts_n[slot] for slot in slots_m.tolist()]


class AnsweringEngine:
    """Says what it is told: rollout i of an example is answer i mod n of its list, by example id.

    Answers are texts; each is tokenized and ended with the first end-of-text id (cut, without
    end, at `max_new_tokens`). Log-probabilities are 0: nothing was drawn.
    """

    name = "answering"

    def __init__(self, policy: Policy, answers: Mapping[str, Sequence[str]]):
        self.policy = policy
        self.answers = answers

    def sync(self, policy: Policy) -> None:
        """Only tokenizer and end-of-text ids are taken over."""
        self.policy = policy

    def generate(
        self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling, key: StreamKey
    ) -> list[Rollout]:
        """See `Engine.generate`; `key` is not used."""
        tokens_N: list[list[int]] = []
        for prompt in prompts:
            texts = self.answers[prompt.example.id]
            for index in range(group_size):
                ids = self.policy.tokenizer.encode(
                    texts[index % len(texts)], add_special_tokens=False
                )
                tokens_N.append([*ids, self.policy.eos_ids[0]][: sampling.max_new_tokens])
        logprobs_N = [[0.0] * len(tokens) for tokens in tokens_N]
        return to_rollouts(
            prompts, group_size, tokens_N, logprobs_N, self.policy.eos_ids, self.policy.tokenizer,
            sampling.stop,
        )  # fmt: skip
