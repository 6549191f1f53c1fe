"""What three differences say of the claim that training moves along a line."""

from __future__ import annotations

import pytest

from oneshot_rlvr.analysis.extrapolation import judged
from oneshot_rlvr.estimators import Difference


def difference(value: float, half: float) -> Difference:
    return Difference(value, value - half, value + half, 100, 0.5, "by hand")


NOTHING = difference(0.0, 0.02)


@pytest.mark.parametrize(
    ("gain", "gap", "moved", "word", "why"),
    [
        (difference(0.2, 0.05), difference(-0.01, 0.03), difference(0.21, 0.05), "held", "4.0"),
        (difference(0.2, 0.05), difference(0.1, 0.03), difference(0.1, 0.05), "held", "0.0"),
        (difference(0.2, 0.05), difference(-0.1, 0.03), difference(0.3, 0.05), "did not", "-10.0"),
        (NOTHING, difference(-0.1, 0.03), difference(0.1, 0.05), "did not hold", "falls short"),
        # Where training did nothing either, staying predicts as well.
        (NOTHING, NOTHING, NOTHING, "undecided", "nothing to predict"),
        (NOTHING, NOTHING, difference(0.03, 0.02), "undecided", "more questions"),
        (difference(0.2, 0.05), None, None, "not checked", "+20.0 [+15.0, +25.0]"),
    ],
)
def test_the_word_follows_from_the_intervals(gain, gap, moved, word, why):
    claim = judged(gain, gap, moved)
    assert claim.word.startswith(word)
    assert why in claim.why
