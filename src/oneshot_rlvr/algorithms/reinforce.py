"""REINFORCE with the step's mean reward as baseline (Williams 1992): -A log p, nothing clipped.

Works with rows of one rollout. Several updates per rollout step make its gradient a biased one;
nothing corrects it.
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.advantages import batch_centred
from oneshot_rlvr.algorithms.algorithm import Algorithm, per_rollout
from oneshot_rlvr.algorithms.batch import LossInputs, Surrogate
from oneshot_rlvr.algorithms.objectives import score_function
from oneshot_rlvr.config import AlgorithmConfig

centred = per_rollout(lambda rewards_P_G, config: batch_centred(rewards_P_G))


def unclipped(batch: LossInputs, config: AlgorithmConfig) -> Surrogate:
    """-A log p."""
    return score_function(batch.logprobs_N_T, batch.old_logprobs_N_T, batch.advantages_N_T)


REINFORCE = Algorithm(name="reinforce", advantage=centred, objective=unclipped)
