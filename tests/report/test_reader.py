"""What a reader sees of single rollouts: rows, tokens, the choice for a file, pages of a search."""

from __future__ import annotations

import random

import pytest

from oneshot_rlvr.records import Run, RunWriter
from oneshot_rlvr.report.data import RunData, evenly
from oneshot_rlvr.report.reader import choice, search
from oneshot_rlvr.report.reader.search import Query
from oneshot_rlvr.report.reader.tokens import Pieces, find_tokenizer, utf16

TINY = {"model": {"path": "tiny"}}


@pytest.fixture(scope="module")
def run(finished_run):
    return Run(finished_run, partly=True)


@pytest.fixture(scope="module")
def pieces(finished_run):
    return Pieces.of(finished_run, TINY)


@pytest.mark.parametrize(
    "text",
    [
        "52 * 4 = \\boxed{208}.",
        "  two  spaces\n\n",
        "caf\u00e9 \u2192 \U0001f600\U0001f468\u200d\U0001f469",
        "",
    ],
)
def test_the_pieces_of_a_text_add_up_to_it_in_the_units_of_javascript(synthetic, pieces, text):
    tokens = synthetic.tokens_of(text)
    lengths = pieces.lengths(tokens, text)
    assert lengths is not None
    assert len(lengths) == len(tokens)
    assert sum(lengths) == utf16(text) == len(text.encode("utf-16-le")) // 2


def test_tokens_that_are_not_the_text_are_not_shaded(synthetic, pieces):
    assert pieces.lengths(synthetic.tokens_of("1 + 1"), "1 + 2") is None
    assert Pieces(None).lengths([1, 2], "ab") is None
    assert Pieces(None).text([1]) is None


def test_a_tokenizer_is_found_with_the_run_before_its_base(tmp_path):
    assert find_tokenizer(tmp_path, TINY).parent.name == "weights"
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "tokenizer.json").write_text("{")
    assert find_tokenizer(tmp_path, TINY).parent.name == "final"
    assert not Pieces.of(tmp_path, TINY).known, "a broken file is no tokenizer, and no error"
    assert find_tokenizer(tmp_path / "x", {"model": {"path": "../no such"}}) is None


@pytest.mark.parametrize(("many", "count", "expected"), [
    (5, 9, [0, 1, 2, 3, 4]), (5, 2, [0, 4]), (5, 3, [0, 2, 4]), (5, 1, [0]), (0, 3, []),
])  # fmt: skip
def test_evenly_takes_both_ends_and_even_gaps(many, count, expected):
    assert evenly(range(many), count) == expected


def test_as_many_rollouts_as_fit_are_chosen_from_evenly_spaced_steps(run, finished_run):
    (whole,) = choice.choose([RunData.load(run)], 3_000_000)
    assert whole.told == "All 320 rollouts of the run."
    (some,) = choice.choose([RunData.load(run)], 8_000)
    size = len(choice.packed([some.rollouts, some.examples]))
    assert size + len(choice.packed([some.answers, some.questions])) < 8_200
    assert 20 < len(some.rollouts) < 320
    steps = [row["s"] for row in some.rollouts]
    assert {steps[0], steps[-1]} == {1, 40}
    per_step = [steps.count(step) for step in dict.fromkeys(steps)]
    assert len(set(per_step)) == 1
    assert some.told.startswith(f"{len(steps):,} of ")
    assert "evenly chosen, of every step" in some.told
    asked = {row["of"] for row in some.answers}
    by_evaluation = {(row["e"], row["s"]): set() for row in some.answers}
    for row in some.answers:
        by_evaluation[row["e"], row["s"]].add(row["of"])
    assert len(by_evaluation) > 3
    assert all(ids <= asked for ids in by_evaluation.values())


def pages(run, query, ask):
    """All rows, page after page."""
    rows, after = [], ""
    for _ in range(1000):
        found = ask(run, query, after)
        rows += found["rows"]
        after = found["next"]
        if not after:
            return rows
    raise AssertionError("the pages never end")


def of_rollouts(run, query, after):
    asked = Query(**{**{n: getattr(query, n) for n in query.__slots__}, "after": after})
    return search.rollouts(run, asked, Pieces(None), [])


def of_answers(run, query, after):
    asked = Query(**{**{n: getattr(query, n) for n in query.__slots__}, "after": after})
    return search.answers(run, asked)


