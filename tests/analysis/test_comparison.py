"""Before against after: which sets are compared, how they are paired, what format explains."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_rlvr.analysis.comparison import compare, format_share, paired_change
from oneshot_rlvr.evaluation.comparison import compare as evaluated
from oneshot_rlvr.records import Run, RunWriter


def answers(rows):
    return pd.DataFrame(rows, columns=["example_id", "correct", "boxed"])


def test_the_test_set_is_compared_where_both_sides_are_recorded(finished_run):
    comparison = compare(Run(finished_run))
    assert (comparison.name, comparison.step, comparison.complete) == ("test", 40, True)
    assert comparison.overall.before.value < comparison.overall.after.value
    assert comparison.overall.difference.value == pytest.approx(
        comparison.overall.after.value - comparison.overall.before.value
    )
    assert len(comparison.families) == 7
    assert {change.name for change in comparison.groups} == {"math", "other"}
    assert comparison.family_domain["multiply"] == "arithmetic"


def test_without_a_test_the_latest_validation_stands_in(build, tmp_path):
    comparison = compare(Run(build(tmp_path / "run", steps=20, test=False)))
    assert (comparison.name, comparison.step) == ("validation", 20)


def test_the_checkpoint_that_the_result_names_is_compared(build, tmp_path, synthetic):
    build(tmp_path / "run", steps=20, test=False, finish=False)
    with RunWriter.resume(tmp_path / "run", 20) as writer:
        writer.finish({"step": 10})
    comparison = compare(Run(tmp_path / "run"))
    assert (comparison.step, comparison.others) == (10, [20])
    assert compare(Run(tmp_path / "run"), step=20).step == 20


def test_one_side_alone_is_no_comparison_and_nothing_is_none(build, tmp_path):
    base_only = compare(Run(build(tmp_path / "a", steps=5, test=False)))
    assert not base_only.complete
    assert base_only.overall.before is not None
    assert (base_only.overall.after, base_only.overall.difference) == (None, None)
    assert compare(Run(build(tmp_path / "b", steps=5, test=False, validation=False))) is None


def test_questions_are_paired_whatever_order_they_stand_in():
    before = answers([("a", True, True), ("b", False, True), ("c", False, True)])
    after = answers([("c", False, True), ("b", True, True), ("a", True, True)])
    # a: 1 -> 1, b: 0 -> 1, c: 0 -> 0. Paired with the wrong question they would spread wider.
    change = paired_change(before, after)
    assert (change.value, change.n) == (pytest.approx(1 / 3), 3)
    # Bonett and Price: one difference of each sign joins. (0, 1, 0, 1, -1) has the mean 1 / 5 and
    # the variance 14 / 25.
    half = 1.959964 * (14 / 25) ** 0.5 / 5**0.5
    assert (change.low, change.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)


def test_the_interval_is_that_of_the_command_that_compares_two_models():
    rng = np.random.default_rng(0)

    def side(right: float) -> list[dict]:
        return [
            {"example_id": f"q{q}", "sample": k, "answer": "1", "correct": bool(value)}
            for q in range(20)
            for k, value in enumerate(rng.random(4) < right)
        ]

    before, after = side(0.4), side(0.6)
    ours = paired_change(pd.DataFrame(before), pd.DataFrame(after))
    (told,) = [evaluated("b", [before], [after]).over_questions]
    assert (ours.value, ours.low, ours.high, ours.n) == (told.value, told.low, told.high, told.n)


def test_questions_that_happen_to_agree_do_not_make_a_change_certain():
    before = answers([(f"q{q}", False, True) for q in range(5)])
    after = answers([(f"q{q}", True, True) for q in range(5)])
    change = paired_change(before, after)
    assert (change.value, change.high) == (1.0, 1.0)
    assert change.low < 0.7  # a plain t interval would say exactly 1


def test_one_question_alone_has_no_interval():
    one, other = answers([("a", True, True)]), answers([("a", False, True)])
    change = paired_change(one, other)
    assert change.value == -1
    assert np.isnan(change.low)


def test_different_questions_give_no_paired_change():
    one, other = answers([("a", True, True)]), answers([("b", True, True)])
    assert paired_change(one, other) is None


def test_missing_samples_leave_the_summaries_standing(build, tmp_path):
    run = build(tmp_path / "run", steps=2, validation=False)
    (run / "evaluations" / "test-base.parquet").unlink()
    comparison = compare(Run(run))
    assert comparison.complete
    assert (comparison.overall.difference, comparison.format_share) == (None, None)


def test_a_gain_from_boxing_alone_is_all_format():
    # Boxed answers are right 1 in 2 on both sides, unboxed never; only the boxed share moves.
    before = answers(
        [("a", True, True), ("a", False, True), ("a", False, False), ("a", False, False)]
    )
    after = answers([("a", True, True), ("a", True, True), ("a", False, True), ("a", False, True)])
    share = format_share(before, after)
    assert (share.gain, share.by_boxing, share.within) == pytest.approx((0.25, 0.25, 0.0))


def test_a_gain_at_an_unchanged_boxed_share_is_no_format():
    before = answers([("a", False, True), ("a", False, False)])
    after = answers([("a", True, True), ("a", False, False)])
    share = format_share(before, after)
    assert (share.gain, share.by_boxing, share.within) == pytest.approx((0.5, 0.0, 0.5))


kinds = st.lists(st.tuples(st.just("a"), st.booleans(), st.booleans()), min_size=1, max_size=20)


@given(kinds, kinds)
def test_the_two_parts_of_a_gain_always_add_up(before, after):
    share = format_share(answers(before), answers(after))
    gain = sum(r[1] for r in after) / len(after) - sum(r[1] for r in before) / len(before)
    assert share.by_boxing + share.within == pytest.approx(gain, abs=1e-12)
    assert share.gain == pytest.approx(gain, abs=1e-12)
