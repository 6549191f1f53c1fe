"""A study's numbers as text: words of outsiders stay words in Markdown and LaTeX."""

from __future__ import annotations

import copy
import html
import io
import re
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt

from oneshot_rlvr.cli import study as study_words
from oneshot_rlvr.cli.study import _long, shown
from oneshot_rlvr.cli.terminal import console
from oneshot_rlvr.study.plan import Shows
from oneshot_rlvr.study.spec import Claim
from oneshot_rlvr.study.tables import (
    _markdown_table,
    _tabular,
    failed,
    inert,
    plain,
    runs_in_words,
    tex,
    wanted,
)

WORDS = [
    "one | two", "a_b", "_emphasis_ and *more*", "**bold**", "<b>tag</b>", "[link](http://a.test)",
    "![x](y)", "`code`", "~~gone~~", "&amp; & &#60;", "back\\slash\\|", "a\nb\n\n# c", "$x_1$",
    "36.0 -> 72.8, 100 %", "[95 %]", "\x1b[31mred", "1. first", "é ≤ π",
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_a_cell_of_markdown_shows_its_words(words):
    table = "\n".join(_markdown_table(["head", "x"], [[words, "y"]]))
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(table)
    cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
    assert [html.unescape(cell) for cell in cells] == [inert(words), "y"]
    assert not re.search(r"<(?!/?(table|thead|tbody|tr|th|td)>)", page)


def test_names_stay_readable_in_the_source():
    assert plain("format_only 92.5 [81.6, 100.0] (own, greedy)") == (
        "format_only 92.5 [81.6, 100.0] (own, greedy)"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a & b_c # 5 % $x$", r"a \& b\_c \# 5 \% \$x\$"),
        ("{~^}", r"\{\textasciitilde{}\textasciicircum{}\}"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("−3.4 – 5", "$-$3.4 -- 5"),
        ("a -> b → c < d", r"a -$>$ b $\to$ c $<$ d"),
        ("[95 %]", r"{[}95 \%]"),
        ("* first", "{*} first"),
        ("one\n\n% two\x1b", r"one \% two"),
    ],
)
def test_latex_prints_words_as_they_are(words, expected):
    assert tex(words) == expected


def test_a_row_of_latex_never_begins_with_what_a_line_break_would_take():
    rows = _tabular(["a"], [["[x]"], ["*"]]).splitlines()
    after = [row for before, row in pairwise(rows) if before.endswith(r"\\")]
    assert after
    assert not [row for row in after if row[0] in "[*"]


def test_runs_and_failures_are_told_by_arm_and_cause():
    assert runs_in_words(["base", "a, seed 0", "b, seed 0", "a, seed 1"]) == (
        "base, a (seeds 0, 1), b (seed 0)"
    )
    causes = {"a, seed 0": "no", "a, seed 1": "no", "b, seed 0": "other"}
    assert failed({"failures": causes}) == ["a (seeds 0, 1): no", "b (seed 0): other"]


def test_a_rule_names_the_way_in_which_the_base_was_asked():
    claim = Claim(name="x", arm="outcome", against="base", threshold=-0.02).model_dump()
    assert wanted(claim) == "accuracy of outcome over base: above -2 points"
    assert wanted(claim, "own, greedy") == (
        "accuracy of outcome over base (own, greedy): above -2 points"
    )


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_cuts_no_name(width, finished, monkeypatch):
    screen = io.StringIO()

    def of_width(**options):
        return console(width=width, force_terminal=True, no_color=True, file=screen)

    monkeypatch.setattr(study_words, "terminal_console", of_width)
    result = copy.deepcopy(dict(finished[1].result))
    long = "an_arm_with_a_name_of_forty_letters_here"
    for row in (*result["arms"], *result["differences"], *result["budgets"]):
        row["arm"] = long if row["arm"] == "hot" else row["arm"]
    study_words.print_study(result)
    told = screen.getvalue()
    assert "…" not in told
    assert long in told
    assert "cannot tell" in told or "holds" in told or "does not hold" in told
    assert ("rollouts" in told) is (width == 160)
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in told.splitlines()) <= width


@pytest.mark.parametrize(
    ("relation", "threshold", "difference", "expected"),
    [("above", 0.0, 0.074, "± 7.4 points"), ("within", 0.1, 0.074, "± 7.4 points"),
     ("within", 0.05, 0.074, "± 7.4 points: too wide to hold"),
     ("above", 0.0, 1.757, "nothing: ± 175.7 points"),
     ("above", 0.0, float("nan"), "nothing: no interval")],
)  # fmt: skip
def test_a_plan_says_where_a_claim_could_not_come_out(relation, threshold, difference, expected):
    claim = Claim(name="x", arm="a", against="b", relation=relation, threshold=threshold)
    assert shown(Shows("x", claim, difference, measured=False)) == expected


@pytest.mark.parametrize(
    ("hours", "told"),
    [(0.0001, "a minute at most"), (0.3, "about 18 minutes"), (26.04, "about 26.0 hours")],
)
def test_a_short_plan_is_told_in_minutes(hours, told):
    assert _long(hours) == told
