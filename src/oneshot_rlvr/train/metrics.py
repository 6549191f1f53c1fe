"""Every metric a run logs, declared once: key, unit, meaning, reading. Keys come from nowhere else.

`docs/metrics.md` is printed from this table, and the loop refuses to log what it does not name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

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

Declared = tuple[str, str, str]
"""Unit, meaning, and how to read a value: what is usual, and when to worry."""

_READ_REASON = {
    Reason.CORRECT: "as train/accuracy",
    Reason.MISMATCH: "an answer was read and is wrong; worry if the texts are right: look at the "
    "gold and the verifier",
    Reason.NO_ANSWER: "falls first, as the form is learned; near 1: the prompt asks for no form "
    "that the verifier reads",
    Reason.AMBIGUOUS: "several answers in one text; worry if it rises: the model hedges",
    Reason.UNPARSEABLE: "rare; worry if it rises: a form that the verifier cannot read",
    Reason.TIMEOUT: "0 but for code; worry above 0.01: raise reward.timeout_seconds, or texts are "
    "built to be slow",
    Reason.MEMORY: "0 but for code, as timeout",
    Reason.ERROR: "0 but for code, where it is a program that raises; else a fault of the verifier",
    Reason.OUTPUT_LIMIT: "0 but for code that prints without end",
    Reason.CRASH: "0 but for code; else the grader died of a text: report it",
}

METRICS: dict[str, Declared] = {
    "train/accuracy": (
        "share",
        "correct first answers of the step, exact",
        "0.2 to 0.8 at first teaches most; near 1: saturated, watch held-out accuracy instead; "
        "0 for ten steps: nothing to learn from",
    ),
    "train/score": (
        "score",
        "mean score of the step's verdicts, 0..1; equals accuracy where kinds say yes or no",
        "rises before accuracy where answers can be nearly right; rising alone: near misses pay",
    ),
    "train/score_best": (
        "score",
        "highest score of the step's verdicts",
        "on an open problem the figure to watch; flat for long: nothing new is found",
    ),
    "train/reward": (
        "reward",
        "mean reward of the step's rollouts",
        "equals accuracy in the arm outcome without penalties; a control arm's says nothing of "
        "right or wrong",
    ),
    "train/zero_variance_share": (
        "share",
        "rows whose rollouts all got one reward: no advantage",
        "the part of the step that taught nothing; 1 early: the example is too hard or too easy; "
        "1 late: saturated",
    ),
    "train/zero_variance_shaped_share": (
        "share",
        "rows of equal rewards that learned from their entropies; where "
        "algorithm.zero_variance_coefficient is above 0",
        "train/zero_variance_share; less: rewards are equal and midway between right and wrong",
    ),
    "train/masked_truncated_share": (
        "share",
        "tokens left out of the loss with their rollouts; where algorithm.mask_truncated is on",
        "above train/truncated_share, as what is cut is long; worry above 0.5: little is learned",
    ),
    "train/boxed_share": (
        "share",
        "rollouts with a complete \\boxed{}",
        "rises faster than accuracy: much of the gain is format",
    ),
    "train/recheck_share": (
        "share",
        "rollouts that recheck, rethink or recalculate",
        "often rises late; no worry either way",
    ),
    "train/truncated_share": (
        "share",
        "rollouts cut at rollouts.max_new_tokens",
        "should fall; worry above 0.5, or where it rises: they ramble, or need more room",
    ),
    "train/tokens": (
        "tokens",
        "generated in the step, also for rows that were then replaced",
        "the step's cost",
    ),
    "train/tokens_mean": (
        "tokens",
        "mean length of a rollout",
        "drifts; worry below a quarter of the first steps': read whether they still reason",
    ),
    "train/loss": (
        "loss",
        "the loss minimised, mean over the step's updates",
        "around 0 and of either sign; it does not fall as learning goes on: read accuracy",
    ),
    "train/policy_loss": (
        "loss",
        "its policy term",
        "around 0: advantages of a group add up to 0; positive where right answers are the shorter",
    ),
    "train/kl": (
        "nats",
        "estimate of the divergence from the reference (algorithm.kl_estimator), mean over tokens",
        "0 at first, then grows; worry if it jumps, or grows while held-out accuracy falls",
    ),
    "train/entropy_nats": (
        "nats",
        "mean entropy of the next token at the rollout temperature",
        "falls as the policy settles; below a fiftieth of the first steps': collapsed, rollouts "
        "hardly differ; rising: towards gibberish",
    ),
    "train/ratio_max": (
        "ratio",
        "largest probability ratio of the step: a token's, now to before the step's updates",
        "exactly 1 with one update a step; with more, worry above 10, above all where "
        "train/clip_share is high too: lower optimizer.learning_rate, or take fewer updates "
        "(train.updates_per_rollout, train.epochs)",
    ),
    "train/ratio_min": (
        "ratio",
        "smallest probability ratio of the step",
        "exactly 1 with one update a step; with more, worry below 0.1, and do the same",
    ),
    "train/clip_share": (
        "share",
        "tokens at which clipping took effect",
        "0 with one update a step; with more, worry above 0.1: updates too many or too large",
    ),
    "train/dual_clip_share": (
        "share",
        "tokens whose loss algorithm.dual_clip bounds; where it is on",
        "0 with one update a step; with more a few in a thousand: bad tokens have become likely",
    ),
    "train/covariance_share": (
        "share",
        "tokens that Clip-Cov left out or KL-Cov penalised; where algorithm.covariance is set",
        "algorithm.covariance_share, or less where few tokens covary that much; 0: bounds too high",
    ),
    "train/top_entropy_share": (
        "share",
        "tokens that the policy term learned from; where algorithm.top_entropy_share is below 1",
        "that share; well above it many tokens have the same entropy, as where the policy is sure",
    ),
    "train/gradient_norm": (
        "norm",
        "before clipping, mean over the step's updates",
        "always above optimizer.gradient_clip: the clip sets the rate; worry at jumps of ten times",
    ),
    **{
        f"train/gradient_norm/{term}": (
            "norm",
            f"of {words} alone, every train.term_norms_every",
            "the largest term steers; worry if it is not the policy's before saturation",
        )
        for term, words in TERMS.items()
    },
    "train/critic_gradient_norm": (
        "norm",
        "the critic's, before clipping; ppo only",
        "large at first, then falls",
    ),
    "train/value_loss": (
        "loss",
        "the critic's term: half the squared error of its values; ppo only",
        "falls below half the variance of the rewards (0.125 at most for rewards of 0 and 1)",
    ),
    "train/explained_variance": (
        "share",
        "1 - var(returns - values) / var(returns), before the step's updates; 1: the critic knows",
        "rises from 0 or below; still below 0 after tens of steps: the critic harms",
    ),
    "train/entropy_coefficient": (
        "weight",
        "of the entropy bonus in the step; where algorithm.entropy_target is set",
        "0 while entropy is above its target; stuck at the maximum: the target is out of reach",
    ),
    "train/overlong_penalty": (
        "reward",
        "mean deducted for lengths near the limit; where algorithm.overlong_buffer_share is set",
        "falls to 0; lasting: raise rollouts.max_new_tokens",
    ),
    "train/resampled_rows": (
        "count",
        "rows of equal rewards that asked another prompt; where algorithm.dynamic_sampling is on",
        "rises with accuracy; near the number of rows: the set has little left to teach",
    ),
    "train/discarded_tokens": (
        "tokens",
        "those of train/tokens that rows had which were then replaced",
        "the price of the line above",
    ),
    "train/logprob_gap": (
        "nats",
        "largest difference of sampler's and trainer's log-probability",
        "below 0.001 in float32, below 1 in 16 bits; above: sampler and trainer are not one policy",
    ),
    "train/sampler_gap": (
        "nats",
        "mean distance of sampler's and trainer's log-probability, before the step's updates",
        "1e-6 in float32, around 0.01 in 16 bits; growing over a run: weights do not arrive",
    ),
    "train/sampler_kl": (
        "nats",
        "KL of the sampler from the trainer, a token, on the sampler's draws by r - 1 - log r",
        "below 0.001 is noise; above 0.01 choose an algorithm.sampler_correction",
    ),
    "train/sampler_effective_share": (
        "share",
        "effective sample size of the tokens under the ratios r of trainer to sampler; 1: alike",
        "near 1; below 0.9 much of the step speaks for another policy",
    ),
    "train/sampler_masked_share": (
        "share",
        "tokens that algorithm.sampler_correction left out of the policy loss",
        "a few in a thousand; above 0.05 sampler and trainer have come apart",
    ),
    "train/skipped_updates": (
        "count",
        "updates left out for a loss or gradient not finite",
        "0; anything else is worth a look at the steps before",
    ),
    "train/loss_scale": (
        "factor",
        "the loss is multiplied by it before the backward pass; with model.dtype float16 only",
        "halves at an overflow, doubles after 400 updates without; worry below 1: gradients are "
        "too large for float16",
    ),
    "train/overflowed_updates": (
        "count",
        "updates left out because the scaled gradient overflowed; with model.dtype float16 only",
        "a few at first and one now and then: so the scale finds its size",
    ),
    "optimizer/learning_rate": (
        "rate",
        "of the step's last update",
        "as the recipe says: after optimizer.warmup_steps it is constant",
    ),
    **{
        f"train/reason/{reason}": ("share", f"verdicts with reason {reason}", _READ_REASON[reason])
        for reason in Reason
    },
}

TIMINGS: dict[str, Declared] = {
    "generate_seconds": ("s", "sampling", "most of a step; grows with the longest rollout"),
    "score_seconds": (
        "s",
        "grading",
        "small; worry if it nears sampling: slow verdicts, or too few reward.workers",
    ),
    "resample_seconds": (
        "s",
        "rows asked again, where algorithm.dynamic_sampling is on",
        "the price of full batches",
    ),
    "update_seconds": (
        "s",
        "log-probabilities, loss, gradient, optimizer",
        "grows with tokens; much above sampling: try a larger train.micro_batch_tokens",
    ),
    "record_seconds": ("s", "writing records", "small; worry above a tenth of the step: slow disk"),
    "evaluate_seconds": (
        "s",
        "validation, at its steps; step 0 is the base model's",
        "if it dominates: fewer questions or samples, a larger train.eval_every",
    ),
    "checkpoint_seconds": (
        "s",
        "the checkpoint after the step before, where there was one",
        "grows with the model and its disk",
    ),
    "step_seconds": ("s", "the whole step: the sum of the above", "what a run costs, by the step"),
    "tokens_per_second": (
        "tokens/s",
        "generated tokens by the time of the step without validation and checkpoint",
        "steady or rising as rollouts get shorter; worry at a lasting fall",
    ),
    "memory_bytes": (
        "bytes",
        "resident memory of the process at the end of the step",
        "level after the first steps; steady growth is a leak: report it",
    ),
    "gpu_memory_bytes": (
        "bytes",
        "most that tensors have held on the GPU; on CUDA only",
        "near the card's size: a smaller train.micro_batch_tokens",
    ),
}


EXTREMES: dict[str, Callable[[list[float]], float]] = {
    "ratio_max": max,
    "ratio_min": min,
    "logprob_gap": max,
}
"""How a metric that is no mean combines over micro-batches and updates."""


def combined(collected: list[dict[str, float]]) -> dict[str, float]:
    """Means over the updates of a step; extremes of what is an extreme."""
    combined: dict[str, float] = {}
    for name in {name: None for metrics in collected for name in metrics}:
        values = [metrics[name] for metrics in collected if name in metrics]
        combined[name] = EXTREMES[name](values) if name in EXTREMES else fmean(values)
    return combined


def rollout_metrics(graded: Sequence[Graded]) -> dict[str, float]:
    """What a step's rollouts say by themselves. Every reason is present, also at 0."""
    count = len(graded)
    lengths = [len(item.rollout.tokens) for item in graded]

    def share(holds: Sequence[bool]) -> float:
        return sum(holds) / count

    return {
        "train/accuracy": share([item.verdict.correct for item in graded]),
        "train/score": sum(item.verdict.score for item in graded) / count,
        "train/score_best": max(item.verdict.score for item in graded),
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
held-out sets stands in `evaluations/NAME-STEP.json`. "Read it as" says what is usual in a run from
one example and when to worry. Its limits are rules of thumb; those of which a run warns by itself
stand in `train/health.py`.
"""

_MIDDLE = """
## timings.jsonl

Seconds and memory, which no second run repeats.
"""


def _table(declared: Mapping[str, Declared]) -> list[str]:
    rows = [f"| `{key}` | {' | '.join(cells)} |" for key, cells in declared.items()]
    return ["| key | unit | meaning | read it as |", "|---|---|---|---|", *rows]


if __name__ == "__main__":
    print(to_markdown(), end="")
