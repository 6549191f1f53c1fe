"""The one summary shape, by hand."""

from __future__ import annotations

import json

import pytest

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.estimators import question_interval
from oneshot_rlvr.records import rechecks, summarise

META = {"benchmark": "tiny", "temperature": 0.6, "seed": 7}


def sample(example_id, correct, family="times", group="math", **extra):
    return {
        "example_id": example_id,
        "family": family,
        "domain": "arithmetic",
        "group": group,
        "text": "so it is 4",
        "tokens": 10,
        "finished": True,
        "correct": correct,
        "reason": "correct" if correct else "mismatch",
        "boxed": correct,
        **extra,
    }


def test_a_summary_counts_by_hand():
    samples = [
        sample("q1", True),
        sample("q1", False, text="Wait, let me recheck.", tokens=20),
        sample("q2", True, family="strings", group="other"),
        sample("q2", True, family="strings", group="other", finished=False),
    ]
    summary = summarise(samples, **META, extra_key=1)
    assert (summary["benchmark"], summary["temperature"], summary["seed"]) == ("tiny", 0.6, 7)
    assert (summary["samples"], summary["extra_key"]) == (2, 1)
    assert summary["overall"] == {
        "accuracy": question_interval([[1, 0], [1, 1]]).as_dict(),
        "boxed_share": 0.75,
        "truncated_share": 0.25,
        "recheck_share": 0.25,
        "tokens_mean": 12.5,
        "questions": 2,
        "samples": 4,
        "reasons": {"correct": 3, "mismatch": 1},
        # Both questions have a right answer among two; Wilson's lower end is 2 / (2 + 1.96^2).
        "pass_at_k": {
            "2": {"value": 1.0, "low": pytest.approx(2 / (2 + 1.959964**2)), "high": 1.0, "n": 2}
        },
    }
    assert set(summary["groups"]) == {"math", "other"}
    assert set(summary["domains"]) == {"arithmetic"}
    assert summary["families"]["times"]["accuracy"]["value"] == 0.5
    assert summary["families"]["strings"]["accuracy"]["n"] == 1


def test_every_question_weighs_the_same_however_many_answers_it_has():
    samples = [sample("q1", True)] + [sample("q2", False)] * 3
    assert summarise(samples, **META)["overall"]["accuracy"]["value"] == 0.5


def test_a_summary_is_strict_json_and_its_order_does_not_depend_on_the_samples():
    samples = [sample("q1", True), sample("q2", False, family="strings")]
    forth = json.dumps(summarise(samples, **META), allow_nan=False)
    assert forth == json.dumps(summarise(samples[::-1], **META), allow_nan=False)


def test_a_sample_without_a_family_stands_in_overall_alone():
    summary = summarise([sample("q1", True, family="", group="")], **META)
    assert (summary["families"], summary["groups"]) == ({}, {})
    assert summary["overall"]["questions"] == 1


def test_no_samples_and_missing_columns_are_refused():
    with pytest.raises(RecordsError, match="no graded samples"):
        summarise([], **META)
    bad = sample("q1", True)
    del bad["boxed"]
    with pytest.raises(RecordsError, match="lack boxed"):
        summarise([bad], **META)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Wait, let me recheck.", True),
        ("Rethinking this", True),
        ("I re-check and recalculate", True),
        ("recalculated", True),
        ("a forecheck", False),
        ("prethink", False),
        ("check again", False),
        ("", False),
    ],
)
def test_rechecking_is_the_three_words_of_the_paper(text, told):
    assert rechecks(text) is told


def test_the_mean_score_stands_in_a_summary_where_scores_say_more_than_yes_and_no():
    samples = [
        sample("q1", True, score=1.0),
        sample("q1", False, score=0.5),
        sample("q2", False, score=0.25),
    ]
    # Of questions, as avg@K: (3/4 + 1/4) / 2.
    assert summarise(samples, **META)["overall"]["score"] == pytest.approx(0.5)
    plain = [sample("q1", True, score=1.0), sample("q2", False, score=0.0), sample("q3", True)]
    assert "score" not in summarise(plain, **META)["overall"]
