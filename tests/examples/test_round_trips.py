"""Whatever text a person writes into a file comes back as that text (property-based)."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples import load_file
from oneshot_rlvr.examples.gold import answer_of, is_prose, number_word
from oneshot_rlvr.types import Example

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
QUESTION = TEXT.filter(str.strip)
STRIPPED = QUESTION.map(str.strip)  # a gold and an id have no outer blanks
# Sentences, numbers in words and worked solutions ("#### 5") are other tests' matter.
GOLD = STRIPPED.filter(
    lambda text: (
        not is_prose(text) and number_word(text) is None and answer_of(text, "numeric") == text
    )
)
ROLE = st.sampled_from(["system", "assistant"])


@st.composite
def examples(draw):
    """One to four examples with distinct ids; some with several turns."""
    ids = draw(st.lists(STRIPPED, min_size=1, max_size=4, unique=True))
    drawn = []
    for name in ids:
        question = draw(QUESTION)
        before = [{"role": draw(ROLE), "content": c} for c in draw(st.lists(TEXT, max_size=2))]
        messages = (*before, {"role": "user", "content": question})
        drawn.append(
            Example(
                id=name, question=question, answer=draw(GOLD), domain=draw(STRIPPED),
                family=draw(STRIPPED), verifier="numeric", messages=messages,
            )
        )  # fmt: skip
    return drawn


def as_row(example: Example, layout: str) -> dict:
    common = {"domain": example.domain, "family": example.family, "verifier": example.verifier}
    chat = [dict(turn) for turn in example.messages]
    if layout == "verl":
        return common | {
            "prompt": chat,
            "reward_model": {"ground_truth": example.answer},
            "extra_info": {"index": example.id},
        }
    if layout == "trl":
        return common | {"id": example.id, "prompt": chat, "solution": example.answer}
    return common | {"id": example.id, "messages": chat, "answer": example.answer}


def write(rows: list[dict], path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("layout", ["own", "verl"])
@settings(max_examples=40, deadline=None)
@given(drawn=examples())
def test_own_and_verl_columns_come_back_as_written(layout, suffix, drawn):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"pool{suffix}"
        write([as_row(example, layout) for example in drawn], path)
        assert load_file(path) == drawn


@settings(max_examples=40, deadline=None)
@given(drawn=examples())
def test_trl_columns_come_back_as_written_but_for_the_gold_s_dollars(drawn):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.jsonl"
        write([as_row(example, "trl") for example in drawn], path)
        if any(not e.answer.replace("$", "").strip() for e in drawn):
            with pytest.raises(DataError, match="no gold"):
                load_file(path)
            return
        back = load_file(path)
    assert [(e.id, e.messages) for e in back] == [(e.id, e.messages) for e in drawn]
    for read, written in zip(back, drawn, strict=True):
        if not any(sign in written.answer for sign in "$\\"):
            assert read.answer == written.answer


@settings(max_examples=40, deadline=None)
@given(drawn=examples())
def test_csv_comes_back_as_written(drawn):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", "question", "answer", "domain"])
            writer.writerows([e.id, e.question, e.answer, e.domain] for e in drawn)
        back = load_file(path)
    assert [(e.id, e.question, e.answer, e.domain) for e in back] == [
        (e.id, e.question, e.answer, e.domain) for e in drawn
    ]


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".jsonl", ".json", ".csv"]))
def test_any_bytes_are_examples_or_a_data_error(content, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"pool{suffix}"
        path.write_bytes(content)
        try:
            said = str(load_file(path))
        except DataError as error:
            said = str(error)
        assert "pool" in said or "Example(" in said  # an error names the file
