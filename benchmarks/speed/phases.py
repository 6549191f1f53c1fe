"""What a step's time goes to: one lane's share of a step, on one core.

    python benchmarks/speed/phases.py

128 rollouts of one prompt of 50 tokens, 128 tokens each: sampling by timers around the engine's
pieces, the update by torch's profiler. Shares are of the time measured with the timers on.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from common import model, prompt, save, settle
from step_beside_trl import _graded
from torch.profiler import ProfilerActivity, profile

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.policy import Policy
from oneshot_rlvr.policy.linear import Linear
from oneshot_rlvr.rollouts import Sampling, StreamKey, loop, make_engine
from oneshot_rlvr.rollouts.attention import CompiledAttention
from oneshot_rlvr.train.step import TrainStep

ROLLOUTS, TOKENS, PROMPT = 128, 128, 50


def main() -> None:
    """Both sizes, both phases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["0.8M", "3.2M"])
    args = parser.parse_args()
    settle(1)
    spent: Counter[str] = Counter()
    for method in ("__call__", "silu", "times", "plus"):
        _time(Linear, method, "matrix products", spent)
    _time(CompiledAttention, "__call__", "attention", spent)
    _time(loop, "sample", "drawing tokens", spent)
    rows: list[dict[str, Any]] = []
    for size in args.sizes:
        policy = model(size)
        rows += [{"size": size, "phase": "sampling"} | sampling(policy, spent)]
        rows += [{"size": size, "phase": "update"} | update(policy)]
    save("phases", vars(args), rows)


def _time(owner: Any, name: str, kind: str, spent: Counter[str]) -> None:
    """From now on the seconds in `owner.name` are added to `spent[kind]`."""
    work: Callable[..., Any] = getattr(owner, name)

    def timed(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        result = work(*given, **named)
        spent[kind] += time.perf_counter() - began  # type: ignore[assignment]
        return result

    setattr(owner, name, timed)


def _sample(policy: Policy, step: int) -> list[Any]:
    engine = make_engine("shared_prefix", policy)
    key = StreamKey(0, "phases", step)
    return engine.generate([prompt(PROMPT)], ROLLOUTS, Sampling(1.0, TOKENS), key)


def sampling(policy: Policy, spent: Counter[str]) -> dict[str, float]:
    """Seconds, and shares of them."""
    _sample(policy, 0)
    spent.clear()
    began = time.perf_counter()
    _sample(policy, 1)
    taken = time.perf_counter() - began
    shares = {kind: spent[kind] / taken for kind in ("matrix products", "attention")}
    drawing = spent["drawing tokens"] / taken
    return {"seconds": taken, **shares, "drawing tokens": drawing,
            "rest": 1 - sum(shares.values()) - drawing}  # fmt: skip


def update(policy: Policy) -> dict[str, float]:
    """The same of an update."""
    trainer = TrainStep(
        policy,
        Recipe.model_validate(
            {
                "rollouts": {"prompts_per_step": 1, "group_size": 2, "temperature": 1.0},
                "algorithm": {"kl_coefficient": 0.0, "entropy_coefficient": 0.0},
                "train": {"micro_batch_tokens": 16384},
            }
        ),
    )
    graded = [_graded(r) for r in _sample(policy, 2)]
    trainer.update(graded)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer.update(graded)
    kinds: Counter[str] = Counter()
    for event in profiled.key_averages():
        name = event.key
        if "_attention_" in name:
            kind = "attention"
        elif name.split("::")[-1].rstrip("_") in ("mm", "bmm", "addmm", "_linear_pointwise"):
            kind = "matrix products"
        else:
            kind = "rest"
        kinds[kind] += event.self_cpu_time_total
    total = sum(kinds.values())
    return {"seconds": total / 1e6, **{kind: kinds[kind] / total for kind in sorted(kinds)}}


if __name__ == "__main__":
    main()
