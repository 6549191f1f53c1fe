"""Selection: which example to train on, from how often a model solved each of a pool.

A `History` holds the accuracy of every example at each of its visits; a score is one file with one
`SCORE`; `rank` orders a pool by it. Reads records and files only: a probe is an evaluation, a
history a training run, and both are made elsewhere. Torch-free.

Higher is better. A score is a pure function of (history, seed), gives nan where an example's
history says nothing, and knows neither files nor ties.
"""

from oneshot_rlvr.registry import Registry
from oneshot_rlvr.selection.diversity import diversified
from oneshot_rlvr.selection.history import History, from_matrix, from_visits
from oneshot_rlvr.selection.ranking import Ranking, rank
from oneshot_rlvr.selection.sources import from_run, from_samples, read_history

_HERE = "oneshot_rlvr.selection"

SCORES = Registry(
    "score",
    {
        "variance": f"{_HERE}.variance:SCORE",
        "limr": f"{_HERE}.limr:SCORE",
        "pass_rate": f"{_HERE}.pass_rate:SCORE",
        "gain": f"{_HERE}.gain:SCORE",
        "entropy": f"{_HERE}.entropy:SCORE",
        "gradient": f"{_HERE}.gradient:SCORE",
        "random": f"{_HERE}.random_draw:SCORE",
        "first": f"{_HERE}.first:SCORE",
    },
)

__all__ = [
    "SCORES",
    "History",
    "Ranking",
    "diversified",
    "from_matrix",
    "from_run",
    "from_samples",
    "from_visits",
    "rank",
    "read_history",
]
