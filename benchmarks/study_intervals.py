"""How often a study's 95 % intervals hold the truth, by three methods: a table of docs/study.md.

    python benchmarks/study_intervals.py        # a minute; writes the table

Differences of two arms over S seeds and Q questions of K answers each, 2,000 simulated studies a
row; the true difference is 0 on average, its spread over seeds and questions as the row says.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from oneshot_rlvr.study.statistics import half_width, hierarchical_bootstrap, variance_parts

PAGE = Path(__file__).parents[1] / "docs" / "study.md"
CASES = ((3, 60, 8, 0.02, 0.0), (3, 400, 4, 0.02, 0.08), (4, 400, 4, 0.05, 0.0),
         (5, 60, 8, 0.0, 0.08), (5, 400, 4, 0.01, 0.08), (5, 400, 4, 0.05, 0.0),
         (10, 400, 4, 0.02, 0.08))  # fmt: skip


def differences(
    draw: np.random.Generator, runs: int, seeds: int, questions: int, answers: int,
    seed_sd: float, question_sd: float,
) -> np.ndarray:  # fmt: skip
    """Differences (runs, S, Q) of two arms, of true mean 0."""
    level = draw.uniform(0.3, 0.7, (runs, 1, questions))
    sides = []
    for arm in range(2):
        of_question = draw.uniform(-1, 1, (runs, 1, questions)) * math.sqrt(3) * question_sd
        of_seed = draw.uniform(-1, 1, (runs, seeds, 1)) * math.sqrt(3) * seed_sd
        sides.append(draw.binomial(answers, level + arm * of_question + of_seed) / answers)
    return sides[1] - sides[0]


def pooled(of_seeds: np.ndarray, of_questions: np.ndarray, seeds: int) -> np.ndarray:
    """Half-widths with Hillis's degrees of freedom (2007, doi 10.1002/sim.2532)."""
    total = of_seeds + of_questions
    freedom = total**2 / (of_seeds**2 / (seeds - 1))
    return np.asarray(stdtrit(freedom, 0.975) * np.sqrt(total))


def table(runs: int, resampled: int) -> str:
    """The rows."""
    lines = [
        "| seeds | questions | answers | sd over seeds | sd over questions | **two t's** "
        "| pooled degrees of freedom | hierarchical bootstrap |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        seeds, questions, answers, seed_sd, question_sd = case
        draw = np.random.default_rng([20261129, seeds, questions, answers])
        found = differences(draw, runs, *case)
        parts, means = variance_parts(found), np.abs(found.mean(axis=(1, 2)))
        ours = means <= half_width(*parts, seeds, questions)
        theirs = means <= pooled(*parts, seeds)
        bounds = [hierarchical_bootstrap(one, draw, 400) for one in found[:resampled]]
        boot = [low <= 0 <= high for low, high in bounds]
        cells = [seeds, questions, answers, seed_sd, question_sd]
        shares = [f"{100 * np.mean(held):.1f}" for held in (ours, theirs, boot)]
        lines.append(f"| {' | '.join(map(str, cells))} | {' | '.join(shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Simulates and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--resampled", type=int, default=500, help="of them, for the bootstrap")
    args = parser.parse_args()
    told = (
        f"Coverage in % of intervals of 95 %, {args.runs:,} simulated studies a row "
        f"({args.resampled:,} for the bootstrap), by `benchmarks/study_intervals.py`:"
    )
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- coverage: begin -->", "<!-- coverage: end -->"
    head, rest = text.split(begin, 1)
    made = table(args.runs, args.resampled)
    print(made)
    PAGE.write_text(
        f"{head}{begin}\n{told}\n\n{made}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
