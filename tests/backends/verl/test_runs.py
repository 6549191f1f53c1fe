"""Real runs on verl, on processors: two steps each, shared among the tests of a section.

In the environment of `make peers` only. Each run takes minutes, nearly all of them its start; every
one must leave no process behind.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

import oneshot_rlvr
from oneshot_rlvr.backends.verl.launch import MARK
from oneshot_rlvr.config import load_recipe, packaged_recipes
from oneshot_rlvr.errors import GraderError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.tiny import weights_directory

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1800)]

SMALL = {
    "backend.name": "verl",
    "backend.python": sys.executable,
    "backend.start_minutes": 12.0,
    "backend.stall_minutes": 5.0,
    "model.device": "cpu",
    "rollouts.engine": "hf",
    "rollouts.prompts_per_step": 4,
    "rollouts.group_size": 4,
    "rollouts.max_prompt_tokens": 64,
    "rollouts.max_new_tokens": 96,
    "train.steps": 2,
    "train.eval_every": 1,
    "train.save_every": 1,
    "evaluation.validation.questions": 1,
    "evaluation.validation.samples": 1,
    "evaluation.test": None,
}


def train(out: Path, changes: dict | None = None, **options):
    return oneshot_rlvr.train(
        "tiny_one_shot", overrides={**SMALL, **(changes or {})}, out=out, **options
    )


def left_behind() -> list[str]:
    """Processes that a run of this process has started and not ended; killed ones end soon."""
    deadline = time.monotonic() + 60
    while (left := _marked()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def _marked() -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("PYTEST_CURRENT_TEST_RUN") == str(os.getpid())
            if mine and MARK in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:80])
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module", autouse=True)
def marked():
    os.environ["PYTEST_CURRENT_TEST_RUN"] = str(os.getpid())
    yield
    del os.environ["PYTEST_CURRENT_TEST_RUN"]


class Watcher:
    """A progress that does something after the first step."""

    def __init__(self, then=lambda: None):
        self.notes, self.steps, self._then = [], [], then

    def start(self, total_steps):
        """Nothing."""

    def step(self, step, metrics):
        self.steps.append(step)
        if len(self.steps) == 1:
            self._then()

    def note(self, text):
        self.notes.append(text)

    def close(self):
        """Nothing."""


# GRPO through vLLM, with validation and checkpoints.


@pytest.fixture(scope="module")
def grpo(tmp_path_factory):
    os.environ["ONESHOT_VERL_DETAIL"] = "1"
    try:
        yield train(tmp_path_factory.mktemp("grpo") / "run", {"rollouts.engine": "vllm"})
    finally:
        del os.environ["ONESHOT_VERL_DETAIL"]


@pytest.mark.vllm
def test_grpo_through_vllm_leaves_the_records_of_a_run(grpo):
    run = Run(grpo.directory)
    assert run.status == "finished"
    assert run.metrics()["step"].tolist() == [1, 2]
    assert run.evaluations() == [("validation", 0), ("validation", 1), ("validation", 2)]
    rollouts = run.rollouts()
    assert len(rollouts) == 2 * 4 * 4
    assert rollouts["row"].tolist()[:5] == [0, 0, 0, 0, 1]
    assert (rollouts["logprobs"].map(len) == rollouts["tokens"].map(len)).all()
    assert left_behind() == []


@pytest.mark.vllm
def test_vllm_samples_from_the_weights_that_train(grpo):
    assert Run(grpo.directory).metrics()["train/logprob_gap"].max() < 1e-3


@pytest.mark.vllm
@pytest.mark.parametrize("step", [1, 2])
def test_verl_s_loss_is_ours_on_the_same_rollouts(grpo, step):
    from oneshot_rlvr.backends.verl.agreement import differences

    told = differences(grpo.directory, step)
    # Every default of verl's that a recipe does not set is in the weights after an update.
    assert step > 1 or told.pop("weights") < 0.01
    assert set(told) == {
        "train/loss", "train/policy_loss", "train/kl", "train/entropy_nats", "advantages",
    }  # fmt: skip
    assert max(told.values()) < 1e-4, told


@pytest.mark.vllm
def test_the_graders_verdicts_and_rewards_are_ours(grpo):
    from oneshot_rlvr.rewards import Scorer
    from oneshot_rlvr.types import Example

    recipe = load_recipe("tiny_one_shot")
    rollouts = Run(grpo.directory).rollouts()
    example = Example("e", "q", recipe.examples.items[0]["answer"])
    with Scorer(recipe.reward, seed=0) as scorer:
        verdicts = scorer.grade_texts(rollouts["text"].tolist(), [example] * len(rollouts))
    assert [v.correct for v in verdicts] == rollouts["correct"].tolist()
    assert [str(v.reason) for v in verdicts] == rollouts["reason"].tolist()
    assert rollouts["reward"].tolist() == [float(v.correct) for v in verdicts]


@pytest.mark.vllm
def test_the_result_is_a_plain_directory_of_the_trained_weights(grpo):
    import json

    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    final = grpo.directory / "final"
    told = json.loads((final / "config.json").read_text())
    weights = load_file(final / "model.safetensors")
    assert told["dtype"] == "float32"
    assert {str(t.dtype) for t in weights.values()} == {"torch.float32"}
    trained = AutoModelForCausalLM.from_pretrained(final)
    base = AutoModelForCausalLM.from_pretrained(weights_directory())
    moved = [
        (a - b).abs().max().item()
        for a, b in zip(trained.parameters(), base.parameters(), strict=True)
    ]
    assert 0 < max(moved) < 1e-2


@pytest.mark.vllm
def test_every_checkpoint_is_evaluated_as_a_local_run_s(grpo):
    from safetensors.torch import load_file

    folders = [grpo.directory / "checkpoints" / f"step-{step:06d}" for step in (1, 2)]
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    final = load_file(grpo.directory / "final" / "model.safetensors")
    assert all(second[name].equal(final[name]) for name in final)
    assert not all(first[name].equal(final[name]) for name in final)
    asked = {"questions": 1, "samples": 1, "max_new_tokens": 16}
    result = oneshot_rlvr.evaluate(folders[0], benchmarks=["tiny"], **asked)["tiny"]
    assert 0 <= result.summary["overall"]["accuracy"]["value"] <= 1
    assert len(result.samples) == 20  # one of every family


@pytest.mark.vllm
def test_the_report_of_a_run_on_verl_is_that_of_any_run(grpo):
    page = (grpo.directory / "report.html").read_text()
    assert "held-out" in page
    assert len(page) > 50_000


# GAE with a critic, divergence and entropy, with the engine of plain transformers.


@pytest.fixture(scope="module")
def ppo(tmp_path_factory):
    changes = {
        "algorithm.name": "ppo",
        "algorithm.gae_lambda": 0.95,
        "algorithm.critic_learning_rate": 1e-3,
        "train.updates_per_rollout": 2,
        "evaluation.validation": None,
        "backend.save_dtype": "bfloat16",
        "reward.arm": "wrong_label",
        "reward.wrong_label": "28",  # a number of the question: some answers are it
    }
    settings = {k: v for k, v in SMALL.items() if not k.startswith("evaluation.validation")}
    return oneshot_rlvr.train(
        "tiny_one_shot",
        overrides={**settings, **changes},
        out=tmp_path_factory.mktemp("ppo") / "run",
    )


def test_gae_with_a_critic_divergence_and_entropy(ppo):
    metrics = Run(ppo.directory).metrics()
    assert metrics["step"].tolist() == [1, 2]
    for key in ("train/value_loss", "train/critic_gradient_norm", "train/kl", "train/entropy_nats"):
        assert metrics[key].notna().all(), key
    assert metrics["train/kl"].iloc[1] > 0  # the weights have moved from the reference
    assert Run(ppo.directory).evaluations() == []


def test_the_wrong_label_is_what_is_rewarded_and_the_verdicts_are_true(ppo, same_rewards):
    run = Run(ppo.directory)
    same_rewards(run)
    rollouts = run.rollouts()
    assert rollouts["correct"].any()
    assert not rollouts["reward"][rollouts["correct"]].any()


def test_saved_in_the_type_that_was_asked_for(ppo):
    from safetensors.torch import load_file

    weights = load_file(ppo.directory / "final" / "model.safetensors")
    assert {str(t.dtype) for t in weights.values()} == {"torch.bfloat16"}


# Two training ranks, stopped after the first step and resumed.


def test_two_ranks_stopped_and_resumed_keep_every_step(tmp_path, same_rewards):
    from oneshot_rlvr.train.stopping import Stopping

    changes = {
        "backend.gpus_per_node": 2, "train.steps": 6, "train.keep_checkpoints": 2,
        "reward.arm": "format_only", "reward.length_penalty": 0.5, "algorithm.std_floor": 0.0,
        "reward.length_full_tokens": 96,
    }  # fmt: skip
    stopping = Stopping()
    first = train(tmp_path / "run", changes, progress=Watcher(stopping.ask), stopping=stopping)
    assert 1 <= first.stopped_after < 6  # verl goes on while it is being stopped
    assert left_behind() == []
    earlier = Run(tmp_path / "run").metrics()

    watcher = Watcher()
    second = train(tmp_path / "run", changes, resume=True, progress=watcher)
    metrics = Run(tmp_path / "run").metrics()
    assert second.stopped_after is None
    assert watcher.steps == list(range(first.stopped_after + 1, 7))
    assert metrics["step"].tolist() == [1, 2, 3, 4, 5, 6]
    kept = earlier[earlier["step"] <= first.stopped_after]
    assert metrics.iloc[: len(kept)].equals(kept)
    assert left_behind() == []
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert saved == ["step-000005", "step-000006"]
    same_rewards(Run(tmp_path / "run"))


# What goes wrong.


def test_a_reward_that_crashes_ends_the_run_with_its_own_words(tmp_path, monkeypatch):
    module = tmp_path / "their_grader.py"
    module.write_text(
        textwrap.dedent(
            """
            def grade(text, example):
                if text == "sample":
                    return True
                raise ZeroDivisionError("the grader divides by nothing")
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    item = {
        "question": "1+1?", "answer": "2", "verifier": "custom",
        "function": "their_grader:grade", "sample": "sample",
    }  # fmt: skip
    settings = {k: v for k, v in SMALL.items() if not k.startswith("evaluation.validation")}
    changes = {"examples.items": [item], "evaluation.validation": None}
    with pytest.raises(GraderError, match="the grader divides by nothing"):
        oneshot_rlvr.train("tiny_one_shot", overrides={**settings, **changes}, out=tmp_path / "run")
    assert left_behind() == []


