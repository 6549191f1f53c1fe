"""Claims that were declared before anything ran -> holds, does not hold, cannot tell.

A claim is a value, a relation and a threshold. It holds where the value lies on the claimed side of
the threshold by more than chance explains, and does not hold where it lies on the other side by as
much; the chance of any false one among all claims of the study stays below 5 % (Holm). What is
printed beside it is the claim's own interval of 95 %, which knows of no other claim.

Judged is what was declared, all of it: while a seed of either side is missing, be it not run yet or
failed, there is a value and no verdict. Else one could look after every run and stop when it holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from oneshot_rlvr.errors import DataError, RunError
from oneshot_rlvr.study.gather import Gathered, Values, both_sides
from oneshot_rlvr.study.spec import BASE, Claim, benchmark_of
from oneshot_rlvr.study.statistics import Spread, holm, paired, rank_correlation, spread

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot tell"
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim with what was found. `p_value` speaks against chance, `corrected` after Holm;
    `towards`: whether the value lies on the claimed side. `why`: of a claim that cannot be told,
    where that is not the interval's width."""

    claim: Claim
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    towards: bool = False
    seed_count: int = 0
    questions: int = 0
    way: str = ""
    why: str = ""
    corrected: float = math.nan
    verdict: str = UNKNOWN


def difference(one: Values, other: Values | None, *, over_seeds: bool) -> Spread:
    """The spread of an arm's values, or of its paired difference to another's."""
    if other is None:
        return spread(one.values_S_Q, one.answers, over_seeds=over_seeds and bool(one.seeds))
    ours, theirs, seeds = both_sides(one, other)
    answers = min(one.answers, other.answers)
    # Nothing of either side was trained: there are no seeds to be sure over.
    return spread(paired(ours, theirs), answers, over_seeds=over_seeds and bool(seeds))


def judge(gathered: Gathered) -> list[Finding]:
    """All claims of the study, in their order."""
    study = gathered.file.study
    found = [_found(gathered, claim) for claim in study.claims]
    corrected = holm([finding.p_value for finding in found])
    return [
        replace(finding, corrected=p, verdict=verdict(p, towards=finding.towards))
        for finding, p in zip(found, corrected, strict=True)
    ]


def verdict(corrected: float, *, towards: bool) -> str:
    """By the corrected p-value and the side on which the value lies."""
    if math.isnan(corrected) or corrected > LEVEL:
        return UNKNOWN
    return HOLDS if towards else FAILS


def _found(gathered: Gathered, claim: Claim) -> Finding:
    try:
        if claim.statistic == "rank_correlation":
            return _ranked(gathered, claim)
        study = gathered.file.study
        one, other = sides(gathered, claim)
        over_seeds = study.intervals == "seeds and questions"
        told = difference(one, other, over_seeds=over_seeds)
    except (RunError, DataError) as error:
        return Finding(claim, why=str(error))
    low, high = told.interval()
    p_value, towards = tested(told, claim.relation, claim.threshold)
    way = one.way or (other.way if other is not None else "")
    found = Finding(
        claim, told.value, low, high, p_value, towards, told.seeds, told.questions, way,
        "" if told.known else "too few seeds for an interval",
    )  # fmt: skip
    return _only_whole(gathered, found)


def sides(gathered: Gathered, claim: Claim) -> tuple[Values, Values | None]:
    """What a claim compares. RunError, DataError where a side has nothing, or not this.

    That an arm lies above the base has to hold for the base's strongest way. Any other claim about
    it (the arm is lower, or the same) would be flattered by that, and is of the same way of asking.
    """
    asked: tuple[Any, ...] = (benchmark_of(gathered.file.study, claim), claim.statistic, claim.only)
    against_strongest = {"above": claim.against, "below": claim.arm}.get(claim.relation) == BASE
    one = gathered.values(claim.arm, *asked, own_way=not against_strongest)
    if claim.against is None:
        return one, None
    return one, gathered.values(claim.against, *asked, own_way=not against_strongest)


def _only_whole(gathered: Gathered, found: Finding) -> Finding:
    """The finding without a p-value where not all of its runs are done."""
    claim = found.claim
    counts = {arm: gathered.not_done(arm) for arm in (claim.arm, claim.against, *claim.arms) if arm}
    missing = [
        f"{total - left} of {total} runs of {arm} are done"
        for arm, (left, total) in counts.items()
        if left
    ]
    if missing:
        more = f"; and {len(missing) - 2} more arms" if len(missing) > 2 else ""
        why = f"no verdict before all runs are done: {'; '.join(missing[:2])}{more}"
        return replace(found, p_value=math.nan, why=why)
    total = counts[claim.arm][1] if claim.arm else 0
    if claim.statistic == "post_saturation" and found.seed_count < total:
        return replace(found, why=f"of the {found.seed_count} of {total} seeds that saturated")
    return found


def tested(told: Spread, relation: str, threshold: float) -> tuple[float, bool]:
    """(p-value, on the claimed side?). within is two tests: that it lies above the lower bound and
    below the upper one, or beyond either."""
    if relation != "within":
        above = told.value > threshold
        return told.p_value(threshold), above if relation == "above" else not above
    sides = [told.p_value(bound) for bound in (-threshold, threshold)]
    if abs(told.value) <= threshold:
        return max(sides), True
    return min(sides), False


def _ranked(gathered: Gathered, claim: Claim) -> Finding:
    """Spearman's correlation of the arms' scores and their gains."""
    study, name = gathered.file.study, benchmark_of(gathered.file.study, claim)
    assert claim.against is not None
    scores, gains = [], []
    base = gathered.values(claim.against, name, "accuracy", claim.only)
    for arm in claim.arms:
        ours, theirs, _ = both_sides(gathered.values(arm, name, "accuracy", claim.only), base)
        scores.append(study.arms[arm].scores[claim.score])
        gains.append(float(paired(ours, theirs).mean()))
    value, low, high, p_value = rank_correlation(scores, gains)
    if claim.threshold != 0 or claim.relation == "within":
        # Fisher's z around another value: the interval's own width says how far it is.
        z, at = math.atanh(min(max(value, -0.999999), 0.999999)), math.atanh(claim.threshold)
        error = (math.atanh(high) - math.atanh(low)) / (2 * 1.959964)
        told = Spread(z, 0.0, error**2, 1, 10**9)
        p_value, towards = tested(told, claim.relation, at)
    else:
        towards = value > 0 if claim.relation == "above" else value < 0
    found = Finding(claim, value, low, high, p_value, towards, len(study.seeds), len(scores))
    return _only_whole(gathered, found)


def worst(findings: Sequence[Finding]) -> str:
    """One verdict of several: does not hold before cannot tell before holds."""
    verdicts = {finding.verdict for finding in findings}
    return next((name for name in (FAILS, UNKNOWN, HOLDS) if name in verdicts), UNKNOWN)
