"""Golds as data sets publish them, taken out as text."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_rlvr.examples import gold
from oneshot_rlvr.examples.gold import (
    FORMS,
    after_hashes,
    boxed,
    boxed_or_plain,
    first,
    plain,
    undollared,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" 12.8 ", "12.8"), ("025", "025"), (27, "27"), (27.0, "27"), (-1.0, "-1"), (2.5, "2.5"),
        (1e300, "1e+300"), (Decimal("1.50"), "1.50"), (None, None), ("  ", None), (math.nan, None),
    ],
)  # fmt: skip
def test_a_number_becomes_the_shortest_text_and_text_stays(value, text):
    assert plain(value) == text


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, b"4"])
def test_what_is_neither_text_nor_number_is_refused(value):
    with pytest.raises(TypeError):
        plain(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_denotes_that_number(number):
    assert float(plain(number)) == number


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        (r"so \boxed{4}.", "4"),
        (r"\boxed{1}, no: \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{1} and $\boxed{2}$", "1, 2"),
        (r"\boxed{3}, that is $\boxed{3}$", "3"),
        (r"\boxed {$\pi$}", r"\pi"),
        (r"\boxed{1}, \boxed{ \boxed{\boxed{7}} }", "1, 7"),
        (r"\boxed{1 \boxed{2} 3}", r"1 \boxed{2} 3"),
        (r"\boxed{5} then \boxed{", "5"),
        ("no box", None),
        (r"\boxed{}", None),
        (None, None),
    ],
)
def test_the_last_run_of_boxes_is_the_gold(text, gold):
    assert boxed(text) == gold


def test_a_solution_without_a_box_is_the_gold_without_dollars():
    assert boxed_or_plain("$\\frac{1}{2}$") == r"\frac{1}{2}"
    assert boxed_or_plain(r"so it is \boxed{3}") == "3"
    assert undollared(r"\$32,348") == r"\$32,348"


def test_gsm8k_golds_stand_after_the_hashes():
    assert after_hashes("She sells 9.\n#### 1,450,000") == "1450000"
    assert after_hashes("no hashes") is None


def test_the_first_of_a_list_of_golds_counts():
    assert first(["$69$,$84$"]) == "69,84"
    assert first([]) is None
    assert first("5") == "5"


@given(st.sampled_from(sorted(FORMS)), st.text() | st.floats() | st.integers() | st.none())
def test_no_form_raises_on_text_or_numbers(form, value):
    gold = FORMS[form](value)
    assert gold is None or gold.strip()


GSM8K = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n#### 72"
)


@pytest.mark.parametrize(
    ("published", "verifier", "answer"),
    [
        (GSM8K, "math_answer", "72"),
        (GSM8K, "numeric", "72"),
        (GSM8K, "exact_match", "72"),
        ("So it is 10 more.\n#### 1,234", "math_answer", "1234"),
        ("They meet twice.\n#### 1, 2", "math_answer", "1, 2"),  # a list keeps its comma
        ("<think>2 + 2</think> <answer>4</answer>", "math_answer", "4"),
        ("<answer>3</answer> no, <answer>\\boxed{4}</answer>", "numeric", "4"),
        ("We add the two numbers and find $2+2=\\boxed{4}$.", "math_answer", "4"),
        ("The correct option is \\boxed{B}.", "multiple_choice", "B"),
        # Not worked solutions, but answers of their own kind.
        ("\\text{Monday and Tuesday}", "math_answer", "\\text{Monday and Tuesday}"),
        ("x \\text{ is even}", "math_answer", "x \\text{ is even}"),
        (
            "\\begin{cases}\n x & x > 0 \\\\\n -x & x < 0\n\\end{cases}",
            "math_answer",
            "\\begin{cases}\n x & x > 0 \\\\\n -x & x < 0\n\\end{cases}",
        ),
        ("the cat is on the mat", "exact_match", "the cat is on the mat"),
        ("def f():\n    #### 5\n    return 5", "python_code", "def f():\n    #### 5\n    return 5"),
        ("\\boxed\\{[0-9]+\\}", "regex_match", "\\boxed\\{[0-9]+\\}"),
        (
            "f(x)=ax+b, where a is any integer and b is one",
            "math_answer",
            "f(x)=ax+b, where a is any integer and b is one",
        ),
        ("<think>2 + 2, so \\boxed{3}? No.</think> 4", "math_answer", "4"),
        ("<answer>4", "numeric", "4"),  # cut off behind the answer
        ("So $x = \\fbox{4}$.", "math_answer", "4"),  # as MATH's own code reads it
        ("So it is $\\boxed 4$.", "math_answer", "4"),
        ("so $x=\\boxed{4}$ and $y=\\boxed{5}$", "math_answer", "x = 4, y = 5"),
        ("Final answer: 4", "math_answer", "4"),
        ("Answer: B", "multiple_choice", "B"),
        ("64-27=<<64-27=37>>37", "math_answer", "64-27=37"),
        ("x = 5 \\text{ or } x = 6", "math_answer", "x = 5 \\text{ or } x = 6"),
        ("the total is 4 of 5", "exact_match", "the total is 4 of 5"),
        (np.float64(27.0), "numeric", "27"),
        (np.int64(27), "numeric", "27"),
    ],
)
def test_the_answer_is_taken_out_of_a_worked_solution(published, verifier, answer):
    assert gold.answer_of(published, verifier) == answer


@pytest.mark.parametrize("verifier", ["math_answer", "numeric"])
@pytest.mark.parametrize(
    "prose",
    [
        GSM8K.rpartition("\n")[0],
        "The answer is 72.",
        "Natalia sold 72 clips.\nThat is all.",
        "Natalia sold 72 clips",
        "There are 72",
        "It takes 3 hours",
        "72 clips\nbecause 24+48=72",
        '["72"]',
        "['72', '73']",
        '{"answer": 72}',
        "So we get \\boxed{}",
        "<answer>Therefore we have 5 apples</answer>",
        "So we are left with x = 5, where x is the number of clips that she sold in all.",
    ],
)
def test_prose_is_no_gold_of_a_number(prose, verifier):
    with pytest.raises(gold.ProseError):
        gold.answer_of(prose, verifier)


@pytest.mark.parametrize("missing", ["nan", "NaN", "null", "<NA>", "<answer></answer>"])
def test_what_stands_for_a_missing_value_is_no_gold(missing):
    assert gold.answer_of(missing, "math_answer") is None


def test_no_published_gold_of_the_paper_s_pool_is_changed_or_refused(data_dir):
    rows = pd.read_parquet(data_dir / "one_shot_rlvr" / "dsr_sub.parquet")["reward_model"]
    golds = [row["ground_truth"] for row in rows if row["ground_truth"].strip()]
    assert len(golds) == 1208
    assert [gold.answer_of(g, "math_answer") for g in golds] == [g.strip() for g in golds]
