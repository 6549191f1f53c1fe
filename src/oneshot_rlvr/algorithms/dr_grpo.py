"""GRPO without division by the group's std or the answer's length (arXiv 2503.20783).

Liu et al. 2025, "Understanding R1-Zero-like training", section 3.2. Its `averaging` is
"fixed_length"; KL and entropy terms are off unless the recipe sets them.
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.advantages import group_centred
from oneshot_rlvr.algorithms.algorithm import Algorithm, per_rollout
from oneshot_rlvr.algorithms.grpo import clipped

centred = per_rollout(lambda rewards_P_G, config: group_centred(rewards_P_G))

DR_GRPO = Algorithm(name="dr_grpo", advantage=centred, objective=clipped)
