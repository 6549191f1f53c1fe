"""What each algorithm's own paper sets, and which keys it has no use for; presets of adapters.

A key that a recipe leaves out gets the algorithm's value, so that `name = "dapo"` alone is DAPO;
the resolved recipe writes it out. A key that an algorithm would ignore is refused instead. Not
here: what the algorithms compute (`algorithms/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NO_TERMS = {"kl_coefficient": 0.0, "entropy_coefficient": 0.0}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The 1-shot RLVR paper (arXiv 2504.20571): the defaults of the fields.
    "grpo": {},
    # Liu et al. 2025, arXiv 2503.20783: no division by the std, none by the length, no KL.
    "dr_grpo": {**_NO_TERMS, "averaging": "fixed_length"},
    # Yu et al. 2025, arXiv 2503.14476: 3.1 to 3.4. The buffer is 4,096 of 20,480 tokens.
    "dapo": {
        **_NO_TERMS,
        "clip_high": 0.28,
        "overlong_buffer_share": 0.2,
        "dynamic_sampling": True,
    },
    # Williams 1992: the gradient of log p of the whole answer, hence no mean over its length.
    "reinforce": {**_NO_TERMS, "averaging": "fixed_length"},
    # Ahmadian et al. 2024, arXiv 2402.14740: KL in the reward. Its weight is TRL's default.
    "rloo": {
        "kl_coefficient": 0.05,
        "kl_estimator": "k1",
        "kl_place": "reward",
        "entropy_coefficient": 0.0,
        "averaging": "fixed_length",
    },
    # Hu 2025, arXiv 2501.03262: PPO's clipping, k1 per token in the reward, no critic. Its weight
    # is that of the author's OpenRLHF.
    "reinforce_plus_plus": {
        "kl_coefficient": 0.01,
        "kl_estimator": "k1",
        "kl_place": "reward",
        "entropy_coefficient": 0.0,
    },
    # The 1-shot RLVR paper's PPO: its GRPO setting, with a critic.
    "ppo": {"critic": "own"},
    # Zheng et al. 2025, arXiv 2507.18071, section 5.1.
    "gspo": {**_NO_TERMS, "clip_low": 3e-4, "clip_high": 4e-4, "averaging": "sequence"},
    # MiniMax 2025, arXiv 2506.13585: no lower bound; it leaves the upper one open, which is that of
    # Khatri et al. 2025 (arXiv 2510.13786): a ratio of 5.
    "cispo": {**_NO_TERMS, "clip_low": 1.0, "clip_high": 4.0},
    # Dong et al. 2023, arXiv 2304.06767: likelihood of the rewarded rollouts, nothing beside it.
    "raft": {**_NO_TERMS},
}

LORA_PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Schulman et al. 2025, "LoRA without regret", thinkingmachines.ai: adapters on every linear
    # layer, alpha 32 whatever the rank, ten times the learning rate of all weights, and a rank that
    # holds what the data teach (0: `policy/lora.py:rank_for`).
    "without_regret": {"alpha": 32.0, "rank": 0, "rate_factor": 10.0},
}

COMPARES_GROUPS = ("grpo", "dr_grpo", "dapo", "rloo", "gspo", "cispo")
"""These measure a rollout against the others of its row, so a row needs two."""

NORMALISED = ("grpo", "dapo", "gspo", "cispo")
_CLIPPED = ("grpo", "dr_grpo", "dapo", "reinforce_plus_plus", "ppo", "gspo", "cispo")
_VALUES = (
    "gae_lambda",
    "value_coefficient",
    "value_clip",
    "critic",
    "critic_learning_rate",
)
_TOKEN_CLIPPED = ("grpo", "dr_grpo", "dapo", "reinforce_plus_plus", "ppo")
"""Those that clip each token's ratio as PPO does: what dual clip, Clip-Cov and KL-Cov change."""

_OF_CLIPPING = (
    "dual_clip",
    "covariance",
    "covariance_share",
    "covariance_low",
    "covariance_high",
    "covariance_coefficient",
)
USED_BY: Mapping[str, tuple[str, ...]] = {
    "clip_low": _CLIPPED,
    "clip_high": _CLIPPED,
    "std_floor": NORMALISED,
    "zero_variance_coefficient": COMPARES_GROUPS,
    "gamma": ("ppo", "reinforce_plus_plus"),
    **dict.fromkeys(_VALUES, ("ppo",)),
    **dict.fromkeys(_OF_CLIPPING, _TOKEN_CLIPPED),
}
"""Keys that only some algorithms read; a value that is not the default is refused elsewhere."""

OFF_AT_ZERO = ("std_floor",)
"""Of these, 0 says that they are off, which every algorithm can honour."""
