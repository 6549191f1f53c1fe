"""Arms: what a verdict is worth. Pure functions of a batch of N rollouts; no clocks, no state.

outcome      1 for a right answer, else 0 (the paper's reward; no format term).
score        how good the answer is, 0..1, as its kind says: the share of tests passed, a distance
             to the gold, the value reached on an open problem. 1 and 0 where it says no more.
format_only  1 for a complete, non-empty box, whatever it holds.
random       1 with probability `reward.random_share`, whatever the text (arXiv 2506.10947).
wrong_label  1 for an answer that equals a wrong gold: `reward.wrong_label`, or one made from the
             true gold. The verdict that is recorded stays the one against the true gold.
majority     1 for an answer that equals the most frequent one of its group, whether right or not:
             no gold is needed (TTRL, arXiv 2504.16084, section 2.2). Recorded as above.
self_certainty
             KL(uniform || policy), mean over the rollout's tokens in nats: how far from a guess the
             policy is, whatever the text says (INTUITOR, arXiv 2505.19590, equation 4). The trainer
             computes it (`train/intrinsic.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.types import Example, Reason, Rollout, Verdict
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.boxed import last_box
from oneshot_rlvr.verifiers.numbers import plain_number

Rewards = Callable[
    [
        Sequence[Verdict],
        Sequence[Rollout],
        Mapping[str, Example],
        RewardConfig,
        Sequence[float],
    ],
    list[float],
]


@dataclass(frozen=True, slots=True)
class Arm:
    """`rewards(verdicts_N, rollouts_N, examples, config, uniforms_N) -> rewards_N`.

    `relabel` gives the example against which this arm's verdicts are made, where that is not the
    true one, and `votes` what the group's own answers elect in its place (None: nothing, and no
    rollout of the group is rewarded); `random` says that the arm reads the uniforms (0 <= u < 1,
    one per rollout), `intrinsic` that only the policy knows the reward: it is nan until the trainer
    has said it. `about` is for lists.
    """

    rewards: Rewards
    relabel: Callable[[Example, RewardConfig], Example] | None = None
    random: bool = False
    votes: Callable[[Sequence[Verdict], Example], Example | None] | None = None
    intrinsic: bool = False
    about: str = ""

    @property
    def alone(self) -> bool:
        """Whether the reward follows from a rollout's text alone (with its uniform)."""
        return self.votes is None and not self.intrinsic


def outcome(
    verdicts: Sequence[Verdict],
    rollouts: Sequence[Rollout],
    examples: Mapping[str, Example],
    config: RewardConfig,
    uniforms: Sequence[float],
) -> list[float]:
    """1 where the verdict is correct."""
    return [float(verdict.correct) for verdict in verdicts]


def score(
    verdicts: Sequence[Verdict],
    rollouts: Sequence[Rollout],
    examples: Mapping[str, Example],
    config: RewardConfig,
    uniforms: Sequence[float],
) -> list[float]:
    """The verdict's score."""
    return [verdict.score for verdict in verdicts]


def format_only(
    verdicts: Sequence[Verdict],
    rollouts: Sequence[Rollout],
    examples: Mapping[str, Example],
    config: RewardConfig,
    uniforms: Sequence[float],
) -> list[float]:
    """1 where the text has a complete box that is not empty."""
    return [float(bool((last_box(rollout.text) or "").strip())) for rollout in rollouts]


def random_reward(
    verdicts: Sequence[Verdict],
    rollouts: Sequence[Rollout],
    examples: Mapping[str, Example],
    config: RewardConfig,
    uniforms: Sequence[float],
) -> list[float]:
    """1 where the rollout's own uniform falls below `random_share`."""
    return [float(uniform < config.random_share) for uniform in uniforms]


def with_wrong_label(example: Example, config: RewardConfig) -> Example:
    """The example with a gold that is wrong. ConfigError where none can be made or it is right."""
    label = config.wrong_label if config.wrong_label is not None else made_wrong(example)
    relabelled = _with_gold(example, label)
    verifier = get_verifier(example.verifier)
    if verifier.check(verifier.stated_gold(relabelled), example).correct:
        raise ConfigError(
            f"reward.wrong_label is {label!r}, which is the right answer of example "
            f"{example.id!r}. Give another label."
        )
    return relabelled


def made_wrong(example: Example) -> str:
    """A wrong gold near the true one: the number plus 1, or the next option."""
    number = plain_number(example.answer)
    if number is not None and example.verifier in ("math_answer", "numeric", "exact_match"):
        value = number.value + 1
        return str(value) if value.denominator == 1 or not number.decimal else repr(float(value))
    if example.verifier == "multiple_choice":
        from oneshot_rlvr.verifiers.multiple_choice import choices_of, label_of

        choices = choices_of(example)
        labels = list(choices)
        gold = label_of(example.answer, choices)
        if gold is not None:
            return labels[(labels.index(gold) + 1) % len(labels)]
    raise ConfigError(
        f"no wrong label can be made for example {example.id!r} (verifier {example.verifier}, "
        f"gold {example.answer!r:.80}). Set reward.wrong_label."
    )


CAN_VOTE = ("math_answer", "numeric", "exact_match", "multiple_choice")
"""Kinds whose gold is an answer like any other; elsewhere it is tests, a pattern, a program."""


def elected(verdicts: Sequence[Verdict], example: Example) -> Example | None:
    """The example with its group's most frequent answer as gold; None where nobody answered.

    Answers are counted as they are written, and only those that the verifier could read; of equally
    frequent ones the first counts (arXiv 2504.16084, section 2.2). What equals the elected one,
    written otherwise, is then the verifier's to say. ConfigError for a kind without such answers.
    """
    if example.verifier not in CAN_VOTE:
        raise ConfigError(
            f'reward.arm is "majority" and example {example.id!r} is graded by {example.verifier}, '
            f"where no answer can be the gold of the others (it can with {', '.join(CAN_VOTE)}). "
            "Use another arm, or another verifier."
        )
    read = (Reason.CORRECT, Reason.MISMATCH)
    answers = [v.extracted for v in verdicts if v.reason in read and v.extracted]
    if not answers:
        return None
    ((answer, _),) = Counter(answers).most_common(1)
    return _with_gold(example, answer)


def untold(
    verdicts: Sequence[Verdict],
    rollouts: Sequence[Rollout],
    examples: Mapping[str, Example],
    config: RewardConfig,
    uniforms: Sequence[float],
) -> list[float]:
    """nan: only the policy can say it."""
    return [math.nan] * len(verdicts)


def _with_gold(example: Example, answer: str) -> Example:
    """The example with another gold, and none beside it."""
    others = {key: value for key, value in example.extra.items() if key != "golds"}
    return replace(example, answer=answer, extra=others)


OUTCOME = Arm(outcome, about="1 for a right answer (the paper's)")
SCORE = Arm(score, about="the score of the verdict, 0 to 1")
FORMAT_ONLY = Arm(format_only, about="control: 1 for a box that is not empty")
RANDOM = Arm(random_reward, random=True, about="control: 1 by chance, whatever the text")
WRONG_LABEL = Arm(
    outcome, relabel=with_wrong_label, about="control: 1 for an answer that equals a wrong gold"
)
MAJORITY = Arm(outcome, votes=elected, about="rival (TTRL): 1 for the group's most frequent answer")
SELF_CERTAINTY = Arm(
    untold, intrinsic=True, about="rival (INTUITOR): how certain the policy is, in nats"
)
