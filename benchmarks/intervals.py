"""How often each 95 % interval holds the truth: simulated, then docs/coverage.md.

    python benchmarks/intervals.py             # 10,000 runs a cell, some minutes; writes the page
    python benchmarks/intervals.py --runs 500 --out /tmp/coverage.md

Questions differ in difficulty: a question's chance of a right answer is drawn from a Beta of mean p
and `concentration` (0.5: most questions are always or never solved; inf: all alike). A cell is the
worst p of 0.05, 0.10 ... 0.95, so that no number here flatters.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import binom

from oneshot_rlvr.estimators import (
    Estimate,
    mean_interval,
    paired_difference,
    paired_interval,
    seeds_interval,
    share_interval,
    wilson,
)

QUESTIONS = (30, 60, 500)
SHARES = tuple(round(0.05 * step, 2) for step in range(1, 20))
CONCENTRATIONS = (0.5, 2.0, math.inf)
PROMISED = 0.93
PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"

Draw = Callable[[np.random.Generator], tuple[Estimate, float]]
"""One simulated experiment: its interval, and the truth."""


def skills(p: float, concentration: float, n: int, generator: np.random.Generator) -> np.ndarray:
    """Each question's chance of a right answer, mean p."""
    if math.isinf(concentration):
        return np.full(n, p)
    return generator.beta(p * concentration, (1 - p) * concentration, n)


def wilson_exactly(n: int) -> tuple[float, float]:
    """(worst coverage, at which p) of Wilson's interval over n yes/no questions: no simulation."""
    intervals = [wilson(right, n) for right in range(n + 1)]
    held = {
        p: sum(binom.pmf(k, n, p) for k, i in enumerate(intervals) if i.low <= p <= i.high)
        for p in SHARES
    }
    worst = min(held, key=lambda p: held[p])
    return float(held[worst]), worst


def one_model(n: int, samples: int, concentration: float, method: str) -> Callable[[float], Draw]:
    """avg@K of one model over n questions."""

    def at(p: float) -> Draw:
        def draw(generator: np.random.Generator) -> tuple[Estimate, float]:
            shares_Q = generator.binomial(samples, skills(p, concentration, n, generator)) / samples
            if method == "t":
                return mean_interval(shares_Q), p
            if method == "bootstrap":
                return fast_bootstrap(shares_Q, generator), p
            return share_interval(shares_Q, np.full(n, samples)), p

        return draw

    return at


def seeds(n: int, count: int, spread: float, method: str) -> Callable[[float], Draw]:
    """The mean over `count` training seeds whose true scores have the standard deviation
    `spread`, each measured on n questions."""

    def at(p: float) -> Draw:
        def draw(generator: np.random.Generator) -> tuple[Estimate, float]:
            # A Beta of that mean and spread, so that no score leaves 0..1 and the mean is p.
            most = 0.7 * math.sqrt(p * (1 - p))
            deviation = min(spread, most)
            if deviation:
                total = p * (1 - p) / deviation**2 - 1
                true_S = generator.beta(p * total, (1 - p) * total, count)
            else:
                true_S = np.full(count, p)
            scores_S = generator.binomial(n, true_S) / n
            if method == "t":
                return mean_interval(scores_S), p
            if method == "bootstrap":
                return fast_bootstrap(scores_S, generator), p
            return seeds_interval(scores_S, n), p

        return draw

    return at


def paired(n: int, samples: int, concentration: float, method: str) -> Callable[[float], Draw]:
    """after - before on the same questions; training mends a tenth of what was wrong."""

    def at(p: float) -> Draw:
        def draw(generator: np.random.Generator) -> tuple[Estimate, float]:
            skill_Q = skills(p, concentration, n, generator)
            before_Q = generator.binomial(samples, skill_Q) / samples
            after_Q = generator.binomial(samples, skill_Q + 0.1 * (1 - skill_Q)) / samples
            grain = None if method == "t" else samples
            return paired_interval(before_Q, after_Q, samples=grain), 0.1 * (1 - p)

        return draw

    return at


def nothing_changed(
    n: int, counts: tuple[int, int], concentration: float, *, even: bool
) -> Callable[[float], Draw]:
    """A p-value of two sides that are the same model, asked `counts` times; it holds at 0.05."""

    def at(p: float) -> Draw:
        def draw(generator: np.random.Generator) -> tuple[Estimate, float]:
            skill_Q = skills(p, concentration, n, generator)
            sides = [generator.binomial(count, skill_Q) / count for count in counts]
            found = paired_difference(*sides, samples=min(counts), even=even)
            # Told as an interval: it holds the truth where nothing was called significant.
            return Estimate(0.0, 0.0, 1.0, n), 0.0 if found.p_value >= 0.05 else 2.0

        return draw

    return at


