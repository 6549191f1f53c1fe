"""What verl writes, as our records, while it writes.

    rollouts/step-000001.parquet   the plugin's: every rollout with tokens, verdict, advantage
    metrics.jsonl                  verl's file logger: {"step": 1, "data": {...}}
    validation/1.jsonl             verl's dump of the answers to the validation set

A step is taken when its metrics are there, which verl writes last; validations as they appear. So
`report` and all that reads records works on a run that is still going. What verl measures beyond
our metrics stays in its own files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import RunError
from oneshot_rlvr.estimators import equal_rewards
from oneshot_rlvr.evaluation.decoding import described
from oneshot_rlvr.records import Run, RunWriter, summarise
from oneshot_rlvr.types import Example, Graded, Reason, Rollout, Verdict

METRICS, ROLLOUTS, VALIDATION = "metrics.jsonl", "rollouts", "validation"

RENAMED = {
    "actor/loss": "train/loss",
    "actor/pg_loss": "train/policy_loss",
    "actor/kl_loss": "train/kl",
    "actor/reward_kl_penalty": "train/kl",
    "actor/entropy": "train/entropy_nats",
    "actor/pg_clipfrac": "train/clip_share",
    "actor/grad_norm": "train/gradient_norm",
    "actor/lr": "optimizer/learning_rate",
    "critic/vf_loss": "train/value_loss",
    "critic/grad_norm": "train/critic_gradient_norm",
    "critic/vf_explained_var": "train/explained_variance",
}
"""verl's metric -> ours."""

SECONDS = {
    "generate_seconds": ("gen",),
    "update_seconds": (
        *("old_log_prob", "ref", "values", "adv", "update_critic", "update_actor"),
        "update_weights",
    ),
    "evaluate_seconds": ("testing",),
    "checkpoint_seconds": ("save_checkpoint",),
}
"""Our timing -> verl's `timing_s/...` that it sums."""


class Converter:
    """Takes over one step after the other. `records` is where verl writes."""

    def __init__(
        self,
        recipe: Recipe,
        writer: RunWriter,
        records: Path,
        validation: list[Example],
        *,
        after: int,
        told: Callable[[int, Mapping[str, float]], None],
        note: Callable[[str], None],
    ):
        self._recipe = recipe
        self._resamples = recipe.algorithm.dynamic_sampling
        self._writer = writer
        self._records = records
        self._questions = {example.id: n for n, example in enumerate(validation)}
        self._validation = {example.id: example for example in validation}
        self._told = told
        self._note = note
        self.step = after  # the last one taken
        self.skipped = 0  # updates in a row without a finite gradient
        self._done = {s for name, s in Run(writer.directory).evaluations() if name == VALIDATION}
        self._accuracy: dict[int, float] = {}

    def take(self) -> bool:
        """Takes over what is new; whether there was anything."""
        before = (self.step, len(self._done))
        for step in sorted(self._validated() - self._done):
            self._take_validation(step)
        lines = read_metrics(self._records / METRICS)
        while self.step + 1 in lines:
            self._take_step(self.step + 1, lines[self.step + 1])
        return before != (self.step, len(self._done))

    def _validated(self) -> set[int]:
        found = (self._records / VALIDATION).glob("*.jsonl")
        return {int(path.stem) for path in found if path.stem.isdigit()}

    def _take_step(self, step: int, data: Mapping[str, float]) -> None:
        from oneshot_rlvr.train.metrics import METRICS as OURS
        from oneshot_rlvr.train.metrics import TIMINGS, checked, rollout_metrics

        every, advantages, gap, beside = read_rollouts(self._records / ROLLOUTS, step)
        graded = [item for item, kept in zip(every, beside["learned"], strict=True) if kept]
        rows: dict[int, list[float]] = {}
        for item in graded:
            rows.setdefault(item.rollout.row, []).append(item.reward)
        expected = self._recipe.rollouts.prompts_per_step * self._recipe.rollouts.group_size
        if len(graded) != expected:
            self._note(f"step {step}: verl trained on {len(graded)} of {expected} rollouts")
        metrics = {
            **rollout_metrics(graded),
            **(resampling_metrics(every, beside) if self._resamples else {}),
            **per_token(renamed(data), self._recipe, graded),
            "train/zero_variance_share": sum(map(equal_rewards, rows.values())) / len(rows),
            "train/logprob_gap": gap,
        }
        norm = data.get("actor/grad_norm", 0.0)
        whole = norm is not None and math.isfinite(norm)
        self.skipped = 0 if whole else self.skipped + 1
        metrics["train/skipped_updates"] = float(not whole)
        seconds = timings(data, metrics["train/tokens"])
        self._writer.rollouts(step, every, advantages, beside if self._resamples else None)
        self._writer.metrics(step, checked(metrics, OURS))
        self._writer.timings(step, checked(seconds, TIMINGS))
        shown = {**metrics, "tokens_per_second": seconds.get("tokens_per_second", 0.0)}
        if step in self._accuracy:
            shown["validation/accuracy"] = self._accuracy[step]
        self.step = step
        self._told(step, shown)

    def _take_validation(self, step: int) -> None:
        config = self._recipe.evaluation.validation
        assert config is not None
        samples = read_samples(self._records / VALIDATION / f"{step}.jsonl", self._validation)
        samples.sort(key=lambda s: (self._questions[s["example_id"]], s["sample"]))
        told = described(config, self._recipe.model.template_arguments)
        samples = [{**sample, "decoding": told} for sample in samples]
        summary = summarise(
            samples,
            benchmark=config.benchmark,
            temperature=config.temperature,
            seed=config.seed,
            split=config.split,
            max_new_tokens=self._recipe.rollouts.max_new_tokens,
            decoding=told,
        )
        self._writer.evaluation(VALIDATION, step, samples, summary)
        self._accuracy[step] = float(summary["overall"]["accuracy"]["value"])
        self._done.add(step)


