"""A run that is asked to stop: saved after its step, and continued to the same bits."""

from __future__ import annotations

import json
import os
import signal

import pytest

import oneshot_rlvr
from oneshot_rlvr.backends.local import run
from oneshot_rlvr.errors import TrainingError
from oneshot_rlvr.records import Run
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.train.checkpoint import latest_checkpoint
from oneshot_rlvr.train.stopping import Stopping


def assert_same_end(straight, out):
    for name in ("metrics.jsonl", "final/model.safetensors"):
        assert (straight / name).read_bytes() == (out / name).read_bytes(), name
    assert Run(straight).result == Run(out).result


def test_a_run_stopped_by_a_signal_is_saved_and_goes_on_to_the_same_bits(
    stateful, straight, tmp_path, monkeypatch
):
    stopping, out = Stopping(), tmp_path / "run"
    score = Scorer.score

    def signalled(self, rollouts, examples, step):
        if step == 3:  # nothing is due after it
            os.kill(os.getpid(), signal.SIGTERM)
        return score(self, rollouts, examples, step)

    monkeypatch.setattr(Scorer, "score", signalled)
    with stopping.listening():
        result = oneshot_rlvr.train(stateful, out=out, stopping=stopping)
    monkeypatch.undo()
    assert (result.stopped_after, result.summary, result.reused) == (3, {}, False)
    assert Run(out).status == "running"
    assert not (out / "report.html").exists()
    saved, _ = latest_checkpoint(out)
    assert saved
    assert saved.step == 3
    assert run(stateful, out=out, resume=True).stopped_after is None
    assert_same_end(straight, out)


def test_a_signal_during_the_test_set_stops_at_once_and_loses_no_step(
    stateful, straight, tmp_path, watcher
):
    stopping, out = Stopping(), tmp_path / "run"

    class AtTheTest(watcher):
        def note(self, text):
            if text.startswith("test set: trained"):
                os.kill(os.getpid(), signal.SIGINT)

    with stopping.listening():
        result = run(stateful, out=out, progress=AtTheTest(), stopping=stopping)
    assert result.stopped_after == 6
    notes = watcher()
    run(stateful, out=out, resume=True, progress=notes)
    assert notes.steps == []
    assert_same_end(straight, out)


def test_updates_that_are_not_finite_stop_the_run_with_their_batch(
    small_recipe, tmp_path, monkeypatch, watcher
):
    """From step 3 on a reward of each row is infinite; two updates a step, five are too many."""
    from safetensors.torch import load_file

    score = Scorer.score

    def broken(self, rollouts, examples, step):
        graded = score(self, rollouts, examples, step)
        if step < 3:
            return graded
        return [
            type(g)(g.rollout, g.verdict, float("inf") if g.rollout.index == 0 else g.reward)
            for g in graded
        ]

    monkeypatch.setattr(Scorer, "score", broken)
    out, watch = tmp_path / "run", watcher()
    recipe = small_recipe({"train.steps": 9, "train.updates_per_rollout": 2})
    with pytest.raises(TrainingError) as caught:
        run(recipe, out=out, progress=watch)
    message = str(caught.value)
    assert message.startswith("The last 6 updates had a loss or gradient that is not finite")
    assert "the run stops at step 5" in message
    assert watch.steps == [1, 2, 3, 4]
    assert [note for note in watch.notes if "left out" in note]
    failed = out / "failed/step-000005"
    assert str(failed) in message
    tensors = load_file(failed / "batch.safetensors")
    rows = Run(out).rollouts([5])
    assert tensors["lengths_N"].tolist() == rows["tokens"].map(len).tolist()
    first = rows["tokens"][0].tolist()
    assert tensors["tokens_N_T"][0, : len(first)].tolist() == first
    assert tensors["rewards_N"].tolist() == rows["reward"].tolist()
    assert tensors["rewards_N"].isinf().sum() == 2
    assert tensors["advantages_N"].tolist() == pytest.approx(
        rows["advantage"].tolist(), nan_ok=True
    )
    assert {"logprobs_N_T", "prompts_N_T", "prompt_lengths_N"} < tensors.keys()
    told = json.loads((failed / "batch.json").read_text())
    assert [row["text"] for row in told["rollouts"]] == rows["text"].tolist()
    assert {"config.json", "model.safetensors"} <= {p.name for p in (failed / "model").iterdir()}
    # The weights are those of the last update that was made.
    saved, _ = latest_checkpoint(out)
    assert saved
    assert saved.step == 4
    weights = (saved.directory / "model.safetensors").read_bytes()
    assert (failed / "model/model.safetensors").read_bytes() == weights
    # A resume that may go on regardless does, and counts what it leaves out.
    patient = small_recipe(
        {"train.steps": 9, "train.updates_per_rollout": 2, "train.max_skipped_updates": 0}
    )
    again = watcher()
    assert run(patient, out=out, resume=True, progress=again).summary["step"] == 9
    assert not [note for note in again.notes if "left out" in note]  # told before it was stopped
    assert Run(out).metrics()["train/skipped_updates"].tolist() == [0, 0, *[2] * 7]