@pytest.mark.parametrize("limit", [1, 7, 100])
@pytest.mark.parametrize("late", [False, True])
def test_pages_hold_every_rollout_once(run, limit, late):
    rows = pages(run, Query(limit=limit, late=late), of_rollouts)
    keys = [row["k"] for row in rows]
    assert len(keys) == len(set(keys)) == 320
    steps = [row["s"] for row in rows]
    assert steps == sorted(steps, reverse=late)


@pytest.mark.parametrize("limit", [33, 100])
def test_pages_hold_every_answer_once(run, limit):
    keys = [row["k"] for row in pages(run, Query(limit=limit), of_answers)]
    total = sum(len(run.samples(*item)) for item in run.evaluations())
    assert len(keys) == len(set(keys)) == total


def test_filters_find_what_a_slow_look_finds(run):
    records = run.rollouts()
    generator = random.Random(0)
    for _ in range(12):
        low, few = generator.randint(1, 40), generator.randint(10, 60)
        right = generator.random() < 0.5
        query = Query(low=low, right=right, tokens_low=few, text="THE", limit=100)
        slow = records[
            (records["step"] >= low) & (records["correct"] == right)
            & (records["tokens"].map(len) >= few) & records["text"].str.lower().str.contains("the")
        ]  # fmt: skip
        assert len(pages(run, query, of_rollouts)) == len(slow)


def test_a_deep_link_finds_its_row_and_nonsense_finds_none(run):
    assert [r["k"] for r in of_rollouts(run, Query(key="7.1.3"), "")["rows"]] == ["7.1.3"]
    for key in ("7.1", "7.1.3.4", "x.y.z", "-1.0.0", "999.0.0", "\u0661.0.0"):
        assert of_rollouts(run, Query(key=key), "")["rows"] == []
    found = of_answers(run, Query(key="test.40.multiply-3.2"), "")["rows"]
    assert [(row["e"], row["s"], row["of"], row["m"]) for row in found] == [
        ("test", 40, "multiply-3", 2)
    ]


@pytest.mark.parametrize(
    "after", ["", "x", "1", "1:", ":1", "9:9:9", "-1:0", "\u0661:0", "5:99999"]
)
def test_a_cursor_that_nobody_gave_is_no_error(run, after):
    assert of_rollouts(run, Query(), after)["rows"] is not None
    assert of_answers(run, Query(), after)["rows"] is not None


def test_what_a_request_says_is_read_or_ignored():
    query = Query.of({"low": "3", "high": "x", "right": "0", "late": "1", "limit": "9999",
                      "tokens_low": "\u0663", "text": "a" * 5000, "other": "1"})  # fmt: skip
    assert query == Query(low=3, right=False, late=True, limit=100, text="a" * 1000)


def test_base_early_and_late_stand_side_by_side(run, pieces):
    found = search.rollouts_beside(run, "multiply-52-4", pieces, [])
    assert [(c["title"], c["step"]) for c in found["columns"]] == [
        ("Base", 1), ("Early", 5), ("Late", 40),
    ]  # fmt: skip
    answers = search.answers_beside(run, "validation", "multiply-3")
    assert [(c["title"], c["step"]) for c in answers["columns"]] == [
        ("Base", 0), ("Early", 10), ("Late", 40),
    ]  # fmt: skip
    assert search.answers_beside(run, "nothing", "multiply-3")["columns"] == []


def test_a_step_that_is_damaged_is_passed_over(build, tmp_path):
    directory = build(tmp_path / "run", steps=4, questions=2)
    (directory / "rollouts" / "step-000002.parquet").write_bytes(b"PAR1 nothing")
    rows = pages(Run(directory, partly=True), Query(), of_rollouts)
    assert [row["s"] for row in rows] == [1] * 8 + [3] * 8 + [4] * 8


def test_a_run_without_rollouts_has_nothing_to_read(tmp_path):
    RunWriter.create(tmp_path / "run", {}).close()
    run = Run(tmp_path / "run", partly=True)
    assert of_rollouts(run, Query(), "") == {"rows": [], "told": {}, "next": None, "searched": None}
    (chosen,) = choice.choose([RunData.load(run)], 10_000)
    assert (chosen.rollouts, chosen.told) == ([], "No rollouts are recorded.")