def read_metrics(path: Path) -> dict[int, dict[str, float]]:
    """{step: metrics} of every whole line of verl's file that is a training step's."""
    if not path.exists():
        return {}
    lines = path.read_bytes().split(b"\n")[:-1]
    rows = [json.loads(line) for line in lines]
    return {r["step"]: r["data"] for r in rows if "training/global_step" in r["data"]}


def resampling_metrics(
    graded: Sequence[Graded], beside: Mapping[str, Sequence[Any]]
) -> dict[str, float]:
    """What a local run tells of dynamic sampling: of first answers, of everything, of what was
    dropped."""
    from oneshot_rlvr.train.metrics import rollout_metrics

    told = list(zip(graded, beside["sampling"], beside["learned"], strict=True))
    dropped = [item for item, _, learned in told if not learned]
    return {
        **rollout_metrics([item for item, sampling, _ in told if sampling == 1]),
        "train/tokens": float(sum(len(item.rollout.tokens) for item in graded)),
        "train/resampled_rows": float(len({item.rollout.row for item in dropped})),
        "train/discarded_tokens": float(sum(len(item.rollout.tokens) for item in dropped)),
    }


def read_rollouts(
    folder: Path, step: int
) -> tuple[list[Graded], list[float], float, dict[str, list[Any]]]:
    """Rollouts by row and index, their advantages, the largest gap of log-probabilities, and the
    columns `sampling` and `learned`. What was trained on comes first.

    RunError where the file is missing: the plugin did not run in verl's processes.
    """
    path = folder / f"step-{step:06d}.parquet"
    if not path.exists():
        raise RunError(
            f"verl finished step {step} and left no {path.name}: its processes did not load "
            "oneshot_rlvr.backends.verl.plugin. Install oneshot-rlvr in every Python of the cluster"
        )
    with pq.ParquetFile(path) as file:
        rows = file.read().to_pylist()
    if not rows:
        raise RunError(f"verl trained step {step} on no rollout at all; see its log")
    graded = [
        Graded(
            Rollout(
                row["row"],
                row["index"],
                row["example_id"],
                tuple(row["prompt_tokens"]),
                tuple(row["tokens"]),
                tuple(row["logprobs"]),
                row["text"],
                row["finished"],
            ),
            Verdict(
                row["acc"],
                Reason(row["reason"]),
                json.loads(row["extracted"]),
                score=float(row.get("verdict_score", row["acc"])),
            ),
            row["reward"],
        )
        for row in rows
    ]
    beside: dict[str, list[Any]] = {
        "sampling": [int(row.get("sampling", 1)) for row in rows],
        "learned": [bool(row.get("learned", True)) for row in rows],
    }
    gap = max(row["logprob_gap"] for row in rows)
    return graded, [row["advantage"] for row in rows], gap, beside


def read_samples(path: Path, examples: Mapping[str, Example]) -> list[dict[str, Any]]:
    """Graded answers (columns of records.schema) of one of verl's validation dumps."""
    samples = []
    # Not splitlines(): texts hold separators of lines that are no newline.
    for line in filter(None, path.read_text(encoding="utf-8").split("\n")):
        row = json.loads(line)
        example = examples[row["example_id"]]
        samples.append(
            {
                "example_id": example.id,
                "group": str(example.extra.get("group", "")),
                "domain": example.domain,
                "family": example.family,
                "question": example.question,
                "answer": example.answer,
                "sample": int(row["uid"].rsplit("_", 2)[1]),
                "text": row["text"],
                "tokens": int(row["tokens"]),
                "finished": bool(row["finished"]),
                "correct": bool(row["acc"]),
                "reason": row["reason"],
                "extracted": json.loads(row["extracted"]),
                "score": float(row.get("verdict_score", row["acc"])),
                "boxed": bool(row["boxed"]),
            }
        )
    return samples


def renamed(data: Mapping[str, float]) -> dict[str, float]:
    """Our metrics, as far as verl measures them and they are finite."""
    return {
        ours: float(data[theirs])
        for theirs, ours in RENAMED.items()
        if data.get(theirs) is not None and math.isfinite(data[theirs])
    }


def per_token(
    metrics: dict[str, float], recipe: Recipe, graded: Sequence[Graded]
) -> dict[str, float]:
    """Entropy and KL in nats a token: verl tells them averaged as its loss, by a fixed length
    too, whose weights add up to mean length / max_new_tokens."""
    if recipe.algorithm.averaging != "fixed_length":
        return metrics
    tokens = sum(len(item.rollout.tokens) for item in graded)
    factor = recipe.rollouts.max_new_tokens * len(graded) / tokens
    told = ["train/entropy_nats"]
    told += ["train/kl"] if recipe.algorithm.kl_place == "loss" else []
    return {key: value * factor if key in told else value for key, value in metrics.items()}


def timings(data: Mapping[str, float], tokens: float) -> dict[str, float]:
    """Our timings of a step, from verl's."""

    def seconds(*names: str) -> float:
        return sum(data.get(f"timing_s/{name}") or 0.0 for name in names)

    told = {
        name: seconds(*parts)
        for name, parts in SECONDS.items()
        if any(f"timing_s/{part}" in data for part in parts)
    }
    told["step_seconds"] = seconds("step", "testing")
    work = seconds("step") - seconds("save_checkpoint")
    if work > 0:
        told["tokens_per_second"] = tokens / work
    return told
