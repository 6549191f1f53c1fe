"""What a step's time goes to: one lane's share of a step, on one core.

    python benchmarks/speed/phases.py

128 rollouts of one prompt of 50 tokens, 128 tokens each: sampling by running the compiled pieces by
themselves beside the whole, the update by torch's profiler.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from common import VOCABULARY, model, prompt, save, seconds, settle
from step_beside_trl import _graded
from torch.profiler import ProfilerActivity, profile

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.kernels import decoding, drawing
from oneshot_rlvr.kernels.compiling import part
from oneshot_rlvr.kernels.elementary import ONE
from oneshot_rlvr.policy import Policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.rollouts.compiled_state import CompiledState
from oneshot_rlvr.train.step import TrainStep

ROLLOUTS, TOKENS, PROMPT = 128, 128, 50


def main() -> None:
    """Both sizes, both phases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["0.8M", "3.2M"])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    settle(1)
    rows: list[dict[str, Any]] = []
    for size in args.sizes:
        policy = model(size)
        rows += [{"size": size, "phase": "sampling"} | sampling(policy, args.repeats)]
        rows += [{"size": size, "phase": "update"} | update(policy)]
    save("phases", vars(args), rows)


def _sample(policy: Policy, step: int) -> list[Any]:
    engine = make_engine("shared_prefix", policy)
    key = StreamKey(0, "phases", step)
    return engine.generate([prompt(PROMPT)], ROLLOUTS, Sampling(1.0, TOKENS), key)


@part
def _products(n: int, weights: Any, own: Any) -> None:
    """All matrix products of a position, and the MLP's silu between them."""
    for layer in range(len(weights.qkv)):
        decoding._times(own.normed, 0, n, weights.qkv, layer, own.normed.shape[1], own.qkv)
        decoding._plus(own.mixed, n, weights.out, layer, own.mixed.shape[1], own.x, 0)
        decoding._mlp(n, layer, weights, own)
    decoding._times(own.normed, 0, n, weights.head, 0, own.normed.shape[1], own.logits)


@part
def _attention(n: int, filled: int, prompts: Any, own: Any) -> None:
    """Of all layers."""
    for layer in range(len(prompts.keys)):
        decoding.attend(layer, n, filled, ONE, prompts, own)


def sampling(policy: Policy, repeats: int) -> dict[str, float]:
    """Seconds, and shares of them: the pieces run by themselves, at every eighth position."""
    states: list[CompiledState] = []
    made = CompiledState.__init__

    def noted(state: CompiledState, *given: Any) -> None:
        made(state, *given)
        states.append(state)

    CompiledState.__init__ = noted  # type: ignore[method-assign]
    _sample(policy, 0)
    CompiledState.__init__ = made  # type: ignore[method-assign]
    weights, prompts, own = states[0]._weights, states[0]._prompts, states[0]._own
    logits, uniforms = own.logits[:, :VOCABULARY].copy(), np.full(ROLLOUTS, 0.5)
    tokens, logprobs = np.zeros(ROLLOUTS, np.int64), np.zeros(ROLLOUTS)
    places = range(1, TOKENS, 8)
    pieces: dict[str, Callable[[], Any]] = {
        "matrix products": lambda: _products(ROLLOUTS, weights, own),
        "attention": lambda: [_attention(ROLLOUTS, t, prompts, own) for t in places],
        "drawing tokens": lambda: drawing.draw(logits, uniforms, np.float32(1), tokens, logprobs),
    }
    counts = {"matrix products": 1, "attention": len(places), "drawing tokens": 1}
    taken: dict[str, list[float]] = {name: [] for name in [*pieces, "whole"]}
    for repeat in range(repeats + 1):
        taken["whole"].append(seconds(lambda: _sample(policy, repeat)))  # noqa: B023
        for name, work in pieces.items():
            own.x[:] = own.normed[:] = own.mixed[:] = 0.1  # products add to x without end
            taken[name].append(TOKENS / counts[name] * seconds(work))
    whole = median(taken["whole"][1:])
    shares = {name: median(taken[name][1:]) / whole for name in pieces}
    return {"seconds": whole, **shares, "rest": 1 - sum(shares.values())}


def update(policy: Policy) -> dict[str, float]:
    """The same of an update."""
    trainer = TrainStep(
        policy,
        Recipe.model_validate(
            {
                "rollouts": {"prompts_per_step": 1, "group_size": 2, "temperature": 1.0},
                "algorithm": {"kl_coefficient": 0.0, "entropy_coefficient": 0.0},
                "train": {"micro_batch_tokens": 16896},
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
        if "_attention_" in name or name.removesuffix("Backward") == "_Attend":
            kind = "attention"
        elif name.removesuffix("Backward") in ("_Inputs", "_Outputs", "_CompiledHead"):
            kind = "matrix products"  # and what is joined on: norms, silu, softmax
        elif name.split("::")[-1].rstrip("_") in ("mm", "bmm", "addmm", "_linear_pointwise"):
            kind = "matrix products"
        else:
            kind = "rest"
        kinds[kind] += event.self_cpu_time_total
    total = sum(kinds.values())
    return {"seconds": total / 1e6, **{kind: kinds[kind] / total for kind in sorted(kinds)}}


if __name__ == "__main__":
    main()
