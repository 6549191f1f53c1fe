"""Templates, the contamination probe, and comparing two models."""

from __future__ import annotations

import math
import os

import pytest

from oneshot_rlvr.config import BenchmarkConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.estimators import paired_difference
from oneshot_rlvr.evaluation import Benchmark, load_benchmark
from oneshot_rlvr.evaluation.comparison import compare
from oneshot_rlvr.evaluation.contamination import completes, cut, cuts_of, matched_share, probed
from oneshot_rlvr.evaluation.prompts import asked_in, read_templates
from oneshot_rlvr.types import Example

CHOICE = Example("c", "Which?\nA. x\nB. y", "A", "multiple_choice")
CODE = Example("f", "Write f.", "", "python_code")
MATH = Example("m", "2 + {x}?", "4", messages=({"role": "user", "content": "2 + {x}?"},))


# Templates.


def test_all_asks_in_the_benchmark_s_own_way_and_in_every_template_that_suits():
    names = [a.name for a in asked_in(Benchmark("b", [MATH]), ["all"])]
    assert names == ["own", *read_templates()]
    code = [a.name for a in asked_in(Benchmark("b", [CODE]), ["all"])]
    assert code == ["own", "bare", "chat", "question_answer"]


def test_a_template_changes_the_turns_and_nothing_else():
    ways = {a.name: a for a in asked_in(Benchmark("b", [MATH, CHOICE]), ["all"])}
    assert ways["own"].benchmark.examples == [MATH, CHOICE]
    assert ways["own"].chat_template is None
    assert ways["bare"].chat_template == "none"
    boxed = ways["boxed"].benchmark.examples[0]
    assert boxed.chat() == [{
        "role": "user",
        "content": "2 + {x}? Let's think step by step and output the final answer within "
        "\\boxed{}.",
    }]  # fmt: skip
    assert (boxed.id, boxed.answer, boxed.verifier) == (MATH.id, MATH.answer, MATH.verifier)
    qwen = ways["qwen_math"].benchmark.examples[1]
    assert [turn["role"] for turn in qwen.chat()] == ["system", "user"]
    assert qwen.chat()[1]["content"] == CHOICE.question


def test_a_user_s_templates_are_a_file_of_the_same_shape(tmp_path):
    (tmp_path / "t.toml").write_text('[mine]\nprompt = "Q: {question}"\nchat = false\n')
    (way,) = asked_in(Benchmark("b", [MATH]), [str(tmp_path / "t.toml")])
    assert (way.name, way.benchmark.examples[0].question) == ("mine", "Q: 2 + {x}?")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[a]\npromt = "x"', r"\[a\].*promt"),
        ('[a]\nprompt = "no place"', "no {question}"),
        ("", "holds no prompt template"),
        ("[a", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_templates_is_told(tmp_path, text, said):
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(DataError, match=said):
        read_templates(tmp_path / "t.toml")


def test_an_unknown_template_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match=r'"boxd" is not known. Did you mean "boxed"'):
        asked_in(Benchmark("b", [MATH]), ["boxd"])


# The probe.


def test_a_question_is_cut_at_six_tenths_of_its_words_and_loses_nothing():
    question = "Let $x$ be\n a  number; what is  its square root?"
    shown, hidden = cut(question)
    assert shown + hidden == question
    assert (len(shown.split()), len(hidden.split())) == (6, 4)
    assert cut("one two three four") is None


@pytest.mark.parametrize(
    ("text", "done", "matched"),
    [
        ("its square root?", True, 1.0),
        (" its\nsquare  root? The answer is 5.", True, 1.0),
        ("its square roots?", False, 2 / 3),
        ("its square", False, 2 / 3),
        ("", False, 0.0),
    ],
)
def test_a_question_is_finished_word_by_word_or_not_at_all(text, done, matched):
    assert completes(text, " its square root?") is done
    assert matched_share(text, " its square root?") == pytest.approx(matched)


def test_the_probe_leaves_short_questions_out_and_says_so():
    benchmark = Benchmark("b", [
        Example("long", "one two three four five", "x"), Example("short", "one two", "x"),
    ])  # fmt: skip
    cuts = cuts_of(benchmark)
    rows, summary = probed(benchmark, cuts, {"long": "four five"})
    assert (summary["questions"], summary["left_out"], summary["ids"]) == (1, 1, ["long"])
    assert summary["completed"]["value"] == 1.0
    assert rows[0]["shown"] == "one two three"


# Two models.


