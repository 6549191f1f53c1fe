"""Checkpoints: what is saved comes back bit for bit, and what is not whole is never used."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from oneshot_rlvr.config import OptimizerConfig
from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.policy import make_optimizer
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.train import checkpoint as room
from oneshot_rlvr.train.checkpoint import (
    Best,
    checkpoint_directory,
    drop_checkpoints_after,
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    read_checkpoint,
    save_checkpoint,
)
from oneshot_rlvr.train.learner import LearnerState

TOKENS = torch.arange(12).view(2, 6)
SMALL = {"hidden": 16, "layers": 1, "heads": 2, "kv_heads": 1, "intermediate": 16}
SETTINGS = OptimizerConfig(learning_rate=1e-2)


class Learner:
    """A policy, a critic with its own optimizer, a coefficient and a count: all of it changes."""

    def __init__(self, seed: int = 0, **model):
        self.policy = random_policy(
            model.pop("architecture", "qwen2"), seed=seed, **{**SMALL, **model}
        )
        self.optimizer = make_optimizer(self.policy.model, SETTINGS)
        self.critic = torch.nn.Linear(16, 1)
        torch.nn.init.constant_(self.critic.weight, 0.1 * (seed + 1))
        self.critic_optimizer = torch.optim.AdamW(
            self.critic.parameters(), lr=SETTINGS.learning_rate
        )
        self.coefficient, self.updates = 0.1, 0

    def state(self) -> LearnerState:
        tensors = {f"critic.{name}": t for name, t in self.critic.state_dict().items()}
        for number, entry in self.critic_optimizer.state_dict()["state"].items():
            tensors.update({f"moments.{number}.{key}": t for key, t in entry.items()})
        return LearnerState(tensors, {"coefficient": self.coefficient, "updates": self.updates})

    def load_state(self, state: LearnerState) -> None:
        by_kind: dict = {"critic": {}, "moments": {}}
        for name, tensor in state.tensors.items():
            kind, rest = name.split(".", 1)
            by_kind[kind][rest] = tensor
        self.critic.load_state_dict(by_kind["critic"])
        moments: dict = {}
        for name, tensor in by_kind["moments"].items():
            number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = tensor
        groups = self.critic_optimizer.state_dict()["param_groups"]
        self.critic_optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.coefficient = state.values["coefficient"]
        self.updates = state.values["updates"]

    def learn(self) -> None:
        """One update of both; the critic's input is drawn from the global generator."""
        logits = self.policy.model(TOKENS).logits.float()
        loss = self.coefficient * logits.log_softmax(-1)[..., 7].mean().neg()
        value = self.critic(torch.randn(4, 16)).square().mean()
        (loss + value).backward()
        for optimizer in (self.optimizer, self.critic_optimizer):
            optimizer.step()
            optimizer.zero_grad()
        self.coefficient *= 0.1 + 0.2
        self.updates += 1


def trained(seed=0, **model) -> Learner:
    learner = Learner(seed, **model)
    learner.learn()
    return learner


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    parts = {"policy": learner.policy.model, "critic": learner.critic}
    return {
        f"{part}.{name}": tensor.clone()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"tie_word_embeddings": True},
        {"dtype": torch.bfloat16},  # the float32 masters must come back too
        {"architecture": "llama", "dtype": torch.bfloat16},
        # Saved by transformers under other names and shapes than it has in memory.
        {"architecture": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 1},
    ],
    ids=["qwen2", "tied", "bfloat16", "llama-bfloat16", "mixtral"],
)
def test_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(tmp_path, model):
    learner = trained(**model)
    saved = save_checkpoint(tmp_path, 1, learner, Best(1, 0.1 + 0.2), {"cursor": {"row": 7}})
    assert saved == read_checkpoint(tmp_path, 1)
    assert saved.loop == {"cursor": {"row": 7}}
    for _ in range(2):
        learner.learn()
    other = trained(seed=1, **model)
    load_checkpoint(saved, other)
    assert not equal(weights(learner), weights(other))
    assert (other.coefficient, other.updates) == (0.1 * (0.1 + 0.2), 1)
    for _ in range(2):  # the generators too are where they were
        other.learn()
    assert equal(weights(learner), weights(other))
    assert other.coefficient == learner.coefficient


