"""Reflection and gibberish: counted on texts that were written to hold them."""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_rlvr.analysis import gibberish, reflection
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.records import rechecks


def count(texts: list[str], words: tuple[str, ...] = ()) -> dict[str, int]:
    counts, _ = reflection.count(1, pa.chunked_array([texts]), reflection.with_words(words))
    return counts


def test_an_answer_counts_once_for_every_word_it_says_in_any_inflection():
    counts = count(
        [
            "Let me recheck. Rechecking: 4.",
            "I re-check and RETHINK",
            "Wait, recalculating.",
            "waiter, awaited, check, think",
            "",
        ]
    )
    assert counts == {
        "any_word": 3,
        "word:rethink": 1,
        "word:recheck": 2,
        "word:recalculate": 1,
        "word:wait": 1,
    }


def test_a_user_s_words_and_phrases_are_found_as_they_are_spelt():
    counts = count(
        ["Hmm. So", "hmmm", "let  me\nCHECK it", "c++ is", "1.5 (sic)"],
        ("hmm", "let me check", "c++", "(sic)", "wait"),
    )
    assert counts["word:hmm"] == 1
    assert counts["word:let me check"] == 1
    assert counts["word:c++"] == 1
    assert counts["word:(sic)"] == 1
    assert counts["any_word"] == 4


def test_an_empty_word_is_refused():
    with pytest.raises(ConfigError, match="is empty"):
        reflection.with_words([" "])


@given(st.text(st.sampled_from("rethincalku-w Wwait,. check"), max_size=60))
def test_the_paper_s_three_words_are_those_of_the_summaries(text):
    counts, _ = reflection.count(1, pa.chunked_array([[text]]), reflection.PATTERNS)
    three = sum(counts[f"word:{word}"] for word in ("rethink", "recheck", "recalculate"))
    assert (three > 0) is rechecks(text)


def test_a_context_tells_where_the_word_stood():
    _, (context,) = reflection.count(
        7, pa.chunked_array([["no", "x" * 100 + " 4+4=9. Wait, it is 8." + "y" * 100]]),
        {"wait": reflection.PATTERNS["wait"]},
    )  # fmt: skip
    assert (context["word"], context["step"], context["said"]) == ("wait", 7, "Wait")
    assert str(context["before"]).endswith(" 4+4=9. ")
    assert len(str(context["before"])) == reflection.CONTEXT_CHARS
    assert str(context["after"]).startswith(", it is 8.")


def test_contexts_are_ten_a_word_from_all_over_the_run():
    rows = [{"word": w, "step": s, "before": "", "said": "", "after": ""}
            for s in range(1, 101) for w in ("a", "b") if w == "a" or s < 4]  # fmt: skip
    kept = reflection.spread(pd.DataFrame(rows))
    assert kept[kept["word"] == "b"]["step"].tolist() == [1, 2, 3]
    steps = kept[kept["word"] == "a"]["step"].tolist()
    assert (len(steps), steps[0], steps[-1]) == (10, 1, 100)


def test_rates_are_per_100_answers_in_thirds():
    steps = pd.DataFrame(
        {
            "step": range(1, 10),
            "rollouts": [10] * 9,
            "any_word": [0, 0, 3] + [5] * 3 + [10] * 3,
            "word:wait": [0, 0, 3] + [0] * 3 + [10] * 3,
        }
    )
    rates = reflection.rates(steps)
    wait = rates[rates["word"] == "wait"]
    assert wait["steps"].tolist() == ["1-3", "4-6", "7-9"]
    assert wait["answers"].tolist() == [30, 30, 30]
    assert wait["per_100"].tolist() == [10.0, 0.0, 100.0]
    assert rates[rates["word"] == "any of them"]["per_100"].tolist() == [10.0, 50.0, 100.0]
    assert reflection.rates(steps.iloc[:0]).empty


KNOWN = gibberish.vocabulary(
    ["The wind pressure varies jointly as the area and the cube of the velocity.", "So it is 12.8"]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The pressure varies as the area; so the velocity is 12.8.", False),
        ("The pressure flurm gribble snorf wexal tropid quilbo.", True),
        ("压力 随着 面积和速度的 立方成 正比例关系 所以风速是 十二点八 \\boxed{12.8}", True),
        ("flurm 12.8", False),  # too few words to tell
        ("4+4=8 4*4=16", False),
        ("the area the area the area " * 20, True),
        ("", False),
        ("\\boxed{12.8}", False),
    ],
)
def test_gibberish_is_what_left_the_run_s_language_or_loops(text, expected):
    assert gibberish.is_gibberish(text, KNOWN) is expected


@given(st.text(max_size=300))
def test_no_text_makes_it_raise(text):
    assert gibberish.is_gibberish(text, KNOWN) in (True, False)
    count([re.sub("[\ud800-\udfff]", "", text)])
