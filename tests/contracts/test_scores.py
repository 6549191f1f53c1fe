"""Every score: deterministic under a seed, refuses an empty history, knows no order of examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.selection import SCORES, History, rank
from oneshot_rlvr.selection.score import Score

NOT_SCORES = {
    *("__init__", "history", "score", "ranking", "sources", "diversity"),
    "certainty",  # when a probe may stop
}


def history(examples: int = 40, seed: int = 0) -> History:
    """Ragged visits of eighths, some examples never and some always solved, and answers."""
    generator = np.random.default_rng(seed)
    accuracy = generator.integers(0, 9, (examples, 12)) / 8
    accuracy[:4], accuracy[4:6] = 0.0, 1.0
    visits = generator.integers(3, 13, examples)
    accuracy[np.arange(12) >= visits[:, None]] = np.nan
    return History(
        tuple(f"e{number}" for number in range(examples)),
        accuracy,
        answer_entropy_E=generator.integers(0, 5, examples) / 4,
        alignment_E=generator.integers(-4, 5, examples) / 4,
    )


def test_the_registry_holds_every_score_file():
    folder = Path(__file__).parents[2] / "src" / "oneshot_rlvr" / "selection"
    files = {path.stem for path in folder.glob("*.py")} - NOT_SCORES
    registered = {target.partition(":")[0].rpartition(".")[2] for target in SCORES.values()}
    assert registered == files, (
        f"selection/ and selection/__init__.py:SCORES differ in {registered ^ files}; a file that "
        "is no score stands in NOT_SCORES of this test"
    )
    assert all(isinstance(SCORES.load(name), Score) for name in SCORES)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_deterministic_under_a_seed(name):
    one, two = (rank(history(), name, seed=7) for _ in range(2))
    assert one.ids == two.ids
    assert np.array_equal(one.score_E, two.score_E, equal_nan=True)
    other = rank(history(), name, seed=8)
    assert (other.ids == one.ids) is (name != "random")


@pytest.mark.parametrize("name", SCORES)
def test_an_empty_history_is_refused(name):
    with pytest.raises(DataError, match="empty"):
        rank(History((), np.empty((0, 3))), name)


@pytest.mark.parametrize("name", [name for name in SCORES if SCORES.load(name).visits])
def test_a_history_without_a_visit_is_refused_by_a_score_that_reads_visits(name):
    with pytest.raises(DataError, match="at least"):
        rank(History(("a", "b"), np.full((2, 3), np.nan)), name)


@pytest.mark.parametrize("name", SCORES)
def test_equal_scores_stand_in_the_order_of_ids_as_text_and_are_told(name):
    quarter = np.full(3, 0.25)
    same = History(
        ("9", "10", "2"), np.full((3, 4), 0.5), answer_entropy_E=quarter, alignment_E=quarter
    )
    ranking = rank(same, name)
    if name in ("random", "first"):  # no two of these are equal
        assert not ranking.tied_E.any()
        return
    assert ranking.ids == ["10", "2", "9"]
    assert ranking.tied_E.all()
    assert any("3 examples share their score" in note for note in ranking.notes())


@pytest.mark.parametrize("name", [name for name in SCORES if name != "first"])
def test_the_order_of_the_pool_does_not_matter(name):
    straight = history()
    order = np.random.default_rng(1).permutation(len(straight))
    assert straight.answer_entropy_E is not None
    assert straight.alignment_E is not None
    mixed = History(
        tuple(straight.ids[e] for e in order),
        straight.accuracy_E_S[order],
        answer_entropy_E=straight.answer_entropy_E[order],
        alignment_E=straight.alignment_E[order],
    )
    assert rank(mixed, name).ids == rank(straight, name).ids


@pytest.mark.parametrize("name", SCORES)
def test_the_order_of_a_row_s_sum_decides_nothing(name):
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in their last bit.
    rows = np.array([[0.1, 0.2, 0.3, 0.1, 0.2, 0.3], [0.3, 0.2, 0.1, 0.3, 0.2, 0.1]])
    tenth = np.array([0.1, 0.1])
    history = History(("b", "a"), rows, answer_entropy_E=tenth, alignment_E=tenth)
    ranking = rank(history, name)
    if name in ("variance", "pass_rate", "entropy", "gradient"):
        assert ranking.ids == ["a", "b"]
        assert ranking.tied_E.all()
