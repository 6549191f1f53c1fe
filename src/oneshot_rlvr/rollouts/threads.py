"""How many threads make sampling fastest here, measured.

All cores are not always best: another busy process, or two hardware threads that share a core,
make lanes wait. `oneshot doctor` tells the choice; a run whose recipe leaves `train.threads` open
measures once, writes the number into run.json and keeps to it when it is resumed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

_ROLLOUTS, _TOKENS, _TURNS = 128, 24, 3
# Fewer threads are chosen only where they are faster by this: the measurement is short.
_WORTH = 1.1


def choose(seconds: Mapping[int, float]) -> int:
    """The number of threads to take of `sampling_seconds`: all, unless fewer are clearly faster."""
    most, fastest = max(seconds), min(seconds, key=lambda threads: seconds[threads])
    return fastest if seconds[fastest] * _WORTH < seconds[most] else most


def sampling_seconds(cores: int) -> dict[int, float]:
    """Seconds of a small sampling with 1, 2, 4 ... threads up to `cores`; the best of some turns.

    torch's own number of threads is as before afterwards.
    """
    from oneshot_rlvr.policy.random_model import random_policy
    from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
    from oneshot_rlvr.types import Example, Prompt

    policy = random_policy("qwen2", hidden=128, layers=2, intermediate=384, scale=0.02)
    engine = make_engine("shared_prefix", policy)
    prompts = [Prompt(0, Example("0", "", ""), tuple(range(32)))]
    counts = sorted({*(n for n in (1, 2, 4, 8, 16, 32, 64) if n < cores), cores})
    best = dict.fromkeys(counts, float("inf"))
    with caller_keeps_threads():
        for turn in range(_TURNS + 1):
            for threads in counts:
                torch.set_num_threads(threads)
                began = time.perf_counter()
                engine.generate(prompts, _ROLLOUTS, Sampling(1.0, _TOKENS), StreamKey(0, "threads"))
                if turn:  # the first is warm-up
                    best[threads] = min(best[threads], time.perf_counter() - began)
    return best


@contextmanager
def caller_keeps_threads() -> Iterator[None]:
    """Torch's number of CPU threads is in the end what it was before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_threads(threads: int) -> None:
    """Torch's CPU threads, where the recipe fixes them (0 leaves them)."""
    if threads:
        torch.set_num_threads(threads)