def fast_bootstrap(values: np.ndarray, generator: np.random.Generator) -> Estimate:
    """The percentile bootstrap of `estimators.bootstrap_interval`, 400 resamples at once."""
    means = values[generator.integers(0, len(values), (400, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def worst(make: Callable[[float], Draw], runs: int) -> tuple[float, float]:
    """(coverage, p) of the share p at which the interval holds the truth least often."""
    found = (1.0, 0.0)
    for p in SHARES:
        generator = np.random.default_rng([int(p * 100), runs])
        draw, held = make(p), 0
        for _ in range(runs):
            interval, truth = draw(generator)
            held += interval.low - 1e-12 <= truth <= interval.high + 1e-12
        found = min(found, (held / runs, p))
    return found


def simulate(runs: int, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Every row of the page: what, which method, whether it is ours, n, worst coverage and p."""
    rows: list[dict[str, object]] = []

    def add(what: str, method: str, ours: bool, n: int, cell: tuple[float, float]) -> None:
        rows.append(
            {"what": what, "method": method, "ours": ours, "n": n, "worst": cell[0], "p": cell[1]}
        )
        say(f"{what}, {method}, n = {n}: {cell[0]:.3f} at p = {cell[1]}")

    names = {
        "ours": "Wilson, effective size",
        "t": "Student t",
        "bootstrap": "percentile bootstrap",
    }
    for n in QUESTIONS:
        add("1 answer a question", "Wilson", True, n, wilson_exactly(n))
    for samples in (8, 64):
        for concentration in CONCENTRATIONS:
            what = f"{samples} answers a question, concentration {concentration:g}"
            for n in QUESTIONS:
                for method in ("ours", "t", "bootstrap"):
                    if method == "bootstrap" and (n == 500 or samples == 64):
                        continue
                    cell = worst(one_model(n, samples, concentration, method), _fewer(runs, method))
                    add(what, names[method], method == "ours", n, cell)
    names |= {"ours": "Student t, at least Wilson"}
    for count in (3, 5, 10):
        for spread in (0.0, 0.03):
            for n in QUESTIONS:
                what = f"{count} seeds, true spread {spread:g}"
                for method in ("ours", "t", "bootstrap"):
                    cell = worst(seeds(n, count, spread, method), _fewer(runs, method))
                    add(what, names[method], method == "ours", n, cell)
    names |= {"ours": "paired, with its grain"}
    for samples in (1, 8):
        for concentration in (0.5, 2.0):
            what = f"difference, {samples} answer{'s' * (samples > 1)}, {concentration:g}"
            for n in QUESTIONS:
                for method in ("ours", "t"):
                    cell = worst(paired(n, samples, concentration, method), runs)
                    add(what, names[method], method == "ours", n, cell)
    for counts in ((1, 1), (1, 8), (8, 8), (8, 64)):
        alike = counts[0] == counts[1]
        for concentration in CONCENTRATIONS:
            what = f"no difference, {counts[0]} and {counts[1]} answers, {concentration:g}"
            for n in QUESTIONS:
                tests = [("sign flips", True)] + (
                    [] if alike else [("t test, with its grain", False)]
                )
                for method, even in tests:
                    if even and n == 500 and counts[1] == 64:
                        continue  # minutes a cell, and there both hold
                    cell = worst(nothing_changed(n, counts, concentration, even=even), runs // 4)
                    add(what, method, even == alike, n, cell)
    return rows


def _fewer(runs: int, method: str) -> int:
    return max(200, runs // 10) if method == "bootstrap" else runs  # it is shown, not used


def page(rows: list[dict[str, object]], runs: int) -> str:
    """docs/coverage.md."""
    lines = [
        "# How often the intervals hold the truth",
        "",
        "Generated by `python benchmarks/intervals.py`; do not edit. Each number is the coverage "
        "in % of a",
        f"95 % interval at its worst p of 0.05, 0.10 ... 0.95 ({runs:,} simulated experiments a p; "
        "Wilson's",
        "with one answer a question is computed exactly). The worst of 19 simulated numbers lies "
        "below the",
        f"worst true one by about {300 * math.sqrt(0.05 * 0.95 / runs):.1f} points at most. "
        f"**Bold**: what this library reports. Below {100 * PROMISED:.0f} is marked with (!).",
        "",
        "| experiment | interval | " + " | ".join(f"n = {n}" for n in QUESTIONS) + " |",
        "|---|---|" + "---|" * len(QUESTIONS),
    ]
    keys = list(dict.fromkeys((r["what"], r["method"], r["ours"]) for r in rows))
    for what, method, ours in keys:
        cells = {r["n"]: r for r in rows if r["what"] == what and r["method"] == method}
        shown = [_cell(cells[n]) if n in cells else "" for n in QUESTIONS]
        name = f"**{method}**" if ours else str(method)
        lines.append(f"| {what} | {name} | " + " | ".join(shown) + " |")
    short = [r for r in rows if r["ours"] and float(str(r["worst"])) < PROMISED]
    lines += ["", "## Where they fall short", ""]
    if short:
        lines += [
            f"- {r['method']}, {r['what']}, n = {r['n']}: {100 * float(str(r['worst'])):.1f} at "
            f"p = {r['p']}."
            for r in short
        ]
    else:
        lines.append(f"None of the reported intervals covers less than {100 * PROMISED:.0f} %.")
    lines += [
        "",
        "n is the number of questions; `concentration` says how alike they are (0.5: most are "
        "always or",
        "never solved; inf: all equally hard). Seeds: n questions each, `spread` is the standard "
        "deviation of",
        "the seeds' true scores. A difference is between a model and one that mends a tenth of its "
        "mistakes.",
        "No difference: one model on both sides; the share of p-values that are not below 0.05.",
        "The percentile bootstrap is shown because it is common; over few seeds it promises too "
        "much.",
        "",
    ]
    return "\n".join(lines)


def _cell(row: dict[str, object]) -> str:
    covered = float(str(row["worst"]))
    return f"{100 * covered:.1f}{' (!)' if covered < PROMISED else ''}"


def main() -> None:
    """Simulates, prints, writes the page and its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--json", type=Path, help="the numbers, too")
    args = parser.parse_args()
    rows = simulate(args.runs, lambda line: print(line, flush=True))
    args.out.write_text(page(rows, args.runs), encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
