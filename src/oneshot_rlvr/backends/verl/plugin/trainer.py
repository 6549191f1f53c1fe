"""verl's trainer, which also writes what verl's own dumps leave out: tokens, log-probabilities,
advantages and the place of every rollout in its step.

A step's file appears by rename, so that whoever reads along never meets half of one. The folder is
ONESHOT_VERL_RECORDS; `records.py` reads it. ONESHOT_VERL_DETAIL=1 adds one list per token of what
the loss was made of (for comparisons; too large for long runs).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transfer_queue as tq

DETAIL = ("old_log_probs", "ref_log_prob", "advantages", "entropy", "values", "returns")


def recording(base: Any) -> Any:
    """A subclass of verl's trainer that writes rollouts and validations for our records."""

    class RecordingTrainer(base):
        """Differs from its base in what it writes only."""

        def _submit_batch_to_rollout(self, batch: Any) -> int:
            # The order of the data file is the order of our rows; what comes back is not ordered.
            self._row_of = {str(uid): row for row, uid in enumerate(list(batch["uid"]))}
            return int(super()._submit_batch_to_rollout(batch))

        def _log_rollout_data(self, batch: Any, timing_raw: dict, rollout_data_dir: str) -> None:
            keys = [
                key
                for key, tag in zip(batch.keys, batch.tags, strict=True)
                if not tag.get("is_padding", False)
            ]
            fields = ["prompts", "responses", "response_mask", "rm_scores", "rollout_log_probs"]
            wanted = [*fields, "extra_fields", *DETAIL]
            data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=wanted)
            columns = _columns(data, keys, self._row_of, self.global_steps)
            path = Path(os.environ["ONESHOT_VERL_RECORDS"]) / "rollouts"
            path.mkdir(parents=True, exist_ok=True)
            name = f"step-{self.global_steps:06d}.parquet"
            pq.write_table(pa.table(columns), path / f".{name}.part", compression="zstd")
            os.replace(path / f".{name}.part", path / name)

        @staticmethod
        def _write_generations(
            inputs: list,
            outputs: list,
            gts: list,
            scores: list,
            reward_extra_infos_dict: dict,
            dump_path: str,
            global_steps: int,
        ) -> None:
            hidden = os.path.join(dump_path, ".part")
            base._write_generations(
                inputs, outputs, gts, scores, reward_extra_infos_dict, hidden, global_steps
            )
            name = f"{global_steps}.jsonl"
            os.replace(os.path.join(hidden, name), os.path.join(dump_path, name))

    return RecordingTrainer


def _columns(data: Any, keys: list[str], row_of: dict[str, int], step: int) -> dict[str, list]:
    """One entry a rollout in every column, ordered by row, then index."""
    infos = [_info(fields) for fields in _objects(data["extra_fields"])]
    places = []
    for key in keys:
        uid, index, _ = key.rsplit("_", 2)
        places.append((row_of[uid], int(index)))
    order = sorted(range(len(keys)), key=places.__getitem__)
    kept = [m.bool() for m in _rows(data["response_mask"])]
    advantages = [a[m].float() for a, m in zip(_rows(data["advantages"]), kept, strict=True)]
    columns: dict[str, list] = {
        "step": [step] * len(keys),
        "row": [row for row, _ in places],
        "index": [index for _, index in places],
        "prompt_tokens": [t.tolist() for t in _rows(data["prompts"])],
        "tokens": [t.tolist() for t in _rows(data["responses"])],
        "logprobs": _lists(data, "rollout_log_probs", kept),
        "reward": [float(r.sum()) for r in _rows(data["rm_scores"])],
        # One number a rollout, as in our records; GAE's differ by token and are averaged.
        "advantage": [float(a.mean()) if a.numel() else 0.0 for a in advantages],
        "logprob_gap": _gaps(data, kept),
    }
    for name in ("example_id", "text", "reason", "extracted"):
        columns[name] = [str(info[name]) for info in infos]
    for name in ("finished", "acc"):
        columns[name] = [bool(info[name]) for info in infos]
    columns["verdict_score"] = [float(info["verdict_score"]) for info in infos]
    if os.environ.get("ONESHOT_VERL_DETAIL"):
        for name in DETAIL:
            if name in data.keys():  # noqa: SIM118 - a TensorDict is no dict
                columns[name] = _lists(data, name, kept)
    return {name: [values[n] for n in order] for name, values in columns.items()}


def _info(fields: Any) -> dict[str, Any]:
    info = fields.get("reward_extra_info") if isinstance(fields, dict) else None
    if not info:
        raise RuntimeError("a rollout came back without its verdict: its reward was not computed")
    return dict(info)


def _objects(values: Any) -> list[Any]:
    """A column that is no tensor, in whatever container the queue gives it back."""
    items = values.tolist() if hasattr(values, "tolist") else list(values)
    return [getattr(item, "data", item) for item in items]


def _rows(values: Any) -> list[torch.Tensor]:
    """A nested (or padded) tensor as one tensor a rollout."""
    return list(values.unbind(0))


def _lists(data: Any, name: str, kept: list[torch.Tensor]) -> list[list[float]]:
    return [
        row[: len(mask)][mask].float().tolist()
        for row, mask in zip(_rows(data[name]), kept, strict=True)
    ]


def _gaps(data: Any, kept: list[torch.Tensor]) -> list[float]:
    """Largest difference of the sampler's and the trainer's log-probability, per rollout."""
    pairs = zip(_rows(data["rollout_log_probs"]), _rows(data["old_log_probs"]), kept, strict=True)
    return [
        float((a[: len(m)][m].float() - b[: len(m)][m].float()).abs().max())
        if bool(m.any())
        else 0.0
        for a, b, m in pairs
    ]
