"""Names for the arms that people compare with: what each changes in the base recipe.

A name stands for a packaged recipe's keys or for a few overrides, no more: `oneshot train` takes
every one of them. Arms that depend on the data (which examples, which wrong label) say what the
study has to give. Not here: what an arm does (`rewards.arms`, `algorithms`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oneshot_rlvr.registry import nearest


@dataclass(frozen=True, slots=True)
class NamedArm:
    """`recipe`: a packaged recipe whose own keys, not its base, are laid over; `set`: dotted keys.

    `needs`: keys of which the study must give one; `differs`: keys of the budget in which it may
    differ. `trains` False: the base is asked; `shots`: with the recipe's examples and their answers
    before every question.
    """

    note: str = ""
    recipe: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    trains: bool = True
    shots: bool = False


_EXAMPLES = ("examples.items", "examples.path", "examples.ids", "examples.first")


def _reward(arm: str, note: str, *needs: str) -> NamedArm:
    return NamedArm(note, set={"reward.arm": arm}, needs=needs)


def _examples(note: str) -> NamedArm:
    return NamedArm(note, needs=_EXAMPLES)


def _algorithm(name: str, note: str) -> NamedArm:
    return NamedArm(note, set={"algorithm.name": name})


NAMED: Mapping[str, NamedArm] = {
    "outcome": _reward("outcome", "1 for a right answer: the method itself"),
    # Controls.
    "format_only": _reward("format_only", "1 for a box, whatever it holds"),
    "random": _reward("random", "1 by a coin, whatever the text (arXiv 2506.10947)"),
    "wrong_label": _reward("wrong_label", "the gold is a wrong one, made from the right one"),
    "wrong_label_near": _reward("wrong_label", "a wrong label near the right one"),
    "wrong_label_guessable": _reward(
        "wrong_label", "a wrong label that the base comes upon", "reward.wrong_label"
    ),
    "wrong_label_unguessable": NamedArm(recipe="ablations/label_wrong_unguessable"),
    "no_update": NamedArm(recipe="ablations/nothing"),
    "entropy_only": NamedArm(recipe="ablations/entropy"),
    "decay_kl_only": NamedArm(recipe="ablations/decay_kl"),
    "in_context": NamedArm(
        "the example shown before every question, no training", trains=False, shots=True
    ),
    # Which examples: the study gives them.
    "random_example": _examples("an example drawn by chance"),
    "worst_example": _examples("the example that selection puts last"),
    "two_shot": _examples("two examples"),
    "four_shot": _examples("four examples"),
    "sixteen_shot": _examples("sixteen examples"),
    "k_shot": _examples("k examples"),
    "full_pool": _examples("the whole pool"),
    "other_prompt": _examples("the same example in other words"),
    # The paper's ablation: which terms.
    "policy_only": NamedArm(recipe="ablations/policy"),
    "policy_decay": NamedArm(recipe="ablations/policy_decay"),
    "policy_decay_kl": NamedArm(recipe="ablations/policy_decay_kl"),
    "policy_entropy": NamedArm(recipe="ablations/policy_entropy"),
    # Each term off.
    "without_policy": NamedArm("no policy term", set={"algorithm.policy_coefficient": 0.0}),
    "without_kl": NamedArm("no KL term", set={"algorithm.kl_coefficient": 0.0}),
    "without_entropy": NamedArm("no entropy bonus", set={"algorithm.entropy_coefficient": 0.0}),
    "without_decay": NamedArm("no weight decay", set={"optimizer.weight_decay": 0.0}),
    # Each algorithm, with its own paper's values for the keys that the base leaves out.
    "dr_grpo": _algorithm("dr_grpo", "no std, no length normalisation (arXiv 2503.20783)"),
    "dapo": NamedArm(
        "clip-higher, a softer length limit (arXiv 2503.14476)", recipe="tiny_dapo"
    ),  # which leaves out dynamic sampling: one example has no other row to ask
    "ppo": _algorithm("ppo", "a critic of its own (arXiv 1707.06347)"),
    "reinforce": _algorithm("reinforce", "log p of the whole answer (Williams 1992)"),
    "rloo": _algorithm("rloo", "leave-one-out baseline (arXiv 2402.14740)"),
    "reinforce_plus_plus": _algorithm("reinforce_plus_plus", "no critic (arXiv 2501.03262)"),
    "gspo": _algorithm("gspo", "ratios of whole sequences (arXiv 2507.18071)"),
    "cispo": _algorithm("cispo", "clipped importance weights (arXiv 2506.13585)"),
    # Several updates of a step's rollouts, where clipping has a bias (arXiv 2506.10947).
    "eight_updates": NamedArm(
        "8 updates of every step's rollouts",
        set={"train.updates_per_rollout": 8},
        differs=("train.updates_per_rollout",),
    ),
    # Rivals.
    "majority": NamedArm(recipe="rivals/majority"),
    "self_certainty": NamedArm(recipe="rivals/self_certainty"),
    "sft_own": NamedArm(recipe="rivals/sft_own"),
    "positive_only": NamedArm(recipe="rivals/positive_only"),
    "negative_only": NamedArm(recipe="rivals/negative_only"),
    "entropy_minimisation": NamedArm(
        recipe="rivals/entropy_minimisation", differs=("train.steps",)
    ),
}


def unknown(name: str) -> str:
    """The sentence for a name that no named arm has."""
    return f'"{name}" is no named arm.{nearest(name, list(NAMED))} Known: {", ".join(NAMED)}.'