def samples(rights, strict=None):
    return [
        {"example_id": f"q{q}", "answer": "x", "correct": bool(right), "strict": strict,
         "lenient": strict}
        for q, row in enumerate(rights) for right in row
    ]  # fmt: skip


def test_a_difference_is_paired_by_question_whatever_the_order():
    before, after = [[1, 0], [0, 0], [1, 1], [0, 0]], [[1, 1], [1, 0], [1, 1], [0, 1]]
    one = compare("b", [samples(before)], [list(reversed(samples(after)))])
    expected = paired_difference([0.5, 0, 1, 0], [1, 0.5, 1, 0.5], 2)
    assert one.over_questions == expected
    assert (one.before.accuracy.value, one.after.accuracy.value) == (0.375, 0.75)
    assert one.over_seeds is None
    assert one.readings == {}


def test_seeds_are_compared_over_questions_and_over_seeds():
    base = samples([[0], [0], [1], [0]])
    seeds = [samples([[1], [0], [1], [0]]), samples([[1], [1], [1], [0]]),
             samples([[1], [1], [1], [1]])]  # fmt: skip
    one = compare("b", [base], seeds)
    assert one.after.scores_S == (0.5, 0.75, 1.0)
    assert one.over_seeds is not None
    assert one.over_seeds.value == pytest.approx(0.5)
    # t(2, .975) = 4.30265 times .25 / sqrt 3: the base has no seed of its own.
    assert one.over_seeds.high == pytest.approx(0.5 + 4.30265 * 0.25 / math.sqrt(3), abs=1e-4)
    assert one.over_questions.value == pytest.approx(0.5)
    assert one.after.over_seeds is not None
    assert one.as_dict()["after"]["scores"] == [0.5, 0.75, 1.0]


def test_other_questions_or_golds_are_refused():
    with pytest.raises(DataError, match=r"different questions \(2 and 3; 'q2' is on one side"):
        compare("b", [samples([[1], [0]])], [samples([[1], [0], [1]])])
    other = [{**row, "answer": "y"} for row in samples([[1], [0]])]
    with pytest.raises(DataError, match="question 'q0' has the gold 'x' on one side and 'y'"):
        compare("b", [samples([[1], [0]])], [other])


def test_the_question_is_cut_and_not_the_prompt_around_it(tmp_path):
    """Options and instructions are no part of what a memoriser knows by heart."""
    (tmp_path / "rows.jsonl").write_text(
        '{"id": "q", "question": "one two three four five six", "choices": ["red", "blue"], '
        '"answer": "A"}\n'
    )
    (tmp_path / "b.toml").write_text(
        'file = "rows.jsonl"\nverifier = "multiple_choice"\n'
        'prompt = "{question}\\n{choices}\\nAnswer with the letter in a box, please."\n'
        '[columns]\nquestion = "question"\nanswer = "answer"\nid = "id"\nchoices = "choices"\n'
    )
    benchmark = load_benchmark(BenchmarkConfig(benchmark=str(tmp_path / "b.toml")))
    assert "A. red" in benchmark.examples[0].question
    (found,) = cuts_of(benchmark)
    assert (found.shown, found.hidden) == ("one two three four", " five six")
    suffix = "Let's think step by step and output the final answer within \\boxed{}."
    rows = Benchmark("rows", [Example("a", f"one two three four five {suffix}", "x")])
    assert cuts_of(rows)[0].hidden == " four five"


def test_a_perfect_memoriser_of_humaneval_is_found_out():
    data = os.environ.get("ONESHOT_DATA_DIR")
    if not data:
        pytest.skip("ONESHOT_DATA_DIR names no folder of published data")
    benchmark = load_benchmark(BenchmarkConfig(benchmark="humaneval"))
    cuts = cuts_of(benchmark)
    assert len(cuts) == 164
    published = {c.example.id: c.example.extra["prefix"] for c in cuts}
    # It has read the published file, and knows no prompt of ours.
    memory = {key: text[text.index(c.shown) + len(c.shown) :] for c in cuts
              for key, text in [(c.example.id, published[c.example.id])]}  # fmt: skip
    _, summary = probed(benchmark, cuts, memory)
    assert summary["completed"]["value"] == 1.0


def test_sides_with_other_numbers_of_answers_are_not_swapped():
    before, after = [[1], [0], [1], [0]], [[1, 1], [1, 0], [1, 1], [0, 1]]
    uneven = compare("b", [samples(before)], [samples(after)])
    assert "t test" in uneven.over_questions.test
    assert uneven.before.answers == 1
    even = compare("b", [samples(before), samples(before)], [samples(after)])  # two seeds of one
    assert "sign-flip" in even.over_questions.test
