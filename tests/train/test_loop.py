"""The loop: what it asks, learns, records and chooses, step by step."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import RecordsError, RunError
from oneshot_rlvr.evaluation import EvaluationResult
from oneshot_rlvr.examples import load_examples
from oneshot_rlvr.examples.prompting import encode_prompts
from oneshot_rlvr.policy import load_policy
from oneshot_rlvr.records import Run, RunWriter, summarise
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rollouts import make_engine
from oneshot_rlvr.train import loop
from oneshot_rlvr.train.checkpoint import checkpoint_directory, latest_checkpoint
from oneshot_rlvr.train.loop import Job, Silent, prompts_of_step, run_steps
from oneshot_rlvr.train.metrics import METRICS, TERMS, TIMINGS
from oneshot_rlvr.train.step import TrainStep

ONE_THREAD = 1


@pytest.fixture
def job(small_recipe: Callable[..., Recipe], tmp_path: Path):
    """Makes jobs in `tmp_path`: a dotted recipe, and the accuracy of validation by step."""
    torch.set_num_threads(ONE_THREAD)

    def make(
        overrides: Mapping[str, Any] | None = None,
        accuracy: Mapping[int, float] | None = None,
        *,
        resume_after: int | None = None,
        **parts: Any,
    ) -> Job:
        recipe = small_recipe(overrides)
        examples, policy = load_examples(recipe.examples), load_policy(recipe.model)
        trainer = TrainStep(policy, recipe)
        writer = (
            RunWriter.create(tmp_path / "run", {})
            if resume_after is None
            else RunWriter.resume(tmp_path / "run", resume_after)
        )

        def validate() -> EvaluationResult:
            assert accuracy is not None
            return scripted(accuracy[trainer.steps_done])

        made = Job(
            recipe=recipe,
            examples=examples,
            prompt_tokens=encode_prompts(examples, policy.tokenizer, 64),
            policy=policy,
            engine=make_engine("auto", policy),
            scorer=Scorer(recipe.reward, seed=recipe.train.seed),
            trainer=trainer,
            writer=writer,
            validate=None if accuracy is None else validate,
        )
        return dataclasses.replace(made, **parts)

    return make


def scripted(accuracy: float) -> EvaluationResult:
    """Ten graded answers, a share of them right."""
    samples = [
        {
            "example_id": str(n), "domain": "", "family": "", "question": "?", "answer": "a",
            "sample": 0, "text": "a", "tokens": 1, "finished": True, "correct": n < 10 * accuracy,
            "reason": "correct" if n < 10 * accuracy else "mismatch", "boxed": False,
        }
        for n in range(10)
    ]  # fmt: skip
    return EvaluationResult(samples, summarise(samples, benchmark="b", temperature=0.0, seed=0))


def lines(job: Job, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (job.writer.directory / name).read_text().splitlines()]


def saved_weights(run: Path, step: int) -> bytes:
    return (checkpoint_directory(run, step) / "model.safetensors").read_bytes()


def weights(job: Job) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in job.policy.model.state_dict().items()}


def checkpoints(job: Job) -> list[int]:
    found = (job.writer.directory / "checkpoints").iterdir()
    return sorted(int(path.name.removeprefix("step-")) for path in found)


def test_one_verified_example_teaches_the_model_its_answer(job):
    made = job({"train.steps": 40, "rollouts.prompts_per_step": 8, "train.save_every": 0})
    assert run_steps(made, None) == 40
    accuracy = [line["train/accuracy"] for line in lines(made)]
    assert sum(accuracy[:5]) / 5 < 0.3
    assert sum(accuracy[-5:]) / 5 > 0.8


ELSEWHERE = {
    *(f"train/gradient_norm/{term}" for term in TERMS),
    "train/critic_gradient_norm",
    "train/value_loss",
    "train/explained_variance",
    "train/entropy_coefficient",
    "train/overlong_penalty",
    "train/resampled_rows",
    "train/discarded_tokens",
    "train/loss_scale",
    "train/overflowed_updates",
    "train/zero_variance_shaped_share",
    "train/masked_truncated_share",
    "train/covariance_share",
    "train/top_entropy_share",
    "train/dual_clip_share",
}
"""Metrics of settings that this recipe does not have: tests/train/test_step_settings.py,
tests/train/test_practices.py."""


def test_every_metric_is_declared_and_every_declared_metric_is_logged(job):
    made = job(accuracy={0: 0.0, 2: 0.0, 4: 0.0})
    assert made.recipe.algorithm.kl_coefficient > 0
    assert made.recipe.algorithm.entropy_coefficient > 0
    run_steps(made, None)
    for line in lines(made):
        assert line.keys() == {"step", *METRICS} - ELSEWHERE
        assert all(isinstance(value, int | float) for value in line.values()), line
    logged = {key for line in lines(made, "timings.jsonl") for key in line}
    assert logged == {"step", *TIMINGS} - {"gpu_memory_bytes", "resample_seconds"}


def test_a_metric_that_the_table_lacks_stops_the_first_step_that_logs_it(job, monkeypatch):
    made = job()
    update = made.trainer.update

    def more(graded):
        result = update(graded)
        return dataclasses.replace(result, metrics={**result.metrics, "train/mood": 1.0})

    monkeypatch.setattr(made.trainer, "update", more)
    with pytest.raises(KeyError, match="train/mood is not declared"):
        run_steps(made, None)
    assert lines_if_any(made) == []


def lines_if_any(job: Job) -> list[dict[str, Any]]:
    return lines(job) if (job.writer.directory / "metrics.jsonl").exists() else []


def test_a_steps_rollouts_and_its_metrics_agree(job):
    made = job({"train.steps": 2})
    run_steps(made, None)
    for line in lines(made):
        rows = Run(made.writer.directory).rollouts([line["step"]])
        assert len(rows) == 2 * 8
        assert line["train/accuracy"] == rows["correct"].mean()
        assert line["train/reward"] == rows["reward"].mean()
        assert line["train/tokens"] == rows["tokens"].map(len).sum()
        assert line["train/truncated_share"] == (~rows["finished"]).mean()
        grouped = rows.groupby("row")["reward"]
        assert line["train/zero_variance_share"] == (grouped.nunique() == 1).mean()
        # Each row is its own group: advantages sum to 0 within a row.
        assert rows.groupby("row")["advantage"].sum().abs().max() < 1e-5


def test_a_step_asks_the_rows_of_the_schedule(job):
    items = [{"question": f"{n}?", "answer": "a", "verifier": "exact_match"} for n in range(3)]
    made = job({"examples.items": items, "rollouts.prompts_per_step": 6})
    for step in (1, 2):
        prompts = prompts_of_step(made, step)
        assert [p.row for p in prompts] == list(range(6))
        # Six rows hold two epochs of three examples.
        assert sorted(p.example.id for p in prompts[:3]) == ["0", "1", "2"]
        assert all(p.tokens == made.prompt_tokens[int(p.example.id)] for p in prompts)


def test_every_step_draws_anew_and_the_same_for_one_seed(job):
    # A learning rate that moves nothing: only the draws can differ.
    made = job({"train.steps": 2, "optimizer.learning_rate": 1e-30})
    run_steps(made, None)
    texts = [Run(made.writer.directory).rollouts([step])["tokens"].map(tuple) for step in (1, 2)]
    assert texts[0].tolist() != texts[1].tolist()
    assert len({*texts[0]} & {*texts[1]}) < 8  # of 16


def test_clocks_stay_out_of_the_metrics(job):
    made = job({"train.steps": 2, "train.save_every": 1}, accuracy={0: 0.0, 2: 0.0})
    run_steps(made, None)
    assert not lines(made)[0].keys() & TIMINGS.keys()
    base, first, second = lines(made, "timings.jsonl")
    assert (base["step"], first["step"], second["step"]) == (0, 1, 2)
    assert second["checkpoint_seconds"] > 0  # of the first step: its line was written before
    assert base["evaluate_seconds"] == base["step_seconds"] > 0
    laps = [key for key in TIMINGS if key.endswith("_seconds") and key != "step_seconds"]
    assert second["step_seconds"] == pytest.approx(
        sum(second[key] for key in laps if key != "resample_seconds")
    )
    assert not {"evaluate_seconds", "checkpoint_seconds"} & first.keys()
    learning = ("generate_seconds", "score_seconds", "update_seconds", "record_seconds")
    spent = sum(second[key] for key in learning)
    assert second["tokens_per_second"] == pytest.approx(lines(made)[1]["train/tokens"] / spent)


def test_validation_and_checkpoints_come_when_due_and_at_the_end(job):
    due = {"train.steps": 7, "train.eval_every": 3, "train.save_every": 2}
    made = job(due, accuracy=dict.fromkeys((0, 3, 6, 7), 0.5))
    run_steps(made, None)
    assert Run(made.writer.directory).evaluations() == [("validation", s) for s in (0, 3, 6, 7)]
    assert checkpoints(made) == [6, 7]  # the newest two


def test_off_means_validation_at_both_ends_and_one_checkpoint(job):
    off = {"train.eval_every": 0, "train.save_every": 0}
    made = job(off, accuracy={0: 0.5, 4: 0.5})
    run_steps(made, None)
    assert Run(made.writer.directory).evaluations() == [("validation", 0), ("validation", 4)]
    assert checkpoints(made) == [4]


def test_without_a_validation_set_nothing_is_validated(job):
    made = job()
    assert run_steps(made, None) == 4
    assert Run(made.writer.directory).evaluations() == []


CHOICES = {
    "the best": ({0: 0.1, 2: 0.2, 4: 0.6, 6: 0.3, 8: 0.4}, 4),
    "the earliest of equals": ({0: 0.1, 2: 0.2, 4: 0.6, 6: 0.6, 8: 0.6}, 4),
    "never the base": ({0: 0.9, 2: 0.2, 4: 0.1, 6: 0.3, 8: 0.2}, 6),
    "the first where it never improves": ({0: 0.5, 2: 0.0, 4: 0.0, 6: 0.0, 8: 0.0}, 2),
    "the last": ({0: 0.1, 2: 0.2, 4: 0.3, 6: 0.4, 8: 0.5}, 8),
}
BEST = {"train.steps": 8, "train.checkpoint_rule": "best_validation", "train.save_every": 0}


@pytest.fixture(scope="module")
def weights_after(small_recipe, tmp_path_factory) -> Callable[[int], bytes]:
    """The weights of a checkpoint of the small run, which all rules share."""
    folder = tmp_path_factory.mktemp("shared")
    recipe = small_recipe({"train.steps": 8, "train.save_every": 2})
    examples, policy = load_examples(recipe.examples), load_policy(recipe.model)
    kept: dict[int, bytes] = {}

    class Keep(Silent):
        def step(self, step: int, metrics: Mapping[str, float]) -> None:
            if step % 2 == 0:
                kept[step] = saved_weights(folder / "run", step)

    torch.set_num_threads(ONE_THREAD)
    with RunWriter.create(folder / "run", {}) as writer, Scorer(recipe.reward, seed=0) as scorer:
        run_steps(
            Job(
                recipe, examples, encode_prompts(examples, policy.tokenizer, 64), policy,
                make_engine("auto", policy), scorer, TrainStep(policy, recipe), writer,
                progress=Keep(),
            ),
            None,
        )  # fmt: skip
    assert len(set(kept.values())) == 4
    return kept.__getitem__


@pytest.mark.parametrize(("accuracy", "chosen"), CHOICES.values(), ids=CHOICES.keys())
def test_best_validation_takes(job, weights_after, accuracy, chosen):
    made = job(BEST, accuracy)
    assert run_steps(made, None) == chosen
    assert saved_weights(made.writer.directory, chosen) == weights_after(chosen)
    assert in_memory(made) == weights_after(chosen)


def in_memory(job: Job) -> bytes:
    """The policy's weights as the file they make."""
    from oneshot_rlvr.policy import save_policy

    directory = save_policy(job.policy, job.writer.directory / "in_memory")
    return (directory / "model.safetensors").read_bytes()


