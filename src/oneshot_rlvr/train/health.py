"""Signs that a run goes wrong while its numbers are still finite; each is told once.

Pure: metrics in, sentences out, and nothing of the run depends on them. The limits are set so that
one-example runs that go well stay silent: in the embedded recipe entropy falls to 7 % of its
beginning and length stays within a third of it while accuracy rises from 0.4 to 0.97.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import fmean

WINDOW = 5
"""Steps whose mean is compared with the mean of the run's first as many."""

COLLAPSED_ENTROPY = 0.02
STUCK_ENTROPY, STUCK_ACCURACY = 0.1, 0.5
COLLAPSED_LENGTH = 0.25
TRUNCATED, MORE_TRUNCATED = 0.5, 0.25
FRUITLESS_STEPS = 10
FAR_GAP, FAR_KL, FEW_EFFECTIVE, MANY_MASKED = 0.1, 0.02, 0.7, 0.1
"""Of sampler and trainer, over a window: bfloat16 rounding gives gaps of some 0.01 nats, a KL below
0.001 and an effective share above 0.99."""

_ENTROPY, _LENGTH, _ACCURACY = "train/entropy_nats", "train/tokens_mean", "train/accuracy"
_TRUNCATED, _SKIPPED = "train/truncated_share", "train/skipped_updates"

# metric -> (limit, words, whether low values are the bad ones)
_SAMPLER: dict[str, tuple[float, str, bool]] = {
    "train/sampler_gap": (FAR_GAP, "their log-probabilities are {:.2g} nats apart", False),
    "train/sampler_kl": (FAR_KL, "KL(sampler || trainer) is {:.2g} nats a token", False),
    "train/sampler_effective_share": (
        FEW_EFFECTIVE,
        "the step's tokens are worth {:.0%} of their number",
        True,
    ),
    "train/sampler_masked_share": (MANY_MASKED, "{:.0%} of the tokens are masked", False),
}


class Health:
    """Takes every step's metrics in order and answers with what is new to say."""

    def __init__(self) -> None:
        self._first: dict[str, list[float]] = {}
        self._latest: dict[str, deque[float]] = {}
        self._fruitless = 0
        self._told: set[str] = set()

    def observe(self, step: int, metrics: Mapping[str, float | None]) -> list[str]:
        """Warnings that hold after this step and have not been given before."""
        for key in (_ENTROPY, _LENGTH, _ACCURACY, _TRUNCATED, *_SAMPLER):
            value = metrics.get(key)
            if value is not None and math.isfinite(value):
                first = self._first.setdefault(key, [])
                if len(first) < WINDOW:
                    first.append(value)
                self._latest.setdefault(key, deque(maxlen=WINDOW)).append(value)
        # An arm may reward what is not right: scores, formats.
        fruitless = metrics.get(_ACCURACY) == 0 and not metrics.get("train/reward")
        self._fruitless = self._fruitless + 1 if fruitless else 0
        found = {
            "entropy": self._entropy(),
            "length": self._length(),
            "truncated": self._truncated(),
            "fruitless": self._no_success(),
            "skipped": _skipped(metrics),
            **{key: self._sampler(key) for key in _SAMPLER},
        }
        new = {key: text for key, text in found.items() if text and key not in self._told}
        self._told |= new.keys()
        return [f"step {step}: {text}" for text in new.values()]

    def _entropy(self) -> str | None:
        was, now = self._means(_ENTROPY)
        if was is None or now is None or was <= 0:
            return None
        accuracy = self._means(_ACCURACY)[1]
        stuck = accuracy is not None and accuracy < STUCK_ACCURACY and now < STUCK_ENTROPY * was
        if now >= COLLAPSED_ENTROPY * was and not stuck:
            return None
        return (
            f"entropy has collapsed, {was:.3g} nats at first and {now:.3g} over the last {WINDOW} "
            "steps: rollouts hardly differ any more. A larger algorithm.entropy_coefficient or "
            "rollouts.temperature, or a smaller optimizer.learning_rate, keeps them apart"
        )

    def _length(self) -> str | None:
        was, now = self._means(_LENGTH)
        if was is None or now is None or now >= COLLAPSED_LENGTH * was:
            return None
        return (
            f"length has collapsed, {was:.0f} tokens at first and {now:.0f} over the last {WINDOW} "
            "steps: read some rollouts to see whether they still reason"
        )

    def _truncated(self) -> str | None:
        was, now = self._means(_TRUNCATED)
        if was is None or now is None or now < TRUNCATED or now < was + MORE_TRUNCATED:
            return None
        return (
            f"{now:.0%} of the rollouts are cut at rollouts.max_new_tokens, {was:.0%} were at "
            "first: they ramble, or need more room"
        )

    def _no_success(self) -> str | None:
        if self._fruitless < FRUITLESS_STEPS:
            return None
        return (
            f"no rollout was right in {FRUITLESS_STEPS} steps, so the reward teaches nothing: look "
            "at train/reason/... for why, at the gold answer, and at rollouts.max_new_tokens"
        )

    def _sampler(self, key: str) -> str | None:
        now = self._means(key)[1]
        limit, words, low = _SAMPLER[key]
        if now is None or (now >= limit if low else now <= limit):
            return None
        return (
            f"sampler and trainer disagree: {words.format(now)} over the last {WINDOW} steps. See "
            "that rollouts.vllm.dtype and model.dtype round alike; algorithm.sampler_correction "
            "holds for small differences only"
        )

    def _means(self, key: str) -> tuple[float | None, float | None]:
        """Mean of the first window and of the last; None until one is full."""
        first, latest = self._first.get(key, []), self._latest.get(key, ())
        if len(latest) < WINDOW:
            return None, None
        return fmean(first), fmean(latest)


def _skipped(metrics: Mapping[str, float | None]) -> str | None:
    if not metrics.get(_SKIPPED):
        return None
    return (
        "an update was left out because its loss or gradient is not finite; "
        "train/skipped_updates counts them"
    )
