"""Held-out accuracy since saturation: what is still learned once the training example is solved.

The change since the first validation at or after saturation, paired by question, with its 95 %
interval (`analysis.saturation`). After arXiv 2504.20571, section 3.2.2.
"""

from __future__ import annotations

import math

import altair as alt

from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures.style import HELD_OUT, TRAINING, lines, row


def draw(run: RunData) -> alt.LayerChart | None:
    """A panel over steps; None before saturation and a later validation."""
    later = run.after_saturation
    if len(later) < 2:
        return None
    since = int(later["since"].iloc[0])
    rows = []
    for found in later.to_dict("records"):
        if math.isnan(found["change"]):
            continue
        bounds = {key: 100 * found[key] for key in ("low", "high") if not math.isnan(found[key])}
        if int(found["step"]) == since:  # what is compared with itself is surely 0
            bounds = {"low": 0.0, "high": 0.0}
        rows.append(row(int(found["step"]), HELD_OUT, 100 * found["change"], **bounds))
    if len(rows) < 2:
        return None
    return lines(
        rows,
        title="Held-out accuracy since saturation",
        description=(
            f"The change since the validation of step {since}, the first after training accuracy "
            "saturated, paired by question; the band is a 95% interval over questions. Where it "
            "holds 0, no change is shown."
        ),
        y="change (points)",
        colours=(TRAINING, HELD_OUT),
    )
