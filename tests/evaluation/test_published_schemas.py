"""Benchmarks whose files are not at hand: small rows of their real schema, through one reader."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oneshot_rlvr.config import BenchmarkConfig, RewardConfig
from oneshot_rlvr.errors import DataError
from oneshot_rlvr.evaluation import BENCHMARKS, arithmetic, load_benchmark
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.verifiers.multiple_choice import choices_of, label_of
from oneshot_testing import load_file

ROWS = load_file(Path(__file__).with_name("published_rows.py")).ROWS


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("ONESHOT_DATA_DIR", raising=False)


def load(name, tmp_path, rows=None):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS[name]))
    return load_benchmark(BenchmarkConfig(benchmark=name, path=str(path))).examples


def grade(examples, texts):
    with Scorer(RewardConfig(timeout_seconds=20), seed=0) as scorer:
        return [v.correct for v in scorer.grade_texts(texts, examples)]


@pytest.mark.parametrize("name", list(ROWS))
def test_golds_of_the_published_schema_score_one_and_no_answer_scores_zero(name, tmp_path):
    examples = load(name, tmp_path)
    assert len({e.id for e in examples}) == len(examples) == 2
    with Scorer(RewardConfig(timeout_seconds=20), seed=0) as scorer:
        assert scorer.bad_golds(examples) == []
    assert grade(examples, [e.question for e in examples]) == [False, False]
    assert grade(examples, ["I do not know."] * 2) == [False, False]


@pytest.mark.parametrize("name", list(ROWS))
def test_a_renamed_column_is_told_and_never_guessed(name, tmp_path):
    described = BENCHMARKS.load(name)
    columns = described.columns or {}
    needed = {"finqa": "exe_ans", "chess_puzzles": "Moves"}.get(name) or columns["answer"]
    rows = [{(f"{k}_x" if k == needed else k): v for k, v in row.items()} for row in ROWS[name]]
    with pytest.raises(DataError, match=rf'has no "{needed}".*Did you mean "{needed}_x"'):
        load(name, tmp_path, rows)


def test_mbpp_runs_its_setup_code_and_refuses_wrong_functions(tmp_path):
    examples = load("mbpp", tmp_path)
    assert examples[1].extra["tests"][0] == "import math"
    assert "assert double(2) == 4" in examples[0].question
    code = "```python\ndef double(n):\n    return {}\n```"
    assert grade(examples[:1] * 2, [code.format("n + n"), code.format("n + 2")]) == [True, False]


def test_gpqa_orders_its_options_by_the_record_and_finds_the_right_letter(tmp_path):
    rows = [{**ROWS["gpqa_diamond"][0], "Record ID": f"rec{n}", "Question": f"{n}?"}
            for n in range(40)]  # fmt: skip
    examples = load("gpqa_diamond", tmp_path, rows)
    letters = [label_of(e.answer, choices_of(e)) for e in examples]
    assert set(letters) == set("ABCD")
    assert [choices_of(e) for e in load("gpqa_diamond", tmp_path, rows)] == [
        choices_of(e) for e in examples
    ]
    assert grade(examples, [f"\\boxed{{{letter}}}" for letter in letters]) == [True] * 40
    assert grade(examples, ["\\boxed{A}"] * 40).count(True) == letters.count("A")


def test_finqa_shows_the_table_and_forgives_a_percent_of_rounding(tmp_path):
    number, yes = load("finqa", tmp_path)
    assert "net revenue | $ 5829 | $ 5735" in number.question
    assert number.question.endswith("Question: what is the growth rate of net revenue?")
    said = ["\\boxed{1.64%}", "\\boxed{0.0164}", "\\boxed{1.7%}"]
    assert grade([number] * 3, said) == [True, True, False]
    assert grade([yes] * 2, ["\\boxed{Yes}", "\\boxed{no}"]) == [True, False]


def test_chess_asks_the_position_after_the_opponent_s_move(tmp_path):
    puzzle, mate = load("chess_puzzles", tmp_path)
    assert "White to move" in puzzle.question
    assert puzzle.extra["fen"].split()[1] == "w"
    assert grade([puzzle] * 3, ["\\boxed{Bxg4}", "\\boxed{e2g4}", "\\boxed{Kg2}"]) == [
        True, True, False,
    ]  # fmt: skip
    assert grade([mate] * 3, ["\\boxed{Rb8#}", "\\boxed{Rd8}", "\\boxed{Kf1}"]) == [
        True, True, False,
    ]  # fmt: skip


def test_a_chess_row_that_makes_no_sense_is_told_with_its_place(tmp_path):
    rows = [{**ROWS["chess_puzzles"][0], "Moves": "e2e4"}]
    with pytest.raises(DataError, match=r"line 1 does not fit this benchmark: Moves is 'e2e4'"):
        load("chess_puzzles", tmp_path, rows)
    rows = [{**ROWS["chess_puzzles"][0], "FEN": "nowhere"}]
    with pytest.raises(DataError, match="line 1 does not fit this benchmark"):
        load("chess_puzzles", tmp_path, rows)


# Where a benchmark's file is looked for.


@pytest.mark.parametrize("place", ["benchmarks/medqa.jsonl", "medqa.jsonl", "medqa.parquet"])
def test_the_data_folder_serves_a_benchmark_s_file_in_any_place_and_format(place, tmp_path):
    rows = [{**ROWS["medqa"][0], "question": f"q{n}"} for n in range(1273)]
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = load_benchmark(BenchmarkConfig(benchmark="medqa"), tmp_path).examples
    assert len(examples) == 1273
    assert examples[0].answer == "B"


def test_gpqa_is_read_from_the_csv_that_its_authors_publish(tmp_path):
    rows = [{**ROWS["gpqa_diamond"][0], "Record ID": f"rec{n}", "Question": f"q{n}"}
            for n in range(198)]  # fmt: skip
    with open(tmp_path / "gpqa_diamond.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    benchmark = load_benchmark(BenchmarkConfig(benchmark="gpqa_diamond"), tmp_path)
    assert len(benchmark.examples) == 198
    assert (benchmark.decoding.samples, benchmark.examples[0].domain) == (8, "Physics")


def test_a_data_folder_that_does_not_exist_is_told(tmp_path):
    with pytest.raises(DataError, match="is not a directory"):
        load_benchmark(BenchmarkConfig(benchmark="tiny"), tmp_path / "none")


# Random arithmetic.


def test_arithmetic_is_right_by_another_evaluator_and_new_for_every_seed():
    examples = arithmetic.generate(3, 4, "test")
    assert len(examples) == 24
    import sympy

    for example in examples:
        expression = example.question.removeprefix("Evaluate ").removesuffix(".")
        exact = sympy.sympify(expression, rational=True)
        assert str(exact) == example.answer
        operators = sum(expression.count(f" {sign} ") for sign in "+-*/")
        assert example.family == f"operations_{operators:02}"
    ids = {e.id for e in examples}
    assert ids == {e.id for e in arithmetic.generate(3, 4, "test")}
    assert len(ids & {e.id for e in arithmetic.generate(4, 4, "test")}) < 12


def test_arithmetic_s_splits_share_no_question_even_over_seeds():
    test = {e.question for seed in range(5) for e in arithmetic.generate(seed, 20, "test")}
    held = {e.question for seed in range(5) for e in arithmetic.generate(seed, 20, "validation")}
    assert len(test) > 400
    assert not test & held
