"""How good a wrong answer is: each kind's score, by hand or from a slow twin."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_rlvr.config import RewardConfig, load_recipe
from oneshot_rlvr.errors import DataError, GraderError
from oneshot_rlvr.examples import load_examples
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example, Reason, Rollout, Verdict
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.open_problems import golomb_marks
from oneshot_rlvr.verifiers.scoring import (
    edit_distance,
    edit_similarity,
    items_of,
    overlap,
    reached,
)


def example(kind, gold="", **extra):
    if kind == "python_code":  # the counting is the same with and without bubblewrap
        extra["sandbox"] = "rlimits_only"
    return Example("a", "q", gold, kind, extra=extra)


def score(text, asked):
    verdict = get_verifier(asked.verifier).check(text, asked)
    return verdict.correct, pytest.approx(verdict.score)


def test_a_verdict_scores_1_or_0_where_nobody_says_more():
    assert Verdict(True, Reason.CORRECT).score == 1.0
    assert Verdict(False, Reason.TIMEOUT).score == 0.0
    assert Verdict(False, Reason.MISMATCH, score=0.25).score == 0.25
    for wrong in (-0.1, 1.1, math.inf):
        with pytest.raises(ValueError, match="wanted 0 to 1"):
            Verdict(False, Reason.MISMATCH, score=wrong)


# Edit similarity.


def slow_distance(one, other):
    rows = [list(range(len(other) + 1))]
    for i, left in enumerate(one, 1):
        row = [i]
        for j, right in enumerate(other, 1):
            row.append(min(row[-1] + 1, rows[-1][j] + 1, rows[-1][j - 1] + (left != right)))
        rows.append(row)
    return rows[-1][-1]


@given(st.text("abc", max_size=30), st.text("abc", max_size=30))
def test_edit_distance_is_that_of_the_table(one, other):
    assert edit_distance(one, other) == slow_distance(one, other) == edit_distance(other, one)


def test_edit_distance_of_long_texts():
    assert edit_distance("a" * 10_000, "b" * 10_000) == 10_000
    assert edit_distance("a" * 10_000 + "x", "y" + "a" * 10_000) == 2


def test_edit_similarity_counts_against_the_longer_text():
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert edit_similarity("", "") == 1.0
    assert edit_similarity("", "ab") == 0.0


def test_exact_match_scores_edits_to_the_nearest_gold():
    asked = example("exact_match", "sitting", score="edit", golds=["mitten"])
    assert score(r"\boxed{kitten}", asked) == (False, 1 - 1 / 6)
    assert score(r"\boxed{Sitting.}", asked) == (True, 1.0)
    assert score("no box", asked) == (False, 0.0)
    assert score(r"\boxed{kitten}", example("exact_match", "sitting")) == (False, 0.0)


# Overlap.


def test_items_are_parted_by_commas_semicolons_and_lines():
    assert items_of(r"\{red, green ; blue\}") == {"red", "green", "blue"}
    assert items_of("[red,\n  red]") == {"red"}
    assert overlap(frozenset("ab"), frozenset("bc")) == pytest.approx(1 / 3)
    assert overlap(frozenset(), frozenset()) == 1.0


def test_exact_match_scores_sets_by_intersection_over_union():
    asked = example("exact_match", "red, green, blue", score="overlap")
    assert score(r"\boxed{blue, red}", asked) == (False, 2 / 3)
    assert score(r"\boxed{blue, red, pink, grey}", asked) == (False, 2 / 5)
    assert score(r"\boxed{Blue; green, red}", asked) == (True, 1.0)  # in any order
    assert score(r"\boxed{pink}", asked) == (False, 0.0)
    # All words there are do not pay.
    assert score(r"\boxed{" + ",".join(f"w{i}" for i in range(97)) + ", red, green, blue}", asked)[
        1
    ] == pytest.approx(0.03)


def test_an_unknown_way_of_scoring_is_refused():
    with pytest.raises(DataError, match='wanted "edit" or "overlap"'):
        score(r"\boxed{x}", example("exact_match", "y", score="words"))


# Bands of relative error.

BANDS = [[0.1, 0.5], [0.01, 0.8]]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("200", (True, 1.0)),
        ("201", (False, 0.8)),
        ("202", (False, 0.8)),  # at the edge
        ("203", (False, 0.5)),
        ("220", (False, 0.5)),
        ("221", (False, 0.0)),
        ("-200", (False, 0.0)),
        ("0.203 kg", (False, 0.5)),
        ("about two hundred", (False, 0.0)),
    ],
)
def test_numeric_scores_bands_of_relative_error(answer, expected):
    assert score(rf"\boxed{{{answer}}}", example("numeric", "200 g", bands=BANDS)) == expected


def test_a_tolerance_wider_than_a_band_decides_alone():
    asked = example("numeric", "200", bands=BANDS, rel_tol=0.05)
    assert score(r"\boxed{209}", asked) == (True, 1.0)
    assert score(r"\boxed{215}", asked) == (False, 0.5)


@pytest.mark.parametrize(
    "bands", [[[0.1, 1.0]], [[0.1, 0.5], [0.2, 0.5]], [[0, 0.5]], [[0.1]], "0.1", [], [[0.1, 0]]]
)
def test_bands_that_make_no_sense_are_refused(bands):
    with pytest.raises(DataError, match="option bands is"):
        score(r"\boxed{1}", example("numeric", "200", bands=bands))


# Tests passed.

CASES = [{"args": [n], "expected": n * n} for n in (0, 1, 2, 3)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return n * n", (True, 1.0)),
        ("return n", (False, 0.5)),  # right for 0 and 1
        ("return n * n if n else 1 / 0", (False, 0.75)),  # one test raises
        ("import os; os._exit(0)", (False, 0.0)),
    ],
)
def test_python_code_scores_the_share_of_calls_that_pass(body, expected):
    asked = example("python_code", tests=CASES, entry_point="f", score="tests")
    assert score(f"```python\ndef f(n):\n    {body}\n```", asked) == expected


def test_python_code_scores_asserts_and_programs():
    asserts = "x = 3\nassert f(x) == 9\nassert f(1) == 1\nassert f(0) == 0\nassert f(2) == 4"
    asked = example("python_code", tests=asserts, entry_point="f", score="tests")
    assert score("```python\ndef f(n):\n    return n\n```", asked) == (False, 0.5)
    programs = [{"stdin": str(n), "stdout": str(n * n)} for n in (0, 1, 2)]
    asked = example("python_code", tests=programs, score="tests")
    assert score("```python\nprint(int(input()))\n```", asked) == (False, 2 / 3)
    assert score("```python\nprint(int(input()) ** 2)\n```", asked) == (True, 1.0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return n * n if n < 1 else {}[n]", 1 / 4),
        ("return n * n if n < 1 else object()", 1 / 4),  # which may not cross
        ("import os\n    return n * n if n < 1 else os._exit(0)", 1 / 4),
        ("return n * n if n != 2 else object()", 3 / 4),
    ],
)
@pytest.mark.parametrize(
    "tests",
    [
        "assert f(0) == 0\nr = f(1)\nassert r == 1\nassert f(2) == 4\nassert f(3) == 9",
        "\n".join(f"def test_{n}():\n    assert f({n}) == {n * n}" for n in range(4)),
        [{"args": [n], "expected": n * n} for n in range(4)],
        "import unittest\nclass T(unittest.TestCase):\n"
        "    @classmethod\n    def setUpClass(cls):\n        cls.two = 2\n"
        + "\n".join(
            f"    def test_{n}(self):\n        self.assertEqual(f({n}), {n}**self.two)"
            for n in range(4)
        ),
    ],
)
def test_the_share_is_of_all_tests_however_the_code_ends(tests, body, expected):
    asked = example("python_code", tests=tests, entry_point="f", score="tests")
    assert score(f"```python\ndef f(n):\n    {body}\n```", asked) == (False, expected)


def test_without_the_option_code_is_right_or_wrong():
    asked = example("python_code", tests=CASES, entry_point="f")
    assert score("```python\ndef f(n):\n    return n\n```", asked) == (False, 0.0)


def test_code_that_could_count_its_own_tests_has_no_score():
    asked = example(
        "python_code", tests="assert f(1) == 1", entry_point="f", score="tests", isolation="shared"
    )
    with pytest.raises(DataError, match='needs isolation = "separate"'):
        score("```python\ndef f(n):\n    return n\n```", asked)


# An open problem.


@pytest.fixture
def open_problem(tmp_path, monkeypatch):
    (tmp_path / "packing.py").write_text(
        "from decimal import Decimal\nfrom fractions import Fraction\nimport numpy as np\n"
        "KNOWN = {'np.int64(4)': np.int64(4), 'np.float32(4)': np.float32(4), '1j': 1j,\n"
        "         'Fraction(4)': Fraction(4), 'Decimal(4)': Decimal(4), '10**400': 10**400,\n"
        "         '-10**400': -10**400, 'np.bool_(1)': np.bool_(1),\n"
        "         \"np.float64('nan')\": np.float64('nan')}\n"
        "def value(text, example):\n"
        "    if text in KNOWN:\n        return KNOWN[text]\n"
        "    if text == 'word':\n        return 'much'\n"
        "    return float(text) if text[-1].isdigit() else None\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda **extra: example("custom", function="packing:value", **extra)
    sys.modules.pop("packing", None)


def test_a_value_lies_between_worst_and_best():
    assert [reached(v, 10, 20) for v in (5, 10, 15, 20, 30)] == [0, 0, 0.5, 1, 1]
    assert [reached(v, 20, 10) for v in (25, 20, 12.5, 10, 5)] == [0, 0, 0.75, 1, 1]
    assert reached(math.inf, 10, 20) == 0.0


def test_a_program_that_returns_a_number_scores_by_its_direction(open_problem):
    more = open_problem(direction="max", worst=0, best=10)
    assert score("4", more) == (False, 0.4)
    assert score("10", more) == (True, 1.0)
    assert score("nothing", more) == (False, 0.0)
    assert get_verifier("custom").check("4", more).details == {"value": 4.0}
    less = open_problem(direction="min", worst=10, best=0)
    assert score("4", less) == (False, 0.6)
    with pytest.raises(GraderError, match=r"returned .*much"):
        score("word", more)
    # Programs of numpy, of fractions, of whole numbers beyond any float.
    assert score("np.int64(4)", more) == score("np.float32(4)", more) == (False, 0.4)
    assert score("Fraction(4)", more) == score("Decimal(4)", more) == (False, 0.4)
    assert score("10**400", more) == score("np.bool_(1)", more) == (True, 1.0)
    assert score("-10**400", more) == score("np.float64('nan')", more) == (False, 0.0)
    with pytest.raises(GraderError, match="returned"):
        score("1j", more)
    with pytest.raises(GraderError, match="wanted True, False, a Verdict, or a number where"):
        score("4", open_problem())


@pytest.mark.parametrize(
    "options",
    [
        {"direction": "up", "worst": 0, "best": 1},
        {"direction": "max", "worst": 1, "best": 0},
        {"direction": "min", "worst": 0, "best": 1},
        {"direction": "max", "worst": 0},
        {"direction": "max", "worst": 0, "best": math.inf},
        {"direction": "max", "worst": -1e308, "best": 1e308},  # too far apart for a float
    ],
)
def test_a_direction_without_its_ends_is_refused(open_problem, options):
    with pytest.raises(DataError, match="options direction, worst and best"):
        get_verifier("custom").check_gold(open_problem(**options))


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("0, 1, 4, 6", 4),  # the optimal ruler of 4: distances 1 to 6, each once
        ("0 1 4 9 15 22 32 34 0", 8),  # the optimal ruler of 8; a mark said twice is one
        ("1, 2, 3, 9", 2),  # 3 - 2 = 2 - 1
        ("5 61 7", 1),  # beyond the length
        ("0 1 55 60 59", 4),
        ("no number", None),
    ],
)
def test_marks_on_a_golomb_ruler(text, marks):
    assert golomb_marks(text, example("custom", length=60)) == marks


def test_the_recipe_of_the_open_problem_is_scored_by_its_program():
    recipe = load_recipe("tiny_open_problem")
    (asked,) = load_examples(recipe.examples)
    text = "0 1 6 10 23 26 34 41 53 55"  # the optimal ruler of 10 marks
    rollouts = [Rollout(0, i, asked.id, (), (), (), t, True) for i, t in enumerate((text, "4 5 7"))]
    with Scorer(recipe.reward, seed=0) as scorer:
        scorer.check_golds([asked])
        graded = scorer.score(rollouts, {asked.id: asked}, step=1)
    assert [(g.verdict.correct, g.reward) for g in graded] == [(True, 1.0), (False, 0.3)]


# Combinations, and the whole way through a worker.


def test_the_best_part_scores_any_of_and_the_worst_all_of():
    near = {"verifier": "numeric", "answer": "200", "bands": BANDS}
    far = {"verifier": "numeric", "answer": "220", "bands": BANDS}
    text = r"\boxed{201}"  # 0.5 % from 200, 8.6 % from 220
    assert score(text, example("any_of", parts=[far, near, far])) == (False, 0.8)
    assert score(text, example("all_of", parts=[near, far])) == (False, 0.5)
    box = {"verifier": "regex_match", "answer": "201"}
    assert score(text, example("all_of", parts=[box, near])) == (False, 0.8)
    none = {"verifier": "exact_match", "answer": "5"}
    assert score(text, example("all_of", parts=[near, none])) == (False, 0.0)
    assert score(text, example("any_of", parts=[none, box])) == (True, 1.0)


def test_scores_cross_into_workers_and_the_arm_rewards_them(open_problem, monkeypatch):
    examples = {
        "value": open_problem(direction="max", worst=0, best=10),
        "edits": example("exact_match", "sitting", score="edit"),
        "bands": example("numeric", "200 g", bands=BANDS),
    }
    texts = [("value", "4"), ("edits", r"\boxed{kitten}"), ("bands", r"\boxed{0.203 kg}")]
    rollouts = [Rollout(i, 0, k, (), (), (), t, True) for i, (k, t) in enumerate(texts)]
    expected = [0.4, pytest.approx(1 - 3 / 7), 0.5]
    for arm, rewards in (("score", expected), ("outcome", [0.0] * 3)):
        with Scorer(RewardConfig(arm=arm), seed=0) as scorer:
            graded = scorer.score(rollouts, examples, step=1)
        assert [g.verdict.score for g in graded] == expected
        assert [g.reward for g in graded] == rewards
        assert not any(g.verdict.correct for g in graded)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (example("numeric", "5", bands=[[0.1, 1.0]]), "bands"),
        (example("numeric", "5", bands=[[math.inf, 0.5]]), "bands"),
        (example("numeric", "5", bands=[[math.nan, 0.5]]), "bands"),
        (example("numeric", "5", score="edit"), "score"),
        (example("exact_match", "abc", score="half"), "score"),
        (example("python_code", "", tests="assert f() == 1", score="half"), "score"),
        (example("python_code", "", tests=[{"args": [], "expected": 1}], entry_point="f",
                 isolation="shared"), "isolation"),
        (example("all_of", "5", parts=[{"verifier": "numeric", "bands": "wide"}]), "bands"),
    ],
)  # fmt: skip
def test_options_that_only_a_wrong_answer_would_meet_are_refused_at_load_time(asked, told):
    with pytest.raises(DataError, match=f"option {told}|options {told}"):
        get_verifier(asked.verifier).check_gold(asked)
    with (
        Scorer(RewardConfig(workers=0), seed=0) as scorer,
        pytest.raises(DataError, match=f"option {told}|options {told}"),
    ):
        scorer.check_golds([asked])
