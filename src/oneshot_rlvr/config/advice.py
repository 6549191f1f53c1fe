"""What a recipe may well say and its author may not mean: sentences, told before a run begins.

Not here: combinations that cannot work, which are refused (`recipe.py`).
"""

from __future__ import annotations

from oneshot_rlvr.config.recipe import Recipe

UNCORRECTED = ("reinforce", "rloo", "raft")
"""Their loss is -A log p without a ratio: right for the first update of a step's rollouts only."""

FULL_RATE = 5e-6
"""Learning rates up to here are those of a whole model (the paper's is 1e-6)."""

ADAPTER_FACTOR = 10
"""Adapters want about ten times a whole model's rate (Schulman et al. 2025, "LoRA without regret",
thinkingmachines.ai; measured over models and ranks)."""


def advice(recipe: Recipe) -> list[str]:
    """One sentence for each doubt; none for most recipes."""
    found = []
    name, updates = recipe.algorithm.name, recipe.train.updates_per_rollout
    if name in UNCORRECTED and updates > 1:
        found.append(
            f"{name} makes {updates} updates of every step's rollouts and has no ratio that "
            "corrects for the policy's having moved: all but the first are biased. Set "
            'train.updates_per_rollout=1, or an algorithm with a ratio ("dr_grpo")'
        )
    rate = recipe.learning_rate()
    if recipe.model.lora is not None and rate <= FULL_RATE:
        found.append(
            f"optimizer.learning_rate is {rate:g}, a rate for all weights, and adapters "
            f"(model.lora) want about {ADAPTER_FACTOR} times that: try {ADAPTER_FACTOR * rate:g}, "
            f"or model.lora.rate_factor={ADAPTER_FACTOR}"
        )
    if recipe.algorithm.dual_clip and updates == 1:
        found.append(
            f"algorithm.dual_clip is {recipe.algorithm.dual_clip:g} and clips nothing: with one "
            "update of a step's rollouts every ratio is 1. Set train.updates_per_rollout=4, say"
        )
    return found
