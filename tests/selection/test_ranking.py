"""Order, ties, flags, notes and the mix with diversity."""

from __future__ import annotations

import numpy as np
import pytest

from oneshot_rlvr.errors import DataError, UnknownNameError
from oneshot_rlvr.selection import History, diversified, from_matrix, rank
from oneshot_rlvr.selection.ranking import ordered

NAN = float("nan")


def pool(scores: list[float]) -> History:
    return History(tuple(f"e{n}" for n in range(len(scores))), np.empty((len(scores), 0)))


def test_the_table_tells_everything_in_the_order_of_the_ranking():
    history = from_matrix(["a", "b", "c"], [[0, 0], [0, 1], [1, 1]])
    rows = rank(history, "variance").to_table().to_pylist()
    assert [row["id"] for row in rows] == ["b", "a", "c"]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert [row["score"] for row in rows] == [0.25, 0.0, 0.0]
    assert [row["tied"] for row in rows] == [False, True, True]
    assert [row["never_solved"] for row in rows] == [False, True, False]
    assert [row["always_solved"] for row in rows] == [False, False, True]
    assert [row["history"] for row in rows] == [[0, 1], [0, 0], [1, 1]]
    assert [row["visits"] for row in rows] == [2, 2, 2]
    assert [row["mean_accuracy"] for row in rows] == [0.5, 0.0, 1.0]


def test_examples_without_a_score_come_last_as_null_and_are_counted():
    history = from_matrix(["z", "b", "a"], [[0, 1], [0, NAN], [NAN, NAN]])
    ranking = rank(history, "variance")
    assert ranking.ids == ["z", "a", "b"]
    assert ranking.to_table()["score"].to_pylist() == [0.25, None, None]
    assert not ranking.tied_E.any()
    assert "2 examples have no score and come last" in ranking.notes()


def test_a_probe_has_one_visit_and_variance_says_what_to_do():
    with pytest.raises(DataError, match="a probe is one visit: use pass_rate"):
        rank(from_matrix(["a"], [[0.5]]), "variance")


def test_an_unknown_score_names_the_nearest():
    with pytest.raises(UnknownNameError, match='Did you mean "variance"'):
        rank(from_matrix(["a"], [[0.5]]), "varience")


def test_diversity_takes_other_categories_before_a_second_of_the_same():
    scores = [1.0, 0.9, 0.8, 0.1]
    ranking = ordered("x", pool(scores), np.array(scores))
    taken = diversified(ranking, 4, 0.5, categories=["m", "m", "m", "n"])
    assert taken.ids == ["e0", "e3", "e1", "e2"]
    alone = diversified(ranking, 4, 0.0, categories=["m", "m", "m", "n"])
    assert alone.ids == ["e0", "e1", "e2", "e3"]


def test_diversity_by_embeddings_takes_the_one_that_points_elsewhere():
    scores = [1.0, 0.9, 0.8, 0.1]
    ranking = ordered("x", pool(scores), np.array(scores))
    vectors = np.array([[1, 0], [2, 0.1], [0, 3], [-1, 0]])
    assert diversified(ranking, 3, 0.6, embeddings_E_D=vectors).ids[:3] == ["e0", "e2", "e3"]


def test_diversity_fills_the_first_n_only_and_keeps_the_rest_in_order():
    scores = [1.0, 0.9, 0.8, 0.1]
    ranking = ordered("x", pool(scores), np.array(scores))
    taken = diversified(ranking, 2, 0.9, categories=["m", "m", "m", "n"])
    assert taken.ids == ["e0", "e3", "e1", "e2"]
    assert sorted(taken.ids) == sorted(ranking.ids)


def test_diversity_never_takes_an_example_without_a_score():
    scores = [1.0, NAN, 0.5]
    ranking = ordered("x", pool(scores), np.array(scores))
    taken = diversified(ranking, 3, 1.0, categories=["m", "n", "m"])
    assert taken.ids == ["e0", "e2", "e1"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"weight": 1.5, "categories": ["a", "b"]}, "wanted 0"),
        ({"weight": 0.5}, "needs categories or embeddings"),
        ({"weight": 0.5, "categories": ["a"]}, "1 categories for 2 examples"),
        ({"weight": 0.5, "embeddings_E_D": np.array([[1.0], [NAN]])}, "not finite"),
    ],
)
def test_diversity_refuses_what_it_cannot_use(more, words):
    ranking = ordered("x", pool([1, 2]), np.array([1.0, 2.0]))
    with pytest.raises(DataError, match=words):
        diversified(ranking, 1, **more)
