"""What this package makes of the rollouts that verl trained on, beside what verl made of them.

A step of a finished run on verl is done again here: the same tokens and rewards, the weights that
verl saved before the step, the same recipe. Loss, its terms, entropy, divergence and advantages
should be verl's, but for the rounding of sums in another order. Used by a test and by
`benchmarks/verl_agreement.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from oneshot_rlvr.backends.verl.checkpoints import plain_weights
from oneshot_rlvr.backends.verl.convert import METRICS, RENAMED, read_metrics, read_rollouts
from oneshot_rlvr.config import parse_recipe
from oneshot_rlvr.records import Run

if TYPE_CHECKING:
    from torch import Tensor

    from oneshot_rlvr.policy import Policy

COMPARED = ("train/loss", "train/policy_loss", "train/kl", "train/entropy_nats")


def differences(run: Path, step: int) -> dict[str, float]:
    """{quantity: |ours - verl's|} of a step; "advantages" is the largest of all rollouts' tokens.

    "weights", of the first step only (later ones go on from an optimizer's state): how far ours are
    from verl's after it, as a share of what it changed.

    The run must have a checkpoint of the step before (any of the base for step 1), and for the
    tokens' advantages have been made with ONESHOT_VERL_DETAIL=1.
    """
    from oneshot_rlvr.policy import load_policy
    from oneshot_rlvr.policy.reference import Reference
    from oneshot_rlvr.train.step import TrainStep

    recipe = parse_recipe(Run(run).info["recipe"])
    records = run / "verl" / "out"
    every, every_advantage, _, beside = read_rollouts(records / "rollouts", step)
    learned = beside["learned"]
    graded = [item for item, kept in zip(every, learned, strict=True) if kept]
    advantages = [value for value, kept in zip(every_advantage, learned, strict=True) if kept]
    theirs = read_metrics(_metrics_file(records, step))[step]
    base = load_policy(recipe.model)
    policy = base
    if step > 1:
        weights = plain_weights(records / "checkpoints", step - 1)
        policy = load_policy(recipe.model.model_copy(update={"path": str(weights)}))
    trainer = TrainStep(policy, recipe, reference=Reference(base.model))
    before = {k: v.detach().clone() for k, v in policy.model.state_dict().items()}
    ours = trainer.update(graded)
    told = {name: abs(ours.metrics[name] - theirs[_verls(name)]) for name in COMPARED}
    wanted = _token_advantages(records, step) or [[a] for a in advantages]
    told["advantages"] = max(
        abs(mine - other)
        for mine, row in zip(ours.advantages, wanted, strict=True)
        for other in row
    )
    if step == 1:
        told["weights"] = _apart(policy, before, plain_weights(records / "checkpoints", step))
    return told


def _apart(policy: Policy, before: Mapping[str, Tensor], saved: Path) -> float:
    from oneshot_rlvr.config import ModelConfig
    from oneshot_rlvr.policy import load_policy

    theirs = load_policy(ModelConfig(path=str(saved), device="cpu", dtype="float32"))
    after, mine = theirs.model.state_dict(), policy.model.state_dict()
    apart = sum(float((mine[k] - after[k]).square().sum()) for k in before)
    moved = sum(float((before[k] - after[k]).square().sum()) for k in before)
    return (apart / moved) ** 0.5


def _verls(name: str) -> str:
    return next(theirs for theirs, mine in RENAMED.items() if mine == name)


def _metrics_file(records: Path, step: int) -> Path:
    """The file that has the step: verl begins a new one at every start."""
    for path in (records / METRICS, *sorted(records.glob("metrics-to-*.jsonl"))):
        if step in read_metrics(path):
            return path
    raise FileNotFoundError(f"no metrics of step {step} in {records}")


def _token_advantages(records: Path, step: int) -> list[list[float]] | None:
    path = records / "rollouts" / f"step-{step:06d}.parquet"
    with pq.ParquetFile(path) as file:
        if "advantages" not in file.schema_arrow.names:
            return None
        every = file.read(columns=["advantages"]).to_pydict()["advantages"]
        return [row for row in every if row is not None]  # of what was trained on
