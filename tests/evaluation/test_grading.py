"""Graded rows: both readings, votes, loops, versions; grading again; the summary's new numbers."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.evaluation.grading import Answer, graded, repeats_itself, verifier_version, vote
from oneshot_rlvr.evaluation.regrade import changes, regrade
from oneshot_rlvr.evaluation.store import file_name, read_samples, sample_files, write_samples
from oneshot_rlvr.records import summarise
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example, Reason, Verdict

STRICT = Example("a", "2 + 2?", "4", "math_answer", extra={"extraction": "strict"})
LENIENT = Example("b", "2 + 2?", "4", "math_answer", extra={"extraction": "lenient"})
FACTS = {
    "benchmark": "b", "split": "test", "model": "m", "prompt": "own", "temperature": 0.6,
    "max_new_tokens": 9, "seed": 1,
}  # fmt: skip


def grade(pairs, facts=FACTS):
    answers = [Answer(e, n, text, 3, True) for n, (e, text) in enumerate(pairs)]
    with Scorer(RewardConfig(workers=0), seed=0) as scorer:
        return graded(answers, scorer, facts)


@pytest.mark.parametrize("example", [STRICT, LENIENT])
def test_both_readings_stand_beside_the_benchmark_s_own(example):
    texts = ["\\boxed{4}", "The answer is 4.", "The answer is 5.", "none"]
    rows = grade([(example, text) for text in texts])
    assert [row["strict"] for row in rows] == [True, False, False, False]
    assert [row["lenient"] for row in rows] == [True, True, False, False]
    own = "strict" if example is STRICT else "lenient"
    assert [row["correct"] for row in rows] == [row[own] for row in rows]


def test_code_is_read_in_one_way_only():
    code = Example("c", "f?", "", "python_code", extra={"tests": "assert f() == 1"})
    (row,) = grade([(code, "no code at all")])
    assert (row["strict"], row["lenient"], row["reason"]) == (None, None, "no_answer")
    summary = summarise([row], benchmark="b", temperature=0.0, seed=0)
    assert "strict" not in summary["overall"]


@pytest.mark.parametrize(
    ("said", "voted"),
    [("0.50", "1/2"), ("1/2", "1/2"), (" x + 1 ", "x+1"), ("", None), (None, None)],
)
def test_answers_vote_by_value_or_by_text_without_blanks(said, voted):
    assert vote(Verdict(False, Reason.MISMATCH, said)) == voted
    assert vote(Verdict(False, Reason.NO_ANSWER, said)) is None


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("So x = 2. " * 20, True),
        ("Let me see. " + "wait " * 30, True),
        ("a long way to say it " * 4 + "a long way to s", False),  # under 100 characters
        ("a rather long way of saying the very same thing " * 4 + "a rather", True),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 " * 2, False),
        ("So x = 2. " * 20 + "Therefore the answer, at last, is 5.", False),
        ("", False),
        ("x" * 5000, True),
    ],
)
def test_a_text_that_ends_in_a_loop_is_told(text, loops):
    assert repeats_itself(text) is loops


@given(st.text(alphabet="ab ", max_size=150))
def test_loops_are_those_that_trying_every_period_finds(text):
    tail = " ".join(text.split())
    slow = any(
        all(tail[-1 - i] == tail[-1 - i - period] for i in range(length - period))
        for length in range(100, len(tail) + 1)
        for period in range(1, length // 4 + 1)
    )
    assert repeats_itself(text) is slow


def test_the_version_names_the_package_and_changes_with_the_verifiers_source(monkeypatch):
    version = verifier_version()
    assert version.startswith("0.1.0+")
    assert "math-verify 0.9" in version


def test_the_summary_has_pass_at_k_and_the_majority_by_hand():
    texts = ["\\boxed{4}", "\\boxed{4}", "\\boxed{5}", "\\boxed{6}"]
    rows = grade([(STRICT, text) for text in texts])
    overall = summarise(rows, benchmark="b", temperature=0.6, seed=0)["overall"]
    assert overall["accuracy"]["value"] == 0.5
    assert overall["pass_at_k"]["2"]["value"] == pytest.approx(1 - 1 / 6)
    assert overall["pass_at_k"]["4"]["value"] == 1.0
    assert list(overall["pass_at_k"]) == ["2", "4"]
    assert overall["majority"]["value"] == 1.0
    assert overall["repeated_share"] == 0.0


def test_pass_at_k_goes_to_256_and_to_no_more_than_was_drawn():
    (row,) = grade([(STRICT, "\\boxed{5}")])
    many = [{**row, "sample": n, "correct": n == 0} for n in range(300)]
    overall = summarise(many, benchmark="b", temperature=0.6, seed=0)["overall"]
    assert list(overall["pass_at_k"]) == ["2", "4", "8", "16", "32", "64", "128", "256"]
    assert overall["pass_at_k"]["256"]["value"] == pytest.approx(256 / 300)
    one = summarise(many[:1], benchmark="b", temperature=0.0, seed=0)["overall"]
    assert "pass_at_k" not in one
    assert "majority" not in one


# Stored, and graded again.


def test_stored_samples_come_back_and_say_how_they_were_made(tmp_path):
    rows = grade([(STRICT, "\\boxed{4}"), (LENIENT, "it is \ud800")])
    path = tmp_path / file_name("aime24", "own", 8, 0.6, 0)
    assert path.name == "aime24.own.k8.t0.6.seed0.parquet"
    write_samples(path, rows)
    back = read_samples(path)
    assert [row["text"] for row in back] == ["\\boxed{4}", "it is ?"]
    assert back[0]["prompt"] == "own"
    assert back[0]["temperature"] == 0.6
    assert back[0]["seed"] == 1
    assert back[0]["verifier_version"] == verifier_version()
    assert json.loads(back[1]["options"]) == {"extraction": "lenient"}
    assert pq.read_schema(path).field("tokens").type == "int32"


def test_grading_again_needs_neither_model_nor_benchmark_and_tells_what_changed(tmp_path):
    rows = grade([(STRICT, "\\boxed{4}"), (STRICT, "\\boxed{5}")])
    stored = [{**row, "correct": not row["correct"], "verifier_version": "old"} for row in rows]
    with Scorer(RewardConfig(workers=0), seed=0) as scorer:
        again = regrade(stored, scorer)
    assert [row["correct"] for row in again] == [True, False]
    assert [row["previous_correct"] for row in again] == [False, True]
    assert {row["previous_version"] for row in again} == {"old"}
    assert changes(again) == (1, 1)
    kept = ("example_id", "text", "sample", "prompt", "seed", "options", "strict", "vote")
    assert [{k: row[k] for k in kept} for row in again] == [
        {k: row[k] for k in kept} for row in rows
    ]
    write_samples(tmp_path / "a.parquet", again)
    assert read_samples(tmp_path / "a.parquet")[0]["previous_correct"] is False


def test_samples_that_do_not_say_how_they_were_graded_are_refused():
    (row,) = grade([(STRICT, "\\boxed{4}")])
    with (
        Scorer(RewardConfig(workers=0), seed=0) as scorer,
        pytest.raises(RecordsError, match="lack verifier, options"),
    ):
        regrade([{k: v for k, v in row.items() if k not in ("verifier", "options")}], scorer)


def test_files_that_hold_no_samples_are_told(tmp_path):
    with pytest.raises(RecordsError, match="holds no graded samples"):
        sample_files(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(RecordsError, match="cannot be read"):
        read_samples(tmp_path / "x.parquet")
    import pandas as pd

    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "y.parquet")
    with pytest.raises(RecordsError, match="it lacks example_id"):
        read_samples(tmp_path / "y.parquet")
