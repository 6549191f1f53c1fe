"""Training sets: published rows verbatim, other layouts that read back, repetition to a batch."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples import load_file, load_published
from oneshot_rlvr.examples.writers import LAYOUTS, repeated, rows_in, schema_of, write_rows

OWN = [
    {"id": "a", "question": "1+1?", "answer": "2", "verifier": "numeric", "rel_tol": 0.01},
    {"id": "7", "question": "Which?", "answer": "B", "verifier": "multiple_choice",
     "choices": {"A": "x", "B": "y"}, "domain": "quiz", "family": "letters"},
]  # fmt: skip


def pool(tmp_path, rows=OWN):
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_example_reads_back_from_every_layout(tmp_path, layout, suffix):
    published = load_published(pool(tmp_path))
    path = write_rows(tmp_path / f"out{suffix}", rows_in(published, layout))
    back = load_file(path)
    assert [(e.id, e.answer, e.verifier) for e in back] == [
        (e.id, e.answer, e.verifier) for e in published.examples
    ]
    for read, written in zip(back, published.examples, strict=True):
        assert read.chat() == written.chat()
        assert {k: v for k, v in read.extra.items() if k in written.extra} == dict(written.extra)
        if layout != "verl":  # verl's own columns need a value where we have none
            assert (read.domain, read.family) == (written.domain, written.family)


def test_verl_rows_carry_what_its_reward_function_is_given(tmp_path):
    first, second = rows_in(load_published(pool(tmp_path)), "verl")
    assert first["reward_model"] == {"ground_truth": "2", "style": "rule"}
    assert first["extra_info"] == {
        "index": "a", "split": "train", "verifier": "numeric", "rel_tol": 0.01,
    }  # fmt: skip
    assert second["extra_info"]["index"] == "7"  # text, as the other id is
    only = rows_in(load_published(pool(tmp_path, OWN[1:])), "verl")
    assert only[0]["extra_info"]["index"] == 7


def test_rows_in_their_own_layout_are_written_as_published(tmp_path):
    published = load_published(pool(tmp_path))
    assert rows_in(published) == rows_in(published, "own") == OWN


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(DataError, match="wanted auto, own, verl, trl"):
        rows_in(load_published(pool(tmp_path)), "nemo")


def test_a_batch_holds_every_row_s_copies_together_and_the_first_get_the_rest():
    assert [r["n"] for r in repeated([{"n": 1}, {"n": 2}, {"n": 3}], 8)] == [1, 1, 1, 2, 2, 2, 3, 3]
    assert len(repeated([{"n": 1}], 128)) == 128
    with pytest.raises(DataError, match="3 examples cannot be repeated to a batch of 2"):
        repeated([{}, {}, {}], 2)


def test_the_paper_s_sets_are_cut_from_its_pool_row_for_row(data_dir, tmp_path):
    folder = data_dir / "one_shot_rlvr"
    source = folder / "dsr_sub.parquet"
    published = load_published(source)
    by_id = {e.id: row for e, row in zip(published.examples, rows_in(published), strict=True)}
    sets = {
        "pi1": ["124"],
        "pi2": ["267"],
        "pi13": ["682"],
        "pi1209": ["789"],
        "merge_pi1_pi13": ["124", "682"],
        "merge_pi1_pi2_pi13_pi1209": ["124", "267", "682", "789"],
    }
    for name, ids in sets.items():
        rows = repeated([by_id[i] for i in ids], 128)
        path = write_rows(tmp_path / f"{name}.parquet", rows, schema_of(source))
        theirs = pq.read_table(folder / f"{name}_r128.parquet")
        if "source_file" in theirs.column_names:  # how the last one was put together
            theirs = theirs.drop_columns("source_file")
        assert pq.read_table(path).to_pylist() == theirs.to_pylist(), name
    assert pq.read_schema(tmp_path / "pi1.parquet").equals(
        pq.read_schema(folder / "pi1_r128.parquet")
    )


def test_rows_that_no_table_can_hold_and_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"do not fit one table.*Write \.jsonl"):
        write_rows(tmp_path / "x.parquet", [{"a": 1}, {"a": {"b": 2}}])
    with pytest.raises(DataError, match=r"wanted \.parquet or \.jsonl"):
        write_rows(tmp_path / "x.csv", [{"a": 1}])


def test_a_column_that_the_first_row_lacks_is_not_lost(tmp_path):
    path = write_rows(tmp_path / "x.parquet", [{"a": 1}, {"a": 2, "b": "here"}])
    assert pq.read_table(path).to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": "here"}]
