"""Evaluation: benchmarks, and what a model scores on them.

`load_benchmark` gives questions with golds, `evaluate` samples answers with any engine, grades them
and sums up; served.py does the same with a server that speaks the OpenAI protocol. A benchmark is a
TOML file in `benchmarks/` (or a user's own); one reader serves all. Around it: prompt templates,
the contamination probe, paired comparisons, stored samples and grading them again.
Not here: how answers are sampled (`rollouts`), graded (`rewards`) or averaged (`records.summary`,
`estimators`). Grading is against the true gold whatever the training reward was. Torch-free.
"""

from __future__ import annotations

from oneshot_rlvr.evaluation.benchmark import Benchmark, load_benchmark
from oneshot_rlvr.evaluation.benchmarks import BENCHMARKS
from oneshot_rlvr.evaluation.grading import Grader
from oneshot_rlvr.evaluation.run import EvaluationResult, evaluate, grading_config

# Which answers recheck themselves is told in one place, where summaries count it.
from oneshot_rlvr.records.summary import rechecks as has_recheck

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "EvaluationResult",
    "Grader",
    "evaluate",
    "grading_config",
    "has_recheck",
    "load_benchmark",
]
