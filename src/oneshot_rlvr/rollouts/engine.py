"""What every rollout engine promises, and what it is asked with. Torch-free.

An engine turns tokenized prompts into sampled answers. It keeps no state between calls but the
policy it samples from: the same call gives the same rollouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from oneshot_rlvr.rollouts.randomness import StreamKey
from oneshot_rlvr.rollouts.stopping import cut_at_stop, texts_of
from oneshot_rlvr.types import Prompt, Rollout

if TYPE_CHECKING:
    from oneshot_rlvr.policy.load import Policy


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw. Temperature 0 is greedy; the rest is off at its default.

    The logits of tokens in prompt or answer are first penalised by `repetition_penalty`, then
    divided by the temperature, then cut to the `top_k` best, to the nucleus of `top_p`, and to
    what has at least `min_p` of the best token's probability: transformers' order. An answer ends
    before the first of the `stop` texts.
    """

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.max_new_tokens < 1:
            raise ValueError(f"wanted temperature >= 0 and max_new_tokens >= 1, got {self}")
        if not 0 < self.top_p <= 1 or self.top_k < 0 or not 0 <= self.min_p <= 1:
            raise ValueError(f"wanted 0 < top_p <= 1, top_k >= 0 and 0 <= min_p <= 1, got {self}")
        if self.repetition_penalty <= 0 or not all(self.stop):
            raise ValueError(f"wanted repetition_penalty > 0 and no empty stop text, got {self}")

    @property
    def cuts(self) -> bool:
        """Whether tokens are cut off before one is drawn."""
        return self.temperature > 0 and bool(self.top_k or self.top_p < 1 or self.min_p)


@runtime_checkable
class Engine(Protocol):
    """A sampler of answers."""

    name: str

    def generate(
        self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling, key: StreamKey
    ) -> list[Rollout]:
        """`group_size` rollouts of every prompt, ordered by the prompts given, then by index.

        Rollout (row, index) draws its tokens from the uniforms addressed (key, row, index,
        position): the rows of one call must differ, or their rollouts are the same.
        """
        ...

    def sync(self, policy: Policy) -> None:
        """From now on sample from `policy`."""
        ...


def to_rollouts(
    prompts: Sequence[Prompt],
    group_size: int,
    tokens_N: Sequence[Sequence[int]],
    logprobs_N: Sequence[Sequence[float]],
    eos_ids: Sequence[int],
    tokenizer: Any,
    stop: Sequence[str] = (),
) -> list[Rollout]:
    """Rollouts from generated ids; sequence n answers prompt n // group_size.

    The text leaves out the end-of-text id and other special tokens. Where it has one of the `stop`
    texts, it ends before it and the tokens with what completes it; such an answer is finished.
    """
    if not tokens_N:
        return []  # tokenizers decode an empty batch to one empty text
    ends = frozenset(eos_ids)
    finished_N = [bool(tokens) and tokens[-1] in ends for tokens in tokens_N]
    texts_N = texts_of(
        tokenizer, [t[:-1] if done else t for t, done in zip(tokens_N, finished_N, strict=True)]
    )
    if stop:
        tokens_N, logprobs_N = list(tokens_N), list(logprobs_N)
        for n, text in enumerate(texts_N):
            kept = cut_at_stop(tokens_N[n], text, stop, tokenizer)
            if kept is not None:
                length, texts_N[n] = kept
                tokens_N[n], logprobs_N[n] = tokens_N[n][:length], logprobs_N[n][:length]
                finished_N[n] = True
    return [
        Rollout(
            row=prompts[n // group_size].row,
            index=n % group_size,
            example_id=prompts[n // group_size].example.id,
            prompt_tokens=prompts[n // group_size].tokens,
            tokens=tuple(tokens),
            logprobs=tuple(logprobs),
            text=text,
            finished=finished,
        )
        for n, (tokens, logprobs, text, finished) in enumerate(
            zip(tokens_N, logprobs_N, texts_N, finished_N, strict=True)
        )
    ]
