"""Every metric a run logs, declared once: key, unit, meaning. Keys come from nowhere else.

`docs/metrics.md` is printed from this table, and the loop refuses to log what it does not name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oneshot_rlvr.records import rechecks
from oneshot_rlvr.types import Graded, Reason
from oneshot_rlvr.verifiers.boxed import last_box

TERMS = {
    "policy_loss": "the policy term",
    "kl": "the KL term",
    "entropy_nats": "the entropy term",
    "value_loss": "the value term (on a shared trunk)",
}
"""The terms of a loss, as its pieces in `algorithms/` name them."""

METRICS: dict[str, tuple[str, str]] = {
    "train/accuracy": ("share", "correct rollouts of the step, exact"),
    "train/reward": ("reward", "mean reward of the step's rollouts"),
    "train/zero_variance_share": ("share", "rows whose rollouts all got one reward: no advantage"),
    "train/boxed_share": ("share", "rollouts with a complete \\boxed{}"),
    "train/recheck_share": ("share", "rollouts that recheck, rethink or recalculate"),
    "train/truncated_share": ("share", "rollouts cut at rollouts.max_new_tokens"),
    "train/tokens": ("tokens", "generated in the step"),
    "train/tokens_mean": ("tokens", "mean length of a rollout"),
    "train/loss": ("loss", "the loss minimised, mean over the step's updates"),
    "train/policy_loss": ("loss", "its policy term"),
    "train/kl": (
        "nats",
        "estimate of the divergence from the reference (algorithm.kl_estimator), averaged",
    ),
    "train/entropy_nats": ("nats", "mean entropy of the next token at the rollout temperature"),
    "train/ratio_max": ("ratio", "largest probability ratio of the step"),
    "train/ratio_min": ("ratio", "smallest probability ratio of the step"),
    "train/clip_share": ("share", "tokens at which clipping took effect"),
    "train/gradient_norm": ("norm", "before clipping, mean over the step's updates"),
    **{
        f"train/gradient_norm/{term}": ("norm", f"of {words} alone, every train.term_norms_every")
        for term, words in TERMS.items()
    },
    "train/critic_gradient_norm": ("norm", "the critic's, before clipping; ppo only"),
    "train/value_loss": (
        "loss",
        "the critic's term: half the squared error of its values; ppo only",
    ),
    "train/explained_variance": (
        "share",
        "1 - var(returns - values) / var(returns), before the step's updates; 1: the critic knows",
    ),
    "train/entropy_coefficient": (
        "weight",
        "of the entropy bonus in the step; where algorithm.entropy_target is set",
    ),
    "train/overlong_penalty": (
        "reward",
        "mean deducted for lengths near the limit; where algorithm.overlong_buffer_share is set",
    ),
    "train/resampled_rows": (
        "count",
        "rows of equal rewards that asked another prompt; where algorithm.dynamic_sampling is on",
    ),
    "train/discarded_tokens": ("tokens", "generated for rows that were then replaced"),
    "train/logprob_gap": ("nats", "largest difference of sampler's and trainer's log-probability"),
    "train/skipped_updates": ("count", "updates left out for a loss or gradient not finite"),
    "optimizer/learning_rate": ("rate", "of the step's last update"),
    **{f"train/reason/{reason}": ("share", f"verdicts with reason {reason}") for reason in Reason},
}

TIMINGS: dict[str, tuple[str, str]] = {
    "generate_seconds": ("s", "sampling"),
    "score_seconds": ("s", "grading"),
    "resample_seconds": ("s", "rows asked again, where algorithm.dynamic_sampling is on"),
    "update_seconds": ("s", "log-probabilities, loss, gradient, optimizer"),
    "record_seconds": ("s", "writing records"),
    "evaluate_seconds": ("s", "validation, at its steps; step 0 is the base model's"),
    "checkpoint_seconds": ("s", "the checkpoint after the step before, where there was one"),
    "step_seconds": ("s", "the whole step: the sum of the above"),
    "tokens_per_second": (
        "tokens/s",
        "generated tokens by the time of the step without validation and checkpoint",
    ),
    "memory_bytes": ("bytes", "resident memory of the process at the end of the step"),
    "gpu_memory_bytes": ("bytes", "most that tensors have held on the GPU; on CUDA only"),
}


def rollout_metrics(graded: Sequence[Graded]) -> dict[str, float]:
    """What a step's rollouts say by themselves. Every reason is present, also at 0."""
    count = len(graded)
    lengths = [len(item.rollout.tokens) for item in graded]

    def share(holds: Sequence[bool]) -> float:
        return sum(holds) / count

    return {
        "train/accuracy": share([item.verdict.correct for item in graded]),
        "train/reward": sum(item.reward for item in graded) / count,
        "train/boxed_share": share([last_box(item.rollout.text) is not None for item in graded]),
        "train/recheck_share": share([rechecks(item.rollout.text) for item in graded]),
        "train/truncated_share": share([not item.rollout.finished for item in graded]),
        "train/tokens": float(sum(lengths)),
        "train/tokens_mean": sum(lengths) / count,
        **{
            f"train/reason/{reason}": share([item.verdict.reason == reason for item in graded])
            for reason in Reason
        },
    }


def checked(values: Mapping[str, float], known: Mapping[str, object]) -> dict[str, float]:
    """The values, if every key is declared. KeyError names one that is not: declare it above."""
    for key in values:
        if key not in known:
            raise KeyError(f"metric {key} is not declared in train/metrics.py")
    return dict(values)


def to_markdown() -> str:
    """docs/metrics.md: both tables as they stand."""
    return "\n".join([_HEAD, *_table(METRICS), _MIDDLE, *_table(TIMINGS), ""])


_HEAD = """\
# What a run logs

Printed by `python -m oneshot_rlvr.train.metrics`; edit `train/metrics.py`, not this file.
A share lies between 0 and 1.

## metrics.jsonl

One JSON object a line, `step` first. Here stands what the same run would log again: no clocks.
A term that is switched off has no key, and a number that is not finite is `null`. Accuracy on
held-out sets stands in `evaluations/NAME-STEP.json`.
"""

_MIDDLE = """
## timings.jsonl

Seconds and memory, which no second run repeats.
"""


def _table(declared: Mapping[str, tuple[str, str]]) -> list[str]:
    rows = [f"| `{key}` | {unit} | {meaning} |" for key, (unit, meaning) in declared.items()]
    return ["| key | unit | meaning |", "|---|---|---|", *rows]


if __name__ == "__main__":
    print(to_markdown(), end="")
