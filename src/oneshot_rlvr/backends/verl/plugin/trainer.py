"""verl's trainer, which also writes what verl's own dumps leave out: tokens, log-probabilities,
advantages, the place of every rollout in its step, and with dynamic sampling the groups that verl
drops (equal rewards, or more than a step needs).

A step's file appears by rename, so that whoever reads along never meets half of one. The folder is
ONESHOT_VERL_RECORDS; `records.py` reads it. ONESHOT_VERL_DETAIL=1 adds one list per token of what
the loss was made of (for comparisons; too large for long runs).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transfer_queue as tq

FIELDS = ("prompts", "responses", "response_mask", "rm_scores", "rollout_log_probs")
DETAIL = ("old_log_probs", "ref_log_prob", "advantages", "entropy", "values", "returns")


def recording(base: Any) -> Any:
    """A subclass of verl's trainer that writes rollouts and validations for our records."""

    class RecordingTrainer(base):
        """Differs from its base in what it writes only."""

        _groups: Groups | None = None

        def _build_replay_buffer(self) -> Any:
            # With dynamic sampling verl drops what it does not train on as soon as it knows.
            buffer = super()._build_replay_buffer()
            clear = buffer._clear_groups

            def keep_and_clear(partition_id: str, uids: set[str]) -> None:
                if partition_id == "train" and self._groups is not None and uids:
                    known = buffer.partitions[partition_id]
                    self._keep(sorted(key for key in known if key.split("_")[0] in uids))
                clear(partition_id, uids)

            buffer._clear_groups = keep_and_clear
            return buffer

        def _keep(self, keys: list[str]) -> None:
            """Reads rollouts that are about to be dropped."""
            if keys and self._groups is not None:
                fields = [*FIELDS, "extra_fields"]
                data = tq.kv_batch_get(keys=keys, partition_id="train", select_fields=fields)
                self._groups.replaced.append(columns(data, keys, self._groups, learned=False))

        def _submit_batch_to_rollout(self, batch: Any) -> int:
            if self._groups is None or self._groups.step != self.global_steps:
                self._groups = Groups(self.global_steps)
            self._groups.submitted([str(uid) for uid in list(batch["uid"])])
            return int(super()._submit_batch_to_rollout(batch))

        def _log_rollout_data(self, batch: Any, timing_raw: dict, rollout_data_dir: str) -> None:
            keys = [
                key
                for key, tag in zip(batch.keys, batch.tags, strict=True)
                if not tag.get("is_padding", False)
            ]
            wanted = [*FIELDS, "extra_fields", *DETAIL]
            data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=wanted)
            assert self._groups is not None
            table = joined([columns(data, keys, self._groups), *self._groups.replaced])
            path = Path(os.environ["ONESHOT_VERL_RECORDS"]) / "rollouts"
            path.mkdir(parents=True, exist_ok=True)
            name = f"step-{self.global_steps:06d}.parquet"
            pq.write_table(pa.table(table), path / f".{name}.part", compression="zstd")
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


@dataclass(slots=True)
class Groups:
    """The groups of a step: a row's number by verl's name of it, in the order in which they were
    asked, which is that of the data file; what comes back is not ordered.

    `sampling` tells when, from 1; `replaced` are the columns of groups that were dropped.
    """

    step: int
    row_of: dict[str, int] = field(default_factory=dict)
    sampling: dict[str, int] = field(default_factory=dict)
    replaced: list[dict[str, list]] = field(default_factory=list)

    def submitted(self, uids: list[str]) -> None:
        """Groups are asked: the step's own, then whatever takes the place of dropped ones."""
        when = 1 + max(self.sampling.values(), default=0)
        for uid in uids:
            self.row_of[uid], self.sampling[uid] = len(self.row_of), when


def columns(data: Any, keys: list[str], groups: Groups, *, learned: bool = True) -> dict[str, list]:
    """One entry a rollout in every column, ordered by row, then index. What was not learned from
    has no advantage, and nobody has computed its log-probabilities again."""
    infos = [_info(fields) for fields in _objects(data["extra_fields"])]
    uids = [key.rsplit("_", 2)[0] for key in keys]
    places = [
        (groups.row_of[uid], int(key.rsplit("_", 2)[1]))
        for uid, key in zip(uids, keys, strict=True)
    ]
    order = sorted(range(len(keys)), key=places.__getitem__)
    kept = [m.bool() for m in _rows(data["response_mask"])]
    table: dict[str, list] = {
        "step": [groups.step] * len(keys),
        "row": [row for row, _ in places],
        "index": [index for _, index in places],
        "prompt_tokens": [t.tolist() for t in _rows(data["prompts"])],
        "tokens": [t.tolist() for t in _rows(data["responses"])],
        "logprobs": _lists(data, "rollout_log_probs", kept),
        "reward": [float(r.sum()) for r in _rows(data["rm_scores"])],
        "advantage": _advantages(data, kept) if learned else [0.0] * len(keys),
        "logprob_gap": _gaps(data, kept) if learned else [0.0] * len(keys),
        "sampling": [groups.sampling[uid] for uid in uids],
        "learned": [learned] * len(keys),
    }
    for name in ("example_id", "text", "reason", "extracted"):
        table[name] = [str(info[name]) for info in infos]
    for name in ("finished", "acc"):
        table[name] = [bool(info[name]) for info in infos]
    table["verdict_score"] = [float(info["verdict_score"]) for info in infos]
    if os.environ.get("ONESHOT_VERL_DETAIL"):
        for name in DETAIL:
            if name in data.keys():  # noqa: SIM118 - a TensorDict is no dict
                table[name] = _lists(data, name, kept)
    return {name: [values[n] for n in order] for name, values in table.items()}


def joined(tables: list[dict[str, list]]) -> dict[str, list]:
    """One after the other; a column that a later one lacks is None there."""
    names = list(tables[0])
    sizes = [len(table["row"]) for table in tables]
    return {
        name: [
            value
            for table, size in zip(tables, sizes, strict=True)
            for value in table.get(name, [None] * size)
        ]
        for name in names
    }


def _advantages(data: Any, kept: list[torch.Tensor]) -> list[float]:
    """One number a rollout, as in our records; GAE's differ by token and are averaged."""
    masked = [a[m].float() for a, m in zip(_rows(data["advantages"]), kept, strict=True)]
    return [float(a.mean()) if a.numel() else 0.0 for a in masked]


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