def test_final_takes_the_last_step_however_it_validates(job, weights_after):
    rule = {**BEST, "train.checkpoint_rule": "final"}
    made = job(rule, {0: 0.1, 2: 0.9, 4: 0.6, 6: 0.3, 8: 0.0})
    assert run_steps(made, None) == 8
    assert in_memory(made) == weights_after(8)


def test_the_best_outlives_newer_checkpoints(job):
    made = job({**BEST, "train.save_every": 2}, {0: 0, 2: 0.9, 4: 0.1, 6: 0.1, 8: 0.1})
    assert run_steps(made, None) == 2
    assert checkpoints(made) == [2, 6, 8]


class StopAfter(Silent):
    def __init__(self, last: int):
        self.last = last

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        if step == self.last:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stopped", [5, 7])
def test_the_best_is_remembered_across_a_resume(job, weights_after, stopped):
    accuracy = {0: 0.1, 2: 0.2, 4: 0.6, 6: 0.6, 8: 0.3}
    first = job(BEST, accuracy, progress=StopAfter(stopped))
    with first.writer, pytest.raises(KeyboardInterrupt):
        run_steps(first, None)
    start, _ = latest_checkpoint(first.writer.directory, with_best=True)
    assert start
    assert start.step == 4
    second = job(BEST, accuracy, resume_after=start.step)
    assert run_steps(second, start) == 4
    assert in_memory(second) == weights_after(4)