def kill_a_training_rank() -> None:
    for process in psutil.process_iter():
        try:
            name = " ".join(process.cmdline())
            mine = process.environ().get("PYTEST_CURRENT_TEST_RUN") == str(os.getpid())
        except (psutil.Error, OSError):
            continue
        if mine and "WorkerDict" in name:
            process.send_signal(signal.SIGKILL)
            return
    raise AssertionError("no training rank was found")


def test_a_killed_worker_ends_the_run_with_the_cause_and_no_process(tmp_path):
    killed: list[str] = []
    since: list[float] = []

    def kill() -> None:
        since.append(time.monotonic())
        try:
            kill_a_training_rank()
            killed.append("yes")
        except AssertionError as error:
            killed.append(str(error))

    with pytest.raises(RunError, match=r"verl (ended at|made no progress)") as caught:
        train(
            tmp_path / "run",
            {"train.steps": 500, "train.save_every": 0, "train.eval_every": 0},
            progress=Watcher(lambda: threading.Thread(target=kill).start()),
        )
    assert killed == ["yes"]
    assert time.monotonic() - since[0] < 600
    assert "died" in str(caught.value) or "killed" in str(caught.value), str(caught.value)
    assert left_behind() == []
    assert Run(tmp_path / "run").metrics()["step"].tolist()[0] == 1  # what was recorded stays


