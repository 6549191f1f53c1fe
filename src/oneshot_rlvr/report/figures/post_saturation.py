"""Held-out accuracy since saturation: what is still learned once the training example is solved.

The change since the first validation at or after saturation, paired by question, with its 95 %
interval (`analysis.saturation`). After arXiv 2504.20571, section 3.2.2.
"""

from __future__ import annotations

import math

import altair as alt

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures.style import HELD_OUT, TRAINING, lines, row, seeds_told, series


def draw(runs: Runs) -> alt.LayerChart | None:
    """A panel over steps; None before saturation and a later validation."""
    if runs.alone is not None:
        rows = _alone(runs.alone)
        since = f"step {int(runs.alone.after_saturation['since'].iloc[0])}" if rows else ""
    else:
        rows = series(runs, HELD_OUT, _changes)
        since = "each run"
    if len(rows) < 2:
        return None
    band = "; the band is a 95% interval over questions" * (runs.alone is not None)
    return lines(
        rows,
        title="Held-out accuracy since saturation",
        description=(
            f"The change since the validation of {since}, the first after training accuracy "
            f"saturated, paired by question{band}. Where it holds 0, no change is shown."
            + seeds_told(runs)
        ),
        y="change (points)",
        colours=(TRAINING, HELD_OUT) if len(runs.arms) == 1 else [arm.name for arm in runs.arms],
    )


def _changes(run: RunData) -> list[tuple[int, float]]:
    later = run.after_saturation
    if len(later) < 2:
        return []
    pairs = zip(later["step"], later["change"], strict=True)
    return [(int(step), 100 * change) for step, change in pairs if not math.isnan(change)]


def _alone(run: RunData) -> list[dict[str, object]]:
    later = run.after_saturation
    rows: list[dict[str, object]] = []
    for found in later.to_dict("records") if len(later) > 1 else []:
        if math.isnan(found["change"]):
            continue
        bounds = {key: 100 * found[key] for key in ("low", "high") if not math.isnan(found[key])}
        if found["step"] == found["since"]:  # what is compared with itself is surely 0
            bounds = {"low": 0.0, "high": 0.0}
        rows.append(row(int(found["step"]), HELD_OUT, 100 * found["change"], **bounds))
    return rows