def test_a_best_checkpoint_that_was_damaged_meanwhile_is_an_error_not_a_result(job):
    class Damage(Silent):
        def step(self, step: int, metrics: Mapping[str, float]) -> None:
            if step == 6:
                directory = checkpoint_directory(made.writer.directory, 4)
                (directory / "model.safetensors").write_bytes(b"")

    made = job(BEST, {0: 0.1, 2: 0.2, 4: 0.6, 6: 0.5, 8: 0.3}, progress=Damage())
    with pytest.raises(RecordsError, match=r"damaged.*best validation: continue with --resume"):
        run_steps(made, None)


def test_a_resumed_run_does_not_measure_the_trained_model_as_the_base(job):
    first = job({"train.steps": 2})
    with first.writer:
        run_steps(first, None)
    start, _ = latest_checkpoint(first.writer.directory)
    second = job(accuracy={4: 0.5}, resume_after=2)
    run_steps(second, start)
    assert Run(second.writer.directory).evaluations() == [("validation", 4)]


def test_the_watcher_is_told_every_step_and_its_validation(job):
    told = SimpleNamespace(total=None, steps=[])

    class Watch(Silent):
        def start(self, total_steps: int) -> None:
            told.total = total_steps

        def step(self, step: int, metrics: Mapping[str, float]) -> None:
            told.steps.append((step, metrics.get("validation/accuracy")))
            assert {"train/accuracy", "train/entropy_nats", "tokens_per_second"} <= metrics.keys()

    run_steps(job(accuracy={0: 0.1, 2: 0.2, 4: 0.3}, progress=Watch()), None)
    assert told.total == 4
    assert told.steps == [(1, None), (2, 0.2), (3, None), (4, 0.3)]


def test_a_checkpoint_never_knows_of_a_step_that_the_timings_lack(job, monkeypatch):
    made = job({"train.steps": 1})

    def killed(*args):
        raise SystemExit

    monkeypatch.setattr(loop, "save_checkpoint", killed)
    with pytest.raises(SystemExit):
        run_steps(made, None)
    assert [line["step"] for line in lines(made, "timings.jsonl")][-1] == 1


@pytest.mark.parametrize("fate", ["removed", "renamed", "replaced"])
def test_a_run_whose_directory_goes_stops_and_makes_none_anew(job, fate):
    made = job({"train.steps": 3})
    out = made.writer.directory

    class Goes(Silent):
        def step(self, step, metrics):
            if step == 1:
                out.rename(out.with_name("elsewhere"))
                if fate == "removed":
                    shutil.rmtree(out.with_name("elsewhere"))
                if fate == "replaced":
                    out.mkdir()

    with pytest.raises(RunError, match="was removed or renamed"):
        run_steps(dataclasses.replace(made, progress=Goes()), None)
    assert not out.exists() or not any(out.iterdir())
    if fate != "removed":
        assert Run(out.with_name("elsewhere")).rollout_steps() == [1]
