"""The score `gradient`: alignment by hand."""

from __future__ import annotations

import numpy as np
import pytest

from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.selection import History, rank
from oneshot_rlvr.selection.gradient import alignment

# Gradients (3, 4), (0, 0) and (-1, 0) against (2, 0).
INNER, NORM, SOLVED = np.array([6.0, 0.0, -2.0]), np.array([5.0, 0.0, 1.0]), np.array([0.5, 0, 0.9])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cosine", [0.6, 0.0, -1.0]),
        ("inner_product", [6.0, 0.0, -2.0]),
        ("learnability", [0.3, 0.0, -0.18]),  # p (1 - p) <g / |g|, aim>, whatever the aim's length
    ],
)
def test_alignments_by_hand(kind, expected):
    assert alignment(INNER, NORM, 2.0, SOLVED, kind) == pytest.approx(expected)


def test_what_was_not_measured_stays_so():
    assert np.isnan(alignment(np.array([np.nan]), np.array([np.nan]), 1.0, np.zeros(1))).all()


def test_a_validation_set_without_gradient_is_refused():
    with pytest.raises(DataError, match="no validation question has both"):
        alignment(INNER, NORM, 0.0, SOLVED)
    with pytest.raises(ConfigError, match=r'"sine"; wanted cosine, inner_product, learnability'):
        alignment(INNER, NORM, 1.0, SOLVED, "sine")


def test_it_ranks_by_what_the_probe_made_and_says_what_it_needs():
    shares = np.full((3, 1), 0.5)
    ranking = rank(
        History(("a", "b", "c"), shares, alignment_E=np.array([0.1, np.nan, 0.3])), "gradient"
    )
    assert ranking.ids == ["c", "a", "b"]
    with pytest.raises(DataError, match="--validation SET"):
        rank(History(("a",), shares[:1]), "gradient")