# Every recipe, composed as verl composes it.


BOUNDED = {
    "dual clip": {"algorithm.dual_clip": 3.0},
    "clip-cov": {"algorithm.covariance": "clip", "algorithm.covariance_low": 0.5},
    "kl-cov": {"algorithm.covariance": "kl", "algorithm.covariance_coefficient": 0.5},
}


def test_every_recipe_composes_in_strict_mode_or_is_refused_by_name():
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    from oneshot_rlvr.backends.verl.export import placeless
    from oneshot_rlvr.backends.verl.hydra import arguments
    from oneshot_rlvr.backends.verl.inputs import target_for
    from oneshot_rlvr.backends.verl.translate import translate
    from oneshot_rlvr.errors import ConfigError

    composed, refused = {}, {}
    named = [(name, name, {}) for name in packaged_recipes()]
    named += [(key, "tiny_one_shot", {"train.updates_per_rollout": 2, **options})
              for key, options in BOUNDED.items()]  # fmt: skip
    with initialize_config_module("verl.trainer.config", version_base=None):
        for name, base, options in named:
            for device in ("cuda", "cpu"):
                recipe = load_recipe(base, {"rollouts.engine": "vllm", **options})
                places = placeless(Path("/run"), recipe.evaluation.validation is not None)
                try:
                    settings = translate(recipe, target_for(recipe, places, device))
                except ConfigError as error:
                    refused[name] = str(error)
                    continue
                config = compose("ppo_trainer", overrides=list(arguments(settings)))
                for key, value in settings.items():
                    told = OmegaConf.select(config, key.lstrip("+"))
                    plain = OmegaConf.to_container(told) if isinstance(value, list) else told
                    assert plain == value, key
                composed[name, device] = config
    assert len(composed) >= 2 * 3
    assert all("verl has no counterpart for" in words for words in refused.values())
    assert composed["tiny_one_shot", "cuda"].data.train_batch_size == 16
    assert {key for key, _ in composed} >= set(BOUNDED)


