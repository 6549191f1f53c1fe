"""Examples survive the way into verl's columns and back; rows come in the order of our schedule."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot_rlvr.backends.verl.data import (
    asking_rows,
    read_examples,
    to_verl,
    training_rows,
    write_examples,
    write_parquet,
)
from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples import load_file
from oneshot_rlvr.examples.schedule import rows_of_step
from oneshot_rlvr.types import Example

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
STRIPPED = TEXT.map(str.strip)


@st.composite
def examples(draw):
    """One to four examples with options and turns of their own."""
    ids = draw(st.lists(STRIPPED, min_size=1, max_size=4, unique=True))
    made = []
    for name in ids:
        question = draw(TEXT)
        turns = ({"role": "system", "content": draw(TEXT)}, {"role": "user", "content": question})
        made.append(
            Example(
                name, question, draw(STRIPPED), "numeric", draw(STRIPPED), draw(STRIPPED), turns,
                {"unit": draw(STRIPPED), "golds": draw(st.lists(STRIPPED, min_size=1, max_size=2))},
            )
        )  # fmt: skip
    return made


@settings(max_examples=60, deadline=None)
@given(drawn=examples())
def test_examples_come_back_from_verls_parquet_as_they_were(drawn):
    with tempfile.TemporaryDirectory() as folder:
        path = write_parquet(to_verl(drawn), Path(folder) / "pool.parquet")
        assert load_file(path) == drawn


@settings(max_examples=60, deadline=None)
@given(drawn=examples())
def test_the_rewards_examples_come_back_as_they_were(drawn):
    with tempfile.TemporaryDirectory() as folder:
        path = write_examples({"training": drawn}, Path(folder) / "examples.json")
        assert list(read_examples(path)["training"].values()) == drawn


def test_a_lone_question_becomes_one_user_turn():
    (row,) = to_verl([Example("a", "1+1?", "2")])
    assert row["prompt"] == [{"role": "user", "content": "1+1?"}]
    assert row["reward_model"]["ground_truth"] == "2"


def test_an_example_without_an_id_is_refused():
    with pytest.raises(DataError, match="no id"):
        to_verl([Example("", "1+1?", "2")])


def test_options_of_mixed_types_are_refused_in_one_sentence(tmp_path):
    mixed = [Example("a", "q", "1", extra={"n": 1}), Example("b", "q", "1", extra={"n": "x"})]
    with pytest.raises(DataError, match="same type"):
        write_parquet(to_verl(mixed), tmp_path / "x.parquet")


def test_the_training_file_asks_step_by_step_what_the_local_backend_asks(tmp_path):
    pool = [Example(str(i), f"q{i}", "1") for i in range(5)]
    path = write_parquet(training_rows(pool, 3, steps=4, seed=7), tmp_path / "t.parquet")
    asked = [info["index"] for info in pq.read_table(path)["extra_info"].to_pylist()]
    expected = [str(e) for step in (1, 2, 3, 4) for e in rows_of_step(5, 3, step, 7)]
    assert asked == expected
    rows = [info["row"] for info in pq.read_table(path)["extra_info"].to_pylist()]
    assert rows == [0, 1, 2] * 4


def test_one_example_fills_one_step_which_verl_repeats():
    rows = training_rows([Example("a", "q", "1")], 128, steps=2000, seed=0)
    assert len(rows) == 128
    assert [row["extra_info"]["row"] for row in rows] == list(range(128))


def test_a_held_out_question_stands_once_and_names_its_set():
    rows = asking_rows([Example("a", "q", "1"), Example("b", "r", "1")])
    assert [(r["extra_info"]["index"], r["extra_info"]["set"]) for r in rows] == [
        ("a", "validation"),
        ("b", "validation"),
    ]
