"""What training changed in a model's choices: by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from oneshot_rlvr.analysis.token_changes import token_changes
from oneshot_rlvr.errors import DataError


def positions(rows: list[tuple[int, int, int, int, float]]) -> SimpleNamespace:
    """(text, base's choice, trained's choice, rank, kl) a position."""
    columns = list(zip(*rows, strict=True)) or [()] * 5
    names = ("text", "base_choice", "trained_choice", "rank", "kl")
    return SimpleNamespace(
        **{name: np.array(column) for name, column in zip(names, columns, strict=True)}
    )


ROWS = [
    (0, 5, 5, 1, 0.0), (0, 5, 6, 2, 0.4), (0, 5, 6, 4, 0.4), (0, 7, 8, 200, 0.1),
    (1, 9, 9, 1, 0.1), (1, 9, 9, 1, 0.0),
]  # fmt: skip


def test_shares_bands_pairs_and_divergence_by_hand():
    found = token_changes(positions(ROWS), texts=2)
    assert (found.positions, found.changed) == (6, 3)
    assert found.share.value == pytest.approx(3 / 6)
    assert found.within_top is not None
    assert found.within_top.value == pytest.approx(2 / 3)
    assert {(b.first, b.last): b.count for b in found.bands} == {
        (2, 2): 1, (3, 5): 1, (6, 10): 0, (11, 100): 0, (101, None): 1,
    }  # fmt: skip
    assert [(p.base, p.trained, p.count, p.rank) for p in found.pairs] == [
        (5, 6, 2, 3.0), (7, 8, 1, 200.0),
    ]  # fmt: skip
    assert found.kl.value == pytest.approx(1.0 / 6)
    assert found.kl_in_changed == pytest.approx(0.9)
    assert found.by_text.tolist() == [3, 0]


def test_nothing_changed_is_told_without_an_interval_that_claims_certainty():
    found = token_changes(positions([(0, 1, 1, 1, 0.0), (1, 1, 1, 1, 0.0)]), texts=2)
    assert (found.changed, found.share.value, found.within_top) == (0, 0.0, None)
    assert math.isnan(found.share.high)
    assert found.pairs == []
    assert found.as_dict()["share_changed"]["high"] is None


def test_a_text_without_tokens_counts_as_none():
    assert token_changes(positions(ROWS), texts=3).by_text.tolist() == [3, 0, 0]


def test_no_position_at_all_is_refused():
    with pytest.raises(DataError, match="nothing to compare"):
        token_changes(positions([]), texts=0)