def test_a_checkpoint_from_before_the_first_update_can_be_loaded(tmp_path):
    learner, other = Learner(), Learner(seed=1)
    load_checkpoint(save_checkpoint(tmp_path, 1, learner), other)
    assert equal(weights(learner), weights(other))
    assert other.optimizer.state_dict()["state"] == {}


def test_a_learner_without_tensors_of_its_own_has_no_file_for_them(tmp_path):
    learner = Learner()
    learner.state = lambda: LearnerState(values={"updates": 3})
    saved = save_checkpoint(tmp_path, 1, learner)
    assert not (saved.directory / "learner.safetensors").exists()
    told = []
    learner.load_state = told.append
    load_checkpoint(saved, learner)
    assert told == [LearnerState({}, {"updates": 3})]


def test_the_state_of_another_learner_is_refused_in_one_sentence(tmp_path):
    learner = Learner()
    saved = save_checkpoint(tmp_path, 1, learner)
    learner.critic = torch.nn.Linear(3, 1)
    with pytest.raises(RecordsError, match="learns other things") as caught:
        load_checkpoint(saved, learner)
    assert len(str(caught.value).splitlines()) == 1


def test_tensors_that_share_memory_are_saved(tmp_path):
    learner = Learner()
    whole = torch.arange(6.0)
    learner.state = lambda: LearnerState({"a": whole[:3], "b": whole[2:], "c": whole.view(2, 3).T})
    saved = save_checkpoint(tmp_path, 1, learner)
    told = load_file(saved.directory / "learner.safetensors")
    assert [told[name].tolist() for name in "abc"] == [
        [0.0, 1.0, 2.0], [2.0, 3.0, 4.0, 5.0], [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]],
    ]  # fmt: skip


