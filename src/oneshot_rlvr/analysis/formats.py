"""How much of a gain is format: the gain as graded, beside the gain with the format forgiven.

Forgiven: an answer that is stated outside a box counts as if it were boxed (the samples' `lenient`
verdict); what remains of the gain then is not format. Beside it Kitagawa's decomposition, which
needs no second grading (`comparison.format_share`). Accounting, not cause.
"""

from __future__ import annotations

import math

import pandas as pd

from oneshot_rlvr.analysis.comparison import format_share, paired_change
from oneshot_rlvr.estimators import Estimate

FORMAT_COLUMNS = ("part", "gain", "low", "high", "n")


def format_gain(base: pd.DataFrame, trained: pd.DataFrame) -> pd.DataFrame:
    """Rows: gain as graded; with the format forgiven; by format (their difference, paired by
    question); by boxing more and by being right more often (Kitagawa).

    base, trained: graded samples of the same questions: example_id, correct, boxed; lenient (and
    strict) where the format is to be forgiven. Empty unless both sides hold the same questions.
    """
    rows: list[dict[str, object]] = []
    graded = "strict" if _has(base, trained, "strict") else "correct"
    gain = paired_change(base, trained, graded)
    if gain is None:
        return pd.DataFrame(rows, columns=list(FORMAT_COLUMNS))
    rows.append(_row("gain, an answer must be boxed" if graded == "strict" else "gain", gain))
    if _has(base, trained, "lenient"):
        forgiven = paired_change(base, trained, "lenient")
        by_format = paired_change(_missed(base, graded), _missed(trained, graded), "missed")
        if forgiven is not None and by_format is not None:
            rows.append(_row("gain, format forgiven", forgiven))
            rows.append(_row("gain that is format", by_format))
    split = format_share(base, trained)
    if split is not None:
        for part, value in (
            ("by boxing more", split.by_boxing),
            ("by being right more", split.within),
        ):
            rows.append(
                {"part": part, "gain": value, "low": math.nan, "high": math.nan, "n": gain.n}
            )
    return pd.DataFrame(rows, columns=list(FORMAT_COLUMNS))


def _missed(samples: pd.DataFrame, graded: str) -> pd.DataFrame:
    """-1 where only the format made an answer wrong, so that its change is the gain by format."""
    missed = samples[graded].astype(float) - samples["lenient"].astype(float)
    return samples[["example_id"]].assign(missed=missed)


def _has(base: pd.DataFrame, trained: pd.DataFrame, column: str) -> bool:
    return all(column in side and side[column].notna().all() for side in (base, trained))


def _row(part: str, change: Estimate) -> dict[str, object]:
    return {
        "part": part,
        "gain": change.value,
        "low": change.low,
        "high": change.high,
        "n": change.n,
    }
