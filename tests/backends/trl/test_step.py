"""The exported script's own steps, done again here: the weights that come of them are the same.

Every default of TRL's that an export leaves alone is in this: one that trained by another gradient,
schedule or optimizer would leave other weights.
"""

import os
import runpy
import sys

import pytest
import torch

from oneshot_rlvr.backends.trl.export import export
from oneshot_rlvr.config import ModelConfig, load_recipe
from oneshot_rlvr.policy import load_policy
from oneshot_rlvr.policy.reference import Reference
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict

pytestmark = [pytest.mark.trl, pytest.mark.timeout(900)]

STEPS, ROWS, GROUP = 3, 2, 8
OVERRIDES = {
    "rollouts.prompts_per_step": ROWS, "rollouts.group_size": GROUP, "rollouts.max_new_tokens": 40,
    "train.steps": STEPS, "train.save_every": 0, "train.threads": 1, "reward.workers": 0,
    "train.micro_batch_tokens": 1 << 16, "optimizer.warmup_steps": 2,
    # Terms large enough to be seen in the weights: a KL term weighed otherwise, or an entropy term
    # of another sign, is no rounding.
    "algorithm.kl_coefficient": 0.5, "algorithm.entropy_coefficient": 0.05,
}  # fmt: skip


def run_script(folder, more, monkeypatch):
    """What TRL sampled and rewarded, and its weights before every step and after the last."""
    from trl import GRPOTrainer

    from oneshot_rlvr.rewards.trl import TrlReward

    sampled, rewarded, weights = [], [], []
    generate, grade, save = (
        GRPOTrainer._generate_and_score_completions, TrlReward.__call__, GRPOTrainer.save_model,
    )  # fmt: skip

    def state(trainer):
        return {k: v.detach().clone() for k, v in trainer.model.state_dict().items()}

    def generating(self, inputs):
        weights.append(state(self))
        output = generate(self, inputs)
        sampled.append({k: v.clone() for k, v in output.items() if torch.is_tensor(v)})
        return output

    def grading(self, *args, **kwargs):
        rewards = grade(self, *args, **kwargs)
        rewarded.append(list(rewards))
        return rewards

    def saving(self, *args, **kwargs):
        weights.append(state(self))
        return save(self, *args, **kwargs)

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", generating)
    monkeypatch.setattr(TrlReward, "__call__", grading)
    monkeypatch.setattr(GRPOTrainer, "save_model", saving)
    monkeypatch.setattr(sys, "argv", ["train.py", *more])
    monkeypatch.setitem(os.environ, "TQDM_DISABLE", "1")
    runpy.run_path(str(folder / "train.py"), run_name="__main__")
    return sampled, rewarded, weights


def graded(output, rewards):
    """TRL's completions as our rollouts."""
    found = []
    for n, (ids, mask) in enumerate(
        zip(output["completion_ids"], output["completion_mask"], strict=True)
    ):
        tokens = tuple(ids[mask.bool()].tolist())
        prompt = tuple(output["prompt_ids"][n][output["prompt_mask"][n].bool()].tolist())
        rollout = Rollout(
            n // GROUP, n % GROUP, "x", prompt, tokens, (0.0,) * len(tokens), "", True
        )
        right = rewards[n] > 0
        verdict = Verdict(right, Reason.CORRECT if right else Reason.MISMATCH)
        found.append(Graded(rollout, verdict, float(rewards[n])))
    return found


def difference(folder, more, monkeypatch):
    """|our weights - TRL's| over |what training changed|, after all steps."""
    recipe = load_recipe("tiny_one_shot", OVERRIDES)
    if not folder.exists():
        export(recipe, folder)
    sampled, rewarded, weights = run_script(folder, more, monkeypatch)
    assert len(sampled) == len(rewarded) == STEPS
    assert any(0 < sum(rewards) < ROWS * GROUP for rewards in rewarded)  # there is a gradient
    policy = load_policy(ModelConfig(path=str(folder / "model")))
    assert all(torch.equal(weights[0][k], v) for k, v in policy.model.state_dict().items())
    trainer = TrainStep(policy, recipe, reference=Reference(policy.model))
    for output, rewards in zip(sampled, rewarded, strict=True):
        trainer.update(graded(output, rewards))
    ours, theirs = policy.model.state_dict(), weights[-1]
    apart = sum(float((ours[k] - theirs[k]).square().sum()) for k in ours)
    moved = sum(float((weights[0][k] - theirs[k]).square().sum()) for k in ours)
    return (apart / moved) ** 0.5


def test_three_steps_of_the_exported_script_leave_our_weights(tmp_path, monkeypatch):
    # 1e-4 instead of 1e-6 in a group's std, and sums in another order.
    assert difference(tmp_path / "out", [], monkeypatch) < 0.003


@pytest.mark.parametrize(
    "default",
    [
        ("--loss_type", "grpo"),
        ("--weight_decay", "10"),
        ("--lr_scheduler_type", "linear", "--warmup_steps", "0", "--adam_beta2", "0.9"),
    ],
)
def test_a_default_that_is_not_the_recipe_s_would_be_seen(default, tmp_path, monkeypatch):
    assert difference(tmp_path / "out", list(default), monkeypatch) > 0.005
