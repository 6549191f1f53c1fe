"""The policy's loss in verl's words: which of its losses, and what clips or bounds it. Pure."""

from __future__ import annotations

from oneshot_rlvr.backends.verl.correction import Settings
from oneshot_rlvr.config import Recipe

UNBOUNDED = 1e9  # a limit that is never met, where verl has no way to switch it off
UNCLIPPED = ("rloo",)
COVARIANCE = {"clip": "clip_cov", "kl": "kl_cov"}

ACTOR = "actor_rollout_ref.actor"


def policy_loss(recipe: Recipe, loss: str) -> Settings:
    """`loss` is what verl calls the algorithm's own; Clip-Cov and KL-Cov are others to it."""
    algorithm, key = recipe.algorithm, f"{ACTOR}.policy_loss"
    # verl bounds the ratio below at 1 - low >= 0 by itself where low is 1.
    low, high = algorithm.clip_low, algorithm.clip_high
    if algorithm.name in UNCLIPPED:
        low, high = 1.0, UNBOUNDED
    settings: Settings = {
        f"{key}.loss_mode": loss,
        f"{ACTOR}.clip_ratio": min(low, high),
        f"{ACTOR}.clip_ratio_low": low,
        f"{ACTOR}.clip_ratio_high": high,
        f"{ACTOR}.clip_ratio_c": algorithm.dual_clip or UNBOUNDED,  # verl's own default is 3
    }
    if algorithm.covariance is not None:
        kind = settings[f"{key}.loss_mode"] = COVARIANCE[algorithm.covariance]
        settings[f"{key}.{kind}_ratio"] = algorithm.covariance_share
    if algorithm.covariance == "clip":
        settings[f"{key}.clip_cov_lb"] = algorithm.covariance_low
        settings[f"{key}.clip_cov_ub"] = algorithm.covariance_high
    if algorithm.covariance == "kl":
        settings[f"{key}.ppo_kl_coef"] = algorithm.covariance_coefficient
    return settings
