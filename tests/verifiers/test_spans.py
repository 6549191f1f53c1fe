"""Spans and boxes: which texts state one, when it is right, and intersection over union by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.spans import overlap_of_boxes, read_ends

kind = get_verifier("numeric")


def verdict(said, gold, **extra):
    asked = Example("a", "q", gold, "numeric", extra={"score": "overlap", **extra})
    return kind.check(rf"\boxed{{{said}}}", asked)


@pytest.mark.parametrize(
    ("gold", "said", "score"),
    [
        ("[2, 6]", "[4, 10]", 2 / 8),
        ("12 to 20 s", "14 s to 24 s", 6 / 12),
        ("[0, 10]", "[2, 4]", 2 / 10),
        ("[0, 1]", "[2, 3]", 0),
        ("[0, 1]", "[1, 2]", 0),  # they touch
        ("[0, 1]", "[1, 1]", 0),
        ("-5 to -1", "-3 to 1", 2 / 6),
        ("1 to 3 min", r"90\text{ s to }240\text{ s}", 90 / 180),
        (r"5\% to 10\%", "0.05 to 0.20", 5 / 15),
        ("$100 to $200", "$150 to $200", 50 / 100),
        ("[0, 0, 10, 10]", "[5, 5, 15, 15]", 25 / 175),
        ("[0, 0, 10, 10]", "[[0, 0], [10, 5]]", 50 / 100),
        ("[0, 0, 10, 10]", "[0, 20, 10, 30]", 0),  # beside each other in one dimension only
        ("[0, 0, 10, 10]", "[0, 10]", 0),
    ],
)
def test_a_span_that_is_not_the_gold_scores_intersection_over_union(gold, said, score):
    told = verdict(said, gold)
    assert (told.correct, told.reason) == (False, Reason.MISMATCH)
    assert told.score == pytest.approx(score)


@pytest.mark.parametrize(
    "said",
    [
        "[12, 19.5]", "(12, 19.5)", "12 to 19.5 s", "12 s to 19.5 s", "from 12 to 19.5",
        r"12\text{ to }19.5", "between 12 and 19.5", "12-19.5", "12 – 19.5 s", "12, 19.5",
        r"12 \le t \le 19.5", r"t \in [12, 19.5]", "[12; 19.5] s", r"\left[12, 19.5\right]",
        "12 s - 19.5 s", r"$[12, 19.5]$", r"[12, 19.5]\text{ seconds}",
    ],
)  # fmt: skip
def test_a_span_is_right_in_any_of_its_spellings(said):
    told = verdict(said, "12 to 19.5 s")
    assert told.correct
    assert (told.score, told.details["rule"]) == (1.0, "span")


@pytest.mark.parametrize(
    "said",
    ["12", "[19.5, 12]", "[12, 15, 19.5]", "12 and 19.5", "12 or 19.5", "[12 19.5]", "a to b",
     "[12 s, 19.5 kg]", "[10, 10, 5, 20]", "120/80", r"t \ge 12", "between 12 to", "12 km", "[]"],
)  # fmt: skip
def test_what_states_no_span_is_undecided_and_scores_nothing(said):
    told = verdict(said, "12 to 19.5")
    assert not told.correct
    assert (told.reason, told.score) == (Reason.UNPARSEABLE, 0.0)


def test_both_ends_have_the_tolerance():
    assert verdict("[12.1, 19.4]", "[12, 19.5]", abs_tol=0.1).correct
    assert not verdict("[12.1, 19.3]", "[12, 19.5]", abs_tol=0.1).correct
    assert verdict("[1000, 2000] m", "[1, 2] km").correct
    assert not verdict("[1, 2] kg", "[1, 2] km").correct
    assert verdict("[1, 2] kg", "[1, 2] km").score == 0.0


def test_the_nearest_of_several_golds_counts():
    assert verdict("[4, 6]", "[0, 2]", golds=["[4, 8]"]).score == pytest.approx(0.5)
    assert verdict("[4, 8]", "[0, 2]", golds=["[4, 8]"]).correct


def test_thousands_are_one_number_where_a_space_parts_the_ends():
    assert [end.value for end in read_ends("[1,000, 2,000]")] == [1000, 2000]
    assert [end.value for end in read_ends("[10,20,110,220]")] == [10, 20, 110, 220]


@pytest.mark.parametrize(
    ("gold", "extra"),
    [("5", {}), ("[6, 2]", {}), ("no span", {}), ("[1, 2]", {"unit": "no unit 5"})],
)
def test_a_gold_that_is_no_span_is_refused(gold, extra):
    asked = Example("a", "q", gold, "numeric", extra={"score": "overlap", **extra})
    with pytest.raises(DataError, match=r"span|no unit"):
        kind.check_gold(asked)


def test_scores_of_two_kinds_at_once_and_unknown_ones_are_refused():
    both = {"score": "overlap", "bands": [[0.1, 0.5]]}
    for extra in (both, {"score": "edit"}):
        with pytest.raises(DataError, match="score"):
            kind.check(r"\boxed{[1, 2]}", Example("a", "q", "[1, 2]", "numeric", extra=extra))


def test_without_the_option_a_span_is_no_number():
    told = kind.check(r"\boxed{[1, 2]}", Example("a", "q", "1", "numeric"))
    assert (told.reason, told.score) == (Reason.UNPARSEABLE, 0.0)


ends = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)


@given(ends, ends)
def test_the_overlap_of_spans_is_that_of_the_unit_steps_they_cover(one, other):
    left, right = (set(range(low, high)) for low, high in (one, other))
    share = len(left & right) / len(left | right) if left | right else 0.0
    assert overlap_of_boxes(one, other) == pytest.approx(share)


@given(ends, ends, ends, ends)
def test_the_overlap_of_boxes_is_that_of_the_unit_squares_they_cover(x1, y1, x2, y2):
    left, right = (
        {(x, y) for x in range(*xs) for y in range(*ys)} for xs, ys in ((x1, y1), (x2, y2))
    )
    share = len(left & right) / len(left | right) if left | right else 0.0
    boxes = [(xs[0], ys[0], xs[1], ys[1]) for xs, ys in ((x1, y1), (x2, y2))]
    assert overlap_of_boxes(*boxes) == pytest.approx(share)
