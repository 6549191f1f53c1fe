"""REINFORCE against the mean of the row's other rollouts (arXiv 2402.14740).

Ahmadian et al. 2024. The answer is one action, hence no mean over its length; the KL penalty is
part of the reward.
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.advantages import leave_one_out
from oneshot_rlvr.algorithms.algorithm import Algorithm, per_rollout
from oneshot_rlvr.algorithms.reinforce import unclipped

against_others = per_rollout(lambda rewards_P_G, config: leave_one_out(rewards_P_G))

RLOO = Algorithm(name="rloo", advantage=against_others, objective=unclipped)
