"""verl's reward manager, which also tells the reward function about the rollout it grades.

verl tells a reward function the text only. Ours also needs the number of tokens (length penalty),
whether the answer ended by itself, and the rollout's place in its step (the random arm).
"""

from __future__ import annotations

from typing import Any

from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from oneshot_rlvr.policy.ends import saved_end_ids


class OneshotRewardManager(RewardManagerBase):
    """Grades one rollout a call, in a thread: the grader itself waits for another process."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any, *_: Any, **__: Any):
        super().__init__(config, tokenizer, compute_score)
        self.compute_score = compute_score
        model = config.actor_rollout_ref.model
        ends = saved_end_ids(tokenizer, model.path, trust_remote_code=model.trust_remote_code)
        self.ends = frozenset(ends)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """{"reward_score": float, "reward_extra_info": {...}} of the last output of a rollout."""
        item = data[-1:][0]
        fields = item.non_tensor_batch
        responses_T = item.batch["responses"]
        length = int(item.batch["attention_mask"][-responses_T.shape[-1] :].sum())
        extra_info = {
            **(fields.get("extra_info") or {}),
            "tokens": responses_T[:length].tolist(),
            "step": int(fields.get("global_steps", 0)),
            "session": int(fields.get("session_id", 0)),
            "ends": self.ends,
            "tokenizer": self.tokenizer,
        }
        result = await self.loop.run_in_executor(
            None,
            lambda: self.compute_score(
                data_source=fields["data_source"],
                solution_str="",
                ground_truth=fields["reward_model"]["ground_truth"],
                extra_info=extra_info,
            ),
        )
        return {"reward_score": result["score"], "reward_extra_info": result}