# Tokens bounded by covariance: verl's own losses in a run.


@pytest.mark.parametrize("kind", ["clip", "kl"])
def test_covariances_bound_tokens_in_verls_own_training(kind, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    from oneshot_rlvr.backends.verl.agreement import differences

    monkeypatch.setenv("ONESHOT_VERL_DETAIL", "1")
    options = {
        "clip": {"algorithm.covariance_low": -1e6, "algorithm.covariance_high": 1e6},
        "kl": {"algorithm.covariance_coefficient": 5.0},
    }
    changes = {
        "algorithm.covariance": kind, "algorithm.covariance_share": 0.25, **options[kind],
        "train.steps": 1, "train.updates_per_rollout": 2, "train.epochs": 2,
        "evaluation.validation": None,
    }  # fmt: skip
    settings = {k: v for k, v in SMALL.items() if not k.startswith("evaluation.validation")}
    result = oneshot_rlvr.train(
        "tiny_one_shot", overrides={**settings, **changes}, out=tmp_path / "run"
    )
    told = Run(result.directory).metrics().iloc[0]
    if kind == "clip":
        # verl counts what keeps no gradient: the share of every update, rounded down to tokens.
        assert told["train/clip_share"] == pytest.approx(0.25, abs=0.01)
    else:
        # No draw in it: our own two updates of all rollouts have the same losses. The penalty, a
        # quarter of the tokens times 5 |log ratio|, is far above that difference.
        apart = differences(result.directory, 1)
        assert apart["train/policy_loss"] < 1e-3, apart
        assert apart["weights"] < 0.05, apart
    trained = load_file(result.directory / "final" / "model.safetensors")
    base = load_file(weights_directory() / "model.safetensors")
    assert any(not trained[name].equal(base[name]) for name in base)
    assert left_behind() == []


# Adapters.


@pytest.mark.vllm
def test_adapters_train_and_come_out_merged(tmp_path):
    from safetensors.torch import load_file

    changes = {
        "rollouts.engine": "vllm", "rollouts.prompts_per_step": 2, "model.lora.rank": 4,
        "evaluation.validation": None, "optimizer.learning_rate": 1e-3,
    }  # fmt: skip
    settings = {k: v for k, v in SMALL.items() if not k.startswith("evaluation.validation")}
    result = oneshot_rlvr.train(
        "tiny_one_shot", overrides={**settings, **changes}, out=tmp_path / "run"
    )
    gap = Run(result.directory).metrics()["train/logprob_gap"]
    assert gap.max() < 0.1  # verl rounds merged weights to bfloat16
    trained = load_file(result.directory / "final" / "model.safetensors")
    base = load_file(weights_directory() / "model.safetensors")
    assert set(trained) - {"lm_head.weight"} == set(base)
    moved = {name for name in base if not trained[name].equal(base[name].float())}
    assert moved
    assert all("proj" in name for name in moved)
    assert left_behind() == []


# Dynamic sampling, whose dropped groups verl forgets.


def test_dynamic_sampling_records_what_was_dropped(tmp_path):
    result = train(
        tmp_path / "run",
        {
            "rollouts.engine": "hf", "algorithm.name": "dapo", "algorithm.dynamic_sampling": True,
            "algorithm.overlong_buffer_share": 0.0,
            "rollouts.group_size": 2,  # equal rewards are common
        },
    )  # fmt: skip
    run = Run(result.directory)
    names = ["step", "row", "tokens", "correct", "reward", "advantage", "sampling", "learned"]
    rollouts, metrics = run.rollouts(columns=names), run.metrics()
    dropped = rollouts[~rollouts["learned"]]
    assert len(dropped) > 0
    assert (dropped["advantage"] == 0).all()
    kept = rollouts[rollouts["learned"]].groupby(["step", "row"])["reward"].nunique()
    assert (kept > 1).all()
    for step, every in rollouts.groupby("step"):
        told = metrics[metrics["step"] == step].iloc[0]
        first = every[every["sampling"] == 1]
        assert told["train/accuracy"] == pytest.approx(first["correct"].mean())
        assert told["train/tokens"] == every["tokens"].map(len).sum()
        assert told["train/discarded_tokens"] == every[~every["learned"]]["tokens"].map(len).sum()
