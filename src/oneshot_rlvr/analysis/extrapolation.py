"""Whether training moved along a line, as far as accuracy tells: three models, three differences.

The claim (arXiv 2601.04537) is that the model extrapolated from steps a and b to a step t does what
the model really trained to t does. It says something only where it could fail: where b itself is as
good as t, staying at b predicts as well. Differences in, a word and sentences out. Torch-free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oneshot_rlvr.estimators import Difference

Word = Literal["held", "did not hold", "undecided", "not checked"]


@dataclass(frozen=True, slots=True)
class Claim:
    """`word`, and why in one sentence."""

    word: Word
    why: str


def judged(gain: Difference, gap: Difference | None, moved: Difference | None) -> Claim:
    """What three paired differences (shares of right answers, 95 % intervals) say of the claim.

    gain: extrapolated less b. gap: extrapolated less real; moved: real less b; both None where the
    run did not save the step. The claim held where the extrapolated model is surely better than b
    and not surely worse than the real one; it did not where it is surely worse than the real one.
    """
    if gap is None or moved is None:
        return Claim(
            "not checked",
            f"the run has no model of that step; against b the extrapolated one is {_points(gain)}",
        )
    if gap.high < 0:
        return Claim(
            "did not hold", f"the extrapolated model falls short of the real one: {_points(gap)}"
        )
    if gain.low > 0:
        return Claim(
            "held",
            f"the extrapolated model beats b ({_points(gain)}) and is not seen to fall short of "
            f"the real one ({_points(gap)}); a loss of more than "
            f"{max(0.0, -100 * gap.low):.1f} points is ruled out",
        )
    if moved.low <= 0 <= moved.high:
        return Claim(
            "undecided",
            f"training itself is not seen to have changed accuracy after b ({_points(moved)}), so "
            "there was nothing to predict",
        )
    return Claim(
        "undecided",
        f"the extrapolated model is neither surely better than b ({_points(gain)}) nor surely "
        f"worse than the real one ({_points(gap)}); ask more questions",
    )


def _points(change: Difference) -> str:
    return f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}] points"
