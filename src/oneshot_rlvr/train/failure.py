"""What is kept of a step whose updates were not finite: the batch, and the model that met it.

`failed/step-STEP/` of the run holds batch.safetensors (tensors of the rollouts, padded with 0),
batch.json (their texts and verdicts, the step's metrics) and model/, an ordinary HF directory with
the weights as they were, since an update that is left out changes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from oneshot_rlvr.policy import Policy, save_policy
from oneshot_rlvr.records.files import to_json
from oneshot_rlvr.train.checkpoint import written_beside
from oneshot_rlvr.types import Graded

FAILED = "failed"


def save_failure(
    run: Path,
    step: int,
    policy: Policy,
    graded: Sequence[Graded],
    advantages: Sequence[float],
    metrics: Mapping[str, float],
) -> Path:
    """Writes and returns the folder. RecordsError when the disk refuses."""
    target = run / FAILED / f"step-{step:06d}"
    with written_beside(target, f"the failed batch of step {step}") as directory:
        save_file(batch_tensors(graded, advantages), directory / "batch.safetensors")
        told = {"step": step, "metrics": dict(metrics), "rollouts": [_row(g) for g in graded]}
        (directory / "batch.json").write_bytes(to_json(told, indent=1))
        save_policy(policy, directory / "model")
    return target


def batch_tensors(graded: Sequence[Graded], advantages: Sequence[float]) -> dict[str, Tensor]:
    """N rollouts as tensors, each named with its shape; padded with 0."""
    rollouts = [item.rollout for item in graded]

    def padded(rows: Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
        return pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], batch_first=True)

    return {
        "prompts_N_T": padded([r.prompt_tokens for r in rollouts], torch.int64),
        "tokens_N_T": padded([r.tokens for r in rollouts], torch.int64),
        "logprobs_N_T": padded([r.logprobs for r in rollouts], torch.float32),
        "prompt_lengths_N": torch.tensor([len(r.prompt_tokens) for r in rollouts]),
        "lengths_N": torch.tensor([len(r.tokens) for r in rollouts]),
        "rewards_N": torch.tensor([g.reward for g in graded], dtype=torch.float64),
        "advantages_N": torch.tensor(advantages, dtype=torch.float64),
    }


def _row(item: Graded) -> dict[str, Any]:
    rollout, verdict = item.rollout, item.verdict
    return {
        "row": rollout.row,
        "index": rollout.index,
        "example_id": rollout.example_id,
        "text": rollout.text,
        "finished": rollout.finished,
        "reason": str(verdict.reason),
        "reward": item.reward,
    }
