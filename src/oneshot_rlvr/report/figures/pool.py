"""The training example in its pool: mean against variance of accuracy over visits.

The variance is the paper's historical variance score (arXiv 2504.20571, section 2), by which the
example is ranked; a page knows the pool where it is given a history, or where the run trained on
several examples itself.
"""

from __future__ import annotations

import altair as alt
import numpy as np

from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures.style import HELD_OUT, TRAINING, column, legend
from oneshot_rlvr.selection import rank

MOST = 2_000
"""Points that are drawn; the training examples are always among them."""
_OTHERS = "others of the pool"
_X, _Y = "mean accuracy (share)", "variance over visits (squared share)"


def draw(runs: Runs) -> alt.LayerChart | None:
    """A point an example; None where no pool's history is known or no example has two visits."""
    pool = next((run.pool for run in runs.runs if run.pool is not None), None)
    if pool is None or not len(pool) or int(pool.visits_E.max()) < 2:
        return None
    ranking = rank(pool, "variance")
    mean_E, score_E = pool.mean_E(), ranking.score_E
    place_E = np.empty(len(pool), dtype=np.int64)
    place_E[ranking.order_E] = np.arange(1, len(pool) + 1)
    trained = {str(example.get("id")) for run in runs.runs for example in run.examples}
    known = [e for e in range(len(pool)) if not np.isnan(score_E[e])]
    ours = [e for e in known if pool.ids[e] in trained]
    if len(ours) == len(known):  # the run trained on all of its pool: nothing to tell apart
        ours = []
    rest = [e for e in known if e not in set(ours)]
    kept = [
        rest[i] for i in np.unique(np.linspace(0, len(rest) - 1, min(MOST, len(rest)), dtype=int))
    ]
    rows = [
        {
            "id": pool.ids[e],
            "mean": float(mean_E[e]),
            "variance": float(score_E[e]),
            "rank": int(place_E[e]),
            "visits": int(pool.visits_E[e]),
            "series": TRAINING if e in set(ours) else _OTHERS,
        }
        for e in [*kept, *ours]
    ]
    told = ", ".join(f"{pool.ids[e]} is rank {place_E[e]:,}" for e in ours[:3])
    description = (
        f"Each of {len(known):,} examples of the pool by how often it was solved, and by how much "
        "that varied over its visits; examples of the largest variance rank first."
    )
    if ours:
        description += f" {told} of {len(known):,}."
    if len(rest) > len(kept):
        description += f" {len(kept):,} of the others are drawn."
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(column("mean"), title=_X, scale=alt.Scale(domain=[0, 1])),
        y=alt.Y(column("variance"), title=_Y, axis=alt.Axis(tickCount=5)),
        color=alt.Color(
            column("series", "N"),
            scale=alt.Scale(domain=[TRAINING, HELD_OUT, _OTHERS]),
            legend=legend(),
        ),
        tooltip=[
            alt.Tooltip(column("id", "N")),
            alt.Tooltip(column("rank")),
            alt.Tooltip(column("mean"), title=_X, format=".3f"),
            alt.Tooltip(column("variance"), title=_Y, format=".4f"),
            alt.Tooltip(column("visits")),
        ],
    )
    back = base.transform_filter(alt.FieldEqualPredicate(field="series", equal=_OTHERS))
    front = base.transform_filter(alt.FieldEqualPredicate(field="series", equal=TRAINING))
    return alt.LayerChart(
        layer=[
            back.mark_point(filled=True, size=18, opacity=0.4),
            front.mark_point(filled=True, size=130, opacity=1, shape="diamond"),
        ]
    ).properties(
        title="The example in its pool",
        description=description,
        width="container",
        height=230,
    )