def test_a_checkpoint_is_a_model_directory_without_pickles(tmp_path):
    saved = save_checkpoint(tmp_path, 20, trained())
    names = {path.name for path in saved.directory.iterdir()}
    assert saved.directory == tmp_path / "checkpoints/step-000020"
    assert {"config.json", "model.safetensors", "tokenizer.json", "optimizer.safetensors"} <= names
    assert {"learner.safetensors", "random.safetensors", "state.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change_state(**values):
    """As another version of this package would have written it: its own checksum is right."""

    def change(path: Path) -> None:
        state = {**json.loads(path.read_text()), **values}
        state = {key: value for key, value in state.items() if value != "gone"}
        path.write_text(json.dumps({**state, "checksum": room._checksum(state)}))

    return change


def rewrite_best(path: Path) -> None:
    path.write_text(path.read_text().replace('"best": null', '"best": {"step": 2, "accuracy": 1}'))


DAMAGE = {
    "weights cut": ("model.safetensors", cut, "model.safetensors does not match its checksum"),
    "one bit": ("model.safetensors", flip, "model.safetensors does not match its checksum"),
    "optimizer": ("optimizer.safetensors", flip, "optimizer.safetensors does not match"),
    "tokenizer gone": ("tokenizer.json", Path.unlink, "tokenizer.json"),
    "state gone": ("state.json", Path.unlink, "state.json"),
    "state empty": ("state.json", lambda path: path.write_text(""), "Expecting value"),
    "state not a table": ("state.json", lambda path: path.write_text("[]"), "list"),
    "learner": ("learner.safetensors", flip, "learner.safetensors does not match"),
    "generators": ("random.safetensors", Path.unlink, "random.safetensors"),
    "state written over": ("state.json", rewrite_best, "state.json does not match its checksum"),
    "no best": ("state.json", change_state(best="gone"), "KeyError 'best'"),
    "best of another form": ("state.json", change_state(best=3), "int"),
    "another format": ("state.json", change_state(format=1), "format 1"),
    "another step": ("state.json", change_state(step=7), "step 7"),
}


@pytest.mark.parametrize(("name", "damage", "words"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, name, damage, words):
    learner = trained()
    for step in (2, 4):
        save_checkpoint(tmp_path, step, learner, None)
    damage(checkpoint_directory(tmp_path, 4) / name)
    found, (told,) = latest_checkpoint(tmp_path)
    assert found == read_checkpoint(tmp_path, 2)
    assert f"{checkpoint_directory(tmp_path, 4)} is damaged" in str(told)
    assert words in str(told)
    assert "\n" not in str(told)


def test_what_is_half_written_or_foreign_is_no_checkpoint(tmp_path):
    learner = trained()
    assert latest_checkpoint(tmp_path) == (None, [])
    save_checkpoint(tmp_path, 2, learner, None)
    for name in ("step-000004.part", "step-4", "notes"):
        (tmp_path / "checkpoints" / name).mkdir()
    found, told = latest_checkpoint(tmp_path)
    assert (found and found.step, told) == (2, [])


def test_a_checkpoint_whose_best_is_lost_serves_only_where_the_best_is_not_needed(tmp_path):
    learner = trained()
    save_checkpoint(tmp_path, 2, learner, Best(2, 0.5))
    save_checkpoint(tmp_path, 4, learner, Best(4, 0.7))
    save_checkpoint(tmp_path, 6, learner, Best(4, 0.7))
    cut(checkpoint_directory(tmp_path, 4) / "model.safetensors")
    found, _ = latest_checkpoint(tmp_path)
    assert found
    assert found.step == 6
    found, told = latest_checkpoint(tmp_path, with_best=True)
    assert found
    assert found.step == 2
    assert len(told) == 2


def test_pruning_keeps_the_newest_and_the_ones_asked_for(tmp_path):
    learner = trained()
    for step in (2, 4, 6, 8):
        save_checkpoint(tmp_path, step, learner, None)
    prune_checkpoints(tmp_path, 2, [2])
    assert left(tmp_path) == ["step-000002", "step-000006", "step-000008"]


def test_dropping_after_a_step_leaves_no_later_and_no_half_written_one(tmp_path):
    learner = trained()
    for step in (2, 4, 6):
        save_checkpoint(tmp_path, step, learner, None)
    (tmp_path / "checkpoints/step-000008.part").mkdir()
    drop_checkpoints_after(tmp_path, 4)
    assert left(tmp_path) == ["step-000002", "step-000004"]


def left(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


FULL = OSError(errno.ENOSPC, "No space left on device")
REFUSALS = {
    "the tensors": (
        (room, "save_file"),
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
    ),
    "the model": ((room, "save_policy"), RecordsError("The model could not be written (full).")),
    "a text": ((Path, "write_text"), FULL),
    "the renaming": ((Path, "rename"), FULL),
    "the folder": ((Path, "mkdir"), FULL),
}


@pytest.mark.parametrize(("where", "error"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_full_disk_is_one_error_and_leaves_earlier_checkpoints(
    tmp_path, monkeypatch, where, error
):
    learner = trained()
    before = save_checkpoint(tmp_path, 2, learner, None)

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(*where, refuse)
    with pytest.raises(RecordsError) as caught:
        save_checkpoint(tmp_path, 4, learner, None)
    monkeypatch.undo()
    message = str(caught.value)
    assert message.startswith("The checkpoint of step 4 could not be written to")
    assert message.endswith("Make room and continue with --resume.")
    assert "--out" not in message
    assert latest_checkpoint(tmp_path) == (before, [])
    assert left(tmp_path) == ["step-000002"]
