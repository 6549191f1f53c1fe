"""verl's door: `compute_score`, for `reward.custom_reward_function.path`. Needs no verl to import.

    reward.custom_reward_function.path=<this file>  reward.custom_reward_function.name=compute_score

`ground_truth` is the gold, or a worked solution that ends in it. `extra_info["verifier"]` names the
kind (default: the keyword `verifier`, math_answer); the kind's options stand in `extra_info` (a
table, or JSON text of one) under their own names, or as keywords
(`reward.custom_reward_function.reward_kwargs`). Grading runs in killable
processes, so it works from verl's threads and Ray workers, where SIGALRM does not.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.examples.columns import gold_of
from oneshot_rlvr.examples.values import native
from oneshot_rlvr.rewards import ARMS
from oneshot_rlvr.rewards.scorer import Scorer
from oneshot_rlvr.rewards.trl import table
from oneshot_rlvr.types import Example, Rollout
from oneshot_rlvr.verifiers import get_verifier

_scorers: dict[RewardConfig, Scorer] = {}
_lock = threading.Lock()


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | str | None = None,
    *,
    verifier: str = "math_answer",
    timeout_seconds: float = 5.0,
    arm: str = "outcome",
    **options: Any,
) -> dict[str, float]:
    """{"score": the arm's reward, "acc": 1 for a right answer, "verdict_score": 0..1}.

    Errors: DataError for a bad gold or option; never for the response.
    """
    if ARMS.load(arm).random or not ARMS.load(arm).alone:
        raise ConfigError(
            f"arm {arm!r} needs a rollout's place in its step, its group or the policy, which verl "
            "does not tell compute_score. Use an arm that looks at the response."
        )
    info = table(f"a row of {data_source!r}", "extra_info", extra_info)
    kind = str(info.get("verifier") or verifier)
    known = get_verifier(kind).options
    extra = {key: native(value) for key, value in options.items() if key in known}
    extra |= {key: value for key, value in info.items() if key in known and value is not None}
    identity = str(info.get("index", data_source))
    where = f"row {identity!r} of {data_source!r}"
    gold = gold_of(where, "ground_truth", ground_truth, kind)
    example = Example(identity, "", gold, kind, extra=extra)
    rollout = Rollout(0, 0, identity, (), (), (), solution_str, True)
    scorer = _scorer(RewardConfig(arm=arm, timeout_seconds=timeout_seconds))
    (graded,) = scorer.score([rollout], {identity: example}, step=0)
    return {
        "score": graded.reward,
        "acc": float(graded.verdict.correct),
        "verdict_score": graded.verdict.score,
    }


def _scorer(config: RewardConfig) -> Scorer:
    """One scorer per setting and process; its workers end with the process."""
    with _lock:
        if config not in _scorers:
            _scorers[config] = Scorer(config, seed=0)
        return _scorers[config]
