"""What verl writes becomes our records, as far as it is whole, and once."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oneshot_rlvr.backends.verl.convert import Converter, read_metrics, timings
from oneshot_rlvr.config import parse_recipe
from oneshot_rlvr.errors import RunError
from oneshot_rlvr.records import Run, RunWriter
from oneshot_rlvr.types import Example

RECIPE = parse_recipe(
    {
        "rollouts": {"prompts_per_step": 2, "group_size": 2},
        "evaluation": {"validation": {"benchmark": "tiny", "samples": 2, "temperature": 0.6}},
    }
)
QUESTIONS = [Example("q1", "1+1?", "2", family="add"), Example("q2", "2+2?", "4")]
STEP = {
    "training/global_step": 1, "actor/loss": -0.5, "actor/pg_loss": -0.4, "actor/entropy": 0.3,
    "actor/kl_loss": 0.01, "actor/grad_norm": 1.5, "actor/lr": 1e-6, "timing_s/gen": 2.0,
    "timing_s/step": 5.0, "timing_s/update_actor": 1.0, "timing_s/old_log_prob": 0.5,
    "timing_s/save_checkpoint": 1.0, "timing_s/testing": 3.0, "perf/mfu/actor": 0.1,
}  # fmt: skip


@pytest.fixture
def writer(tmp_path):
    with RunWriter.create(tmp_path / "run", {"name": "x"}) as writer:
        yield writer


@pytest.fixture
def verl(tmp_path):
    """The folder in which verl writes."""
    for name in ("rollouts", "validation"):
        (tmp_path / "verl" / name).mkdir(parents=True)
    return tmp_path / "verl"


def converter(writer, verl, after=0):
    told = []
    made = Converter(
        RECIPE, writer, verl, QUESTIONS, after=after,
        told=lambda step, metrics: told.append((step, metrics)), note=told.append,
    )  # fmt: skip
    return made, told


def write_rollouts(verl, step, rewards=(1.0, 0.0, 1.0, 1.0)):
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    reasons = {1.0: "correct", 0.0: "mismatch"}
    rows = [
        {
            "step": step, "row": row, "index": index, "example_id": "a", "prompt_tokens": [5, 6],
            "tokens": [7, 1], "logprobs": [-0.5, -0.1], "reward": reward, "advantage": reward - 0.5,
            "logprob_gap": 1e-6, "text": "\\boxed{1}", "reason": reasons[reward],
            "extracted": '"1"', "finished": True, "acc": bool(reward),
        }
        for (row, index), reward in zip(places, rewards, strict=False)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), verl / "rollouts" / f"step-{step:06d}.parquet")


def write_metrics(verl, *steps, end="\n", **changes):
    lines = [
        json.dumps({"step": s, "data": {**STEP, "training/global_step": s, **changes}})
        for s in steps
    ]
    (verl / "metrics.jsonl").write_text("\n".join(lines) + end)


def write_validation(verl, step, rights=(1.0, 0.0, 1.0, 1.0)):
    rows = [
        {
            "uid": f"u{n // 2}_{n % 2}_0", "example_id": QUESTIONS[n // 2].id, "acc": right,
            "text": "a\u2028b", "tokens": 3.0, "finished": 1.0, "boxed": 0.0, "reason": "mismatch",
            "extracted": "null", "input": "x", "output": "a", "gts": "2", "score": right,
        }
        for n, right in enumerate(rights)
    ]  # fmt: skip
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in reversed(rows))
    (verl / "validation" / f"{step}.jsonl").write_text(text + "\n", encoding="utf-8")


def test_a_step_becomes_rollouts_metrics_and_timings(writer, verl):
    write_rollouts(verl, 1)
    write_metrics(verl, 1)
    made, told = converter(writer, verl)
    assert made.take()
    run = Run(writer.directory)
    (row,) = run.metrics().to_dict("records")
    assert (row["train/loss"], row["train/kl"], row["train/gradient_norm"]) == (-0.5, 0.01, 1.5)
    assert row["train/accuracy"] == 0.75
    assert row["train/zero_variance_share"] == 0.5  # the second row's rewards are equal
    assert row["train/skipped_updates"] == 0
    rollouts = run.rollouts()
    assert rollouts["reward"].tolist() == [1.0, 0.0, 1.0, 1.0]
    assert rollouts["extracted"].tolist() == ["1"] * 4
    (seconds,) = run.timings().to_dict("records")
    assert seconds["update_seconds"] == 1.5
    assert seconds["tokens_per_second"] == 2.0  # 8 tokens in 5 - 1 s
    assert told[0][0] == 1


def test_nothing_is_taken_twice_or_half(writer, verl):
    write_rollouts(verl, 1)
    write_metrics(verl, 1, end="")  # the line is still being written
    made, _ = converter(writer, verl)
    assert not made.take()
    write_metrics(verl, 1)
    assert made.take()
    assert not made.take()
    assert Run(writer.directory).metrics()["step"].tolist() == [1]


def test_a_resumed_run_goes_on_behind_what_is_recorded(writer, verl):
    write_rollouts(verl, 1)
    write_metrics(verl, 1)
    converter(writer, verl)[0].take()
    write_rollouts(verl, 2)
    write_metrics(verl, 2)  # verl's file begins anew
    made, _ = converter(writer, verl, after=1)
    made.take()
    assert Run(writer.directory).metrics()["step"].tolist() == [1, 2]


def test_validations_are_ordered_by_question_and_summed_up(writer, verl):
    write_validation(verl, 0)
    made, _ = converter(writer, verl)
    assert made.take()
    run = Run(writer.directory)
    assert run.evaluations() == [("validation", 0)]
    samples = run.samples("validation", 0)
    assert samples["example_id"].tolist() == ["q1", "q1", "q2", "q2"]
    assert samples["sample"].tolist() == [0, 1, 0, 1]
    assert samples["text"][0] == "a\u2028b"
    assert run.summary("validation", 0)["overall"]["accuracy"]["value"] == 0.75


def test_updates_without_a_finite_gradient_are_counted_in_a_row(writer, verl):
    for step in (1, 2):
        write_rollouts(verl, step)
    write_metrics(verl, 1, 2, **{"actor/grad_norm": None})
    made, _ = converter(writer, verl)
    made.take()
    assert made.skipped == 2
    assert Run(writer.directory).metrics()["train/skipped_updates"].tolist() == [1.0, 1.0]


def test_missing_rollouts_are_told(writer, verl):
    write_rollouts(verl, 1, rewards=(1.0, 0.0))
    write_metrics(verl, 1)
    made, told = converter(writer, verl)
    made.take()
    assert "2 of 4 rollouts" in told[0]


def test_processes_without_the_plugin_are_told_apart_from_a_run_without_rollouts(writer, verl):
    write_metrics(verl, 1)
    with pytest.raises(RunError, match="did not load"):
        converter(writer, verl)[0].take()


def test_verls_lines_about_validation_alone_are_no_steps(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "data": {"val-core/x": 1.0}}\n')
    assert read_metrics(path) == {}


def test_a_timing_that_verl_lacks_is_left_out():
    assert "evaluate_seconds" not in timings({"timing_s/step": 1.0, "timing_s/gen": 0.5}, 10)


def test_nats_averaged_over_a_fixed_length_are_told_a_token():
    from oneshot_rlvr.backends.verl.convert import per_token
    from oneshot_rlvr.config import parse_recipe
    from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict

    def graded(tokens):
        rollout = Rollout(0, 0, "e", (1,), (7,) * tokens, (0.0,) * tokens, "", True)
        return Graded(rollout, Verdict(False, Reason.MISMATCH), 0.0)

    # 2 nats at each of 3 + 5 tokens, summed and divided by 2 rollouts of 100: 0.08.
    told = {"train/entropy_nats": 0.08, "train/kl": 0.04, "train/loss": 1.0}
    recipe = parse_recipe({"rollouts": {"max_new_tokens": 100}, "algorithm": {"name": "dr_grpo"}})
    found = per_token(told, recipe, [graded(3), graded(5)])
    assert found == pytest.approx({"train/entropy_nats": 2.0, "train/kl": 1.0, "train/loss": 1.0})
    assert per_token(told, parse_recipe({}), [graded(3)]) == told


def test_groups_that_verl_dropped_are_recorded_counted_and_costed(tmp_path, verl):
    """Two rows of two, the first of which was all right and gave its place to a third."""
    recipe = parse_recipe(
        {
            "rollouts": {"prompts_per_step": 2, "group_size": 2},
            "algorithm": {"name": "dapo", "overlong_buffer_share": 0.0},
        }
    )
    names = {1.0: "correct", 0.0: "mismatch"}
    told = [  # row, index, reward, sampling, learned
        (1, 0, 1.0, 1, True), (1, 1, 0.0, 1, True), (2, 0, 0.0, 2, True), (2, 1, 1.0, 2, True),
        (0, 0, 1.0, 1, False), (0, 1, 1.0, 1, False),
    ]  # fmt: skip
    rows = [
        {
            "step": 1, "row": row, "index": index, "example_id": "a", "prompt_tokens": [5, 6],
            "tokens": [7, 1, 1], "logprobs": [-0.5] * 3, "reward": reward,
            "advantage": reward - 0.5 if learned else 0.0, "logprob_gap": 0.0, "text": "x",
            "reason": names[reward], "extracted": "null", "finished": True, "acc": bool(reward),
            "sampling": sampling, "learned": learned,
        }
        for row, index, reward, sampling, learned in told
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), verl / "rollouts" / "step-000001.parquet")
    write_metrics(verl, 1)
    notes = []
    with RunWriter.create(tmp_path / "run", {"name": "x"}) as writer:
        Converter(
            recipe, writer, verl, [], after=0, told=lambda *given: None, note=notes.append
        ).take()
    assert notes == []  # as many were trained on as should be
    run = Run(tmp_path / "run")
    (metrics,) = run.metrics().to_dict("records")
    assert metrics["train/accuracy"] == 0.75  # of first answers: rows 0 and 1
    assert metrics["train/zero_variance_share"] == 0
    assert metrics["train/tokens"] == 18
    assert (metrics["train/resampled_rows"], metrics["train/discarded_tokens"]) == (1, 6)
    rollouts = run.rollouts(columns=["learned", "sampling", "advantage"])
    assert rollouts["learned"].tolist() == [True] * 4 + [False] * 2
    assert rollouts["sampling"].tolist() == [1, 1, 2, 2, 1, 1]
    assert rollouts["advantage"].tolist() == [0.5, -0.5, -0.5, 0.5, 0.0, 0.0]
