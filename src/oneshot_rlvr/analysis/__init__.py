"""Analysis: what happened in a run, read off its records. Columns in, columns out; torch-free.

    saturation   the step from which the training example is solved; what is learned after it;
                 over-fitting
    rollouts     one pass over every rollout: reflection, gibberish, lengths
    curves       accuracy, entropy, length over steps
    formats      how much of a gain is format
    transfer     trained on x, tested on y
    cost         steps, tokens and seconds to reach an accuracy
    comparison   before against after, paired by question

`analyse` puts all of it together for one run or many; `write_tables` exports it.
"""

from oneshot_rlvr.analysis.comparison import Comparison, compare
from oneshot_rlvr.analysis.everything import Analysis, analyse, write_tables
from oneshot_rlvr.analysis.saturation import after_saturation, overfitting_onset, saturation_step

__all__ = [
    "Analysis",
    "Comparison",
    "after_saturation",
    "analyse",
    "compare",
    "overfitting_onset",
    "saturation_step",
    "write_tables",
]
