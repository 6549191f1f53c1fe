import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_rlvr.verifiers.boxed import boxes, last_box, last_boxes


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{1} no, wait. \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{3} and then \boxed{4", "3"),
        (r"\boxed{ 3 and \boxed{4}", "4"),
        (r"\boxed{}", ""),
        (r"} } \boxed{9} }", "9"),
    ],
)
def test_the_last_complete_box_decides(text, content):
    assert last_box(text) == content


@pytest.mark.parametrize(
    "text", ["", "5", r"\boxed", r"\boxed{", r"\boxed 5", r"\boxed\{5\}", "boxed{5}"]
)
def test_what_is_no_complete_box_is_none(text):
    assert last_box(text) is None


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{1}, \boxed{2}",
        r"$\boxed{1}$ and $\boxed{2}$",
        r"\boxed{1} \quad \boxed{2}",
        r"\boxed{1}\boxed{2}",
        r"\(\boxed{1}\), and \(\boxed{2}\)",
        r"\boxed{7}. \boxed{1} \text{ and } \boxed{2}",
        r"\boxed{1} or \boxed{2}",
        r"\boxed{1} \text{ or } \boxed{2}",
        r"\boxed{1} \text{ for part (a) and } \boxed{2}",
    ],
)
def test_boxes_joined_only_by_separators_are_one_list(text):
    assert last_boxes(text) == ("1", "2")
    assert last_box(text) == "1, 2"


def test_boxes_of_several_unknowns_keep_their_names():
    assert last_box(r"$x = \boxed{4}$ and $y = \boxed{7}$") == "x = 4, y = 7"
    assert last_box(r"x_1=\boxed{4}, x_2=\boxed{7}") == "x_1 = 4, x_2 = 7"
    assert last_box(r"x = \boxed{4}, x = \boxed{7}") == "4, 7"  # one unknown, two values
    assert last_box(r"x = \boxed{4}, y = \boxed{7}, x + y = \boxed{11}") == "11"


def test_boxes_with_prose_between_are_no_list():
    assert last_boxes(r"\boxed{1}, so finally \boxed{2}") == ("2",)


def test_a_repeated_box_is_one_answer():
    assert last_boxes(r"\boxed{5} \boxed{5}") == ("5",)


def test_a_box_inside_a_box_is_counted_once():
    assert [b.content for b in boxes(r"\boxed{a \boxed{b}} \boxed{c}")] == [r"a \boxed{b}", "c"]


@pytest.mark.parametrize("piece", ["\\boxed{", "\\boxed{}", "{", "}", "\\", "\\boxed{1},", "$" * 7])
def test_reading_is_linear_in_the_text(piece):
    text = piece * (300_000 // len(piece))
    start = time.process_time()
    last_box(text)
    assert time.process_time() - start < 3


@given(st.lists(st.sampled_from(
    ["\\boxed{", "\\boxed {", "{", "}", "}", "\\{", "\\}", "\\\\", "\\", "5", "x", " ", "\\frac{",
     "\n", ",", "$"]
), max_size=14))  # fmt: skip
def test_a_single_plain_box_is_read_as_all_boxes_are(pieces):
    text = "".join(pieces)
    found = [box.content.strip() for box in boxes(text)]
    if len(found) == 1 and "\\boxed" not in found[0]:
        assert last_boxes(text) == (found[0],)
    elif not found:
        assert last_boxes(text) == ()
