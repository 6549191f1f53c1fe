"""Histories from runs, the paper's JSON, tables and samples; and what is wrong with them."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples import load_published
from oneshot_rlvr.records import Run, RunWriter
from oneshot_rlvr.selection import from_run, from_samples, rank, read_history
from oneshot_rlvr.selection.history import History
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict


def graded(row: int, name: str, correct: bool, answer: str | None) -> Graded:
    rollout = Rollout(row, 0, name, (1,), (2,), (-0.1,), "text", True)
    reason = Reason.CORRECT if correct else Reason.MISMATCH
    return Graded(rollout, Verdict(correct, reason, answer), float(correct))


def write_run(folder, steps: list[list[tuple[str, bool, str | None]]]) -> Run:
    with RunWriter.create(folder, {}) as writer:
        for step, rollouts in enumerate(steps, start=1):
            items = [graded(row, *rollout) for row, rollout in enumerate(rollouts)]
            writer.rollouts(step, items, [0.0] * len(items))
    return Run(folder)


def test_a_run_s_visits_are_its_steps_and_its_shares_are_exact(tmp_path):
    run = write_run(
        tmp_path,
        [
            [("a", True, "1"), ("a", False, "2"), ("a", False, "2"), ("b", False, None)],
            [("b", True, "7"), ("b", True, "7")],
            [("a", True, "1"), ("b", False, "8")],
        ],
    )
    history = from_run(run)
    assert history.ids == ("a", "b")
    assert history.visits(0).tolist() == [1 / 3, 1.0]
    assert history.visits(1).tolist() == [0.0, 1.0, 0.0]
    # a: 1, 1, 2, 2. b: no answer, 7, 7, 8.
    expected = [math.log(2), -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))]
    assert history.answer_entropy_E == pytest.approx(expected)
    assert rank(history, "entropy").ids == ["b", "a"]
    assert read_history(tmp_path).ids == history.ids


def test_700_of_1024_stays_700_of_1024(tmp_path):
    run = write_run(tmp_path, [[("a", n < 700, "x") for n in range(1024)]])
    assert from_run(run).visits(0).tolist() == [700 / 1024]


def test_a_run_without_rollouts_tells_no_history(tmp_path):
    with pytest.raises(DataError, match="no recorded rollouts"):
        from_run(write_run(tmp_path, []))


def test_samples_of_an_evaluation_are_one_visit_each(tmp_path):
    samples = [
        {"example_id": name, "correct": name == "a" or n == 0, "extracted": str(n)}
        for name in ("a", "b")
        for n in range(4)
    ]
    history = from_samples(samples)
    assert history.accuracy_E_S.tolist() == [[1.0], [0.25]]
    assert history.answer_entropy_E == pytest.approx([math.log(4)] * 2)
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.Table.from_pylist(samples), path)
    again = read_history(path)
    assert again.ids == history.ids
    assert again.accuracy_E_S.tolist() == history.accuracy_E_S.tolist()


def table(tmp_path, suffix: str, rows: dict):
    path = tmp_path / f"history{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table(rows), path)
    else:
        cells = zip(*rows.values(), strict=True)
        lines = [",".join(rows), *(",".join("" if c is None else str(c) for c in r) for r in cells)]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_read_in_the_order_of_its_visits_whatever_the_order_of_its_rows(
    tmp_path, suffix
):
    path = table(
        tmp_path,
        suffix,
        {
            "example": ["007", "b", "007", "b", "007"],
            "visit": [30, 2, 10, 1, 20],
            "accuracy": [0.3, 0.2, 0.1, 1, 0.2],
        },
    )
    history = read_history(path)
    assert history.ids == ("007", "b")
    assert history.visits(0).tolist() == [0.1, 0.2, 0.3]
    assert history.visits(1).tolist() == [1.0, 0.2]
    assert history.notes == ()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("hole", [None, math.nan])
def test_a_visit_without_accuracy_is_left_out_and_counted(tmp_path, suffix, hole):
    columns = {"example": ["a", "a", "b"], "visit": [0, 1, 0], "accuracy": [0.5, hole, hole]}
    history = read_history(table(tmp_path, suffix, columns))
    assert history.visits_E.tolist() == [1, 0]
    assert any("2 visits of 2 examples have no accuracy" in note for note in history.notes)
    assert any("1 examples have no visit at all" in note for note in history.notes)


GOOD = {"example": ["a", "a", "b"], "visit": [0, 1, 0], "accuracy": [0.5, 0.25, 1.0]}
BAD = {
    "a renamed column": (
        {"exampel": GOOD["example"], "visit": GOOD["visit"], "accuracy": GOOD["accuracy"]},
        r'no column "example".*Did you mean "exampel"',
    ),
    "a visit twice": (GOOD | {"visit": [1, 1, 0]}, "'a' has visit 1 twice"),
    "per cent": (GOOD | {"accuracy": [50.0, 25.0, 100.0]}, "accuracy 50.*share of 0..1"),
    "below zero": (GOOD | {"accuracy": [0.5, 0.25, -1.0]}, "'b' has accuracy -1"),
    "infinite": (GOOD | {"accuracy": [0.5, math.inf, 1.0]}, "accuracy inf"),
    "text": (GOOD | {"accuracy": ["half", "none", "all"]}, 'column "accuracy"'),
    "a visit that is no number": (GOOD | {"visit": ["x", "y", "z"]}, 'column "visit"'),
    "an empty id": (GOOD | {"example": ["a", None, "b"]}, 'row 1: "example" is empty'),
    "no rows": ({name: column[:0] for name, column in GOOD.items()}, "holds no visit"),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(("columns", "words"), BAD.values(), ids=BAD.keys())
def test_a_wrong_table_is_one_clear_error(tmp_path, suffix, columns, words):
    path = table(tmp_path, suffix, columns)
    with pytest.raises(DataError, match=words) as caught:
        rank(read_history(path), "variance")
    assert "history" in str(caught.value)


WRONG_JSON = {
    "broken": ('{"1": [0.5,', "history.json"),
    "an index twice": ('{"1": [0.5], "2": [1], "1": [0.25]}', "'1' is there twice"),
    "a list": ("[[0.5]]", "holds a list"),
    "empty": ("{}", "an empty object"),
    "a number": ('{"1": 0.5}', "'1' has 0.5; wanted a list"),
    "text": ('{"1": [0.5], "7": ["0.5"]}', "'7' has the accuracy '0.5'"),
    "no visit": ('{"1": [], "2": []}', "holds no visit"),
    "beyond a share": ('{"1": [0.5, 1.5]}', "accuracy 1.5"),
}


@pytest.mark.parametrize(("text", "words"), WRONG_JSON.values(), ids=WRONG_JSON.keys())
def test_wrong_json_is_one_clear_error(tmp_path, text, words):
    path = tmp_path / "history.json"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_history(path)


def test_ragged_and_missing_visits_of_json_are_read_and_counted(tmp_path):
    path = tmp_path / "history.json"
    path.write_text('{"1": [0.5, null, 1.0, NaN], "2": [1], "3": []}')
    history = read_history(path)
    assert history.visits(0).tolist() == [0.5, 1.0]
    assert history.visits_E.tolist() == [2, 1, 0]
    assert len(history.notes) == 2


@pytest.mark.parametrize("name", ["nothing.json", "pool.xlsx"])
def test_what_is_no_history_says_what_one_is(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".xlsx":
        path.write_text("")
    with pytest.raises(DataError, match=r"\.json"):
        read_history(path)


def test_ids_that_are_not_in_the_pool_are_counted_and_none_at_all_is_refused():
    history = History(("a", "b", "c"), np.array([[0.5], [1.0], [0.0]]))
    fitted = history.of_pool(["c", "x", "a"])
    assert fitted.ids == ("c", "x", "a")
    assert fitted.visits_E.tolist() == [1, 0, 1]
    assert any(
        "1 histories are of no example of the pool (the first: 'b')" in n for n in fitted.notes
    )
    assert any("1 of 3 examples of the pool have no history" in n for n in fitted.notes)
    with pytest.raises(DataError, match="no id of the history is in the pool"):
        history.of_pool(["q"])


def test_ids_must_be_unique():
    with pytest.raises(DataError, match="'a' twice"):
        History(("a", "b", "a"), np.zeros((3, 1)))


def test_the_paper_s_history_gives_the_paper_s_ranking(data_dir):
    folder = data_dir / "one_shot_rlvr"
    published = json.loads((folder / "acc_step_500.json").read_text())
    pool = load_published(folder / "dsr_sub.parquet")
    history = read_history(folder / "acc_step_500.json").of_pool([e.id for e in pool.examples])
    assert len(history) == len(published) == 1209
    ranking = rank(history, "variance")
    assert ranking.ids[:5] == ["124", "267", "531", "931", "212"]
    assert ranking.ids[12] == "682"
    # The 104 examples that never vary follow in the order of their ids as text.
    ties = [ranking.history.ids[e] for e in ranking.order_E if ranking.score_E[e] == 0]
    assert len(ties) == 104
    assert ties == sorted(ties)
    assert "789" in ties
    assert int(history.never_solved_E().sum()) == 99
    assert int(history.always_solved_E().sum()) == 5
    twin = {name: np.var(visits) for name, visits in published.items()}
    assert ranking.score_E == pytest.approx([twin[name] for name in history.ids], abs=1e-12)
