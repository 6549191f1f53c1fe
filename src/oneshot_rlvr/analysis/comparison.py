"""Before against after: the same held-out questions, the base model and the trained one.

Reads summaries and graded samples; grades nothing. The test set counts where both sides of it are
recorded, else the validation set, and the page says which. Differences are paired by question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.estimators import Estimate, paired_interval
from oneshot_rlvr.records import Run

_COLUMNS = ["example_id", "domain", "family", "group", "correct", "boxed"]


@dataclass(frozen=True, slots=True)
class Change:
    """avg@K of one set of questions; a side that is not measured is None."""

    name: str
    before: Estimate | None
    after: Estimate | None
    difference: Estimate | None  # paired by question; None without both sides


@dataclass(frozen=True, slots=True)
class FormatShare:
    """How the gain splits between boxing more answers and being right more often, in 0..1."""

    gain: float
    by_boxing: float
    within: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One evaluation at step 0 and at a later step. Summaries: shape of records/summary.py."""

    name: str
    step: int | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    overall: Change
    groups: list[Change]
    domains: list[Change]
    families: list[Change]
    family_domain: Mapping[str, str]
    format_share: FormatShare | None
    others: list[int]  # further steps at which the same set was evaluated

    @property
    def complete(self) -> bool:
        """Both sides are measured."""
        return self.before is not None and self.after is not None


def compare(run: Run, step: int | None = None) -> Comparison | None:
    """The comparison that the run supports best; None when nothing held out is recorded.

    After is `step`, else the step that the run's result names, else the latest evaluated.
    """
    steps: dict[str, list[int]] = {}
    for evaluation, recorded in run.evaluations():
        steps.setdefault(evaluation, []).append(recorded)
    whole = [name for name in ("test", "validation") if _both(steps.get(name, []))]
    some = [name for name in ("validation", "test") if name in steps]
    if not whole and not some:
        return None
    name = (whole or some)[0]
    later = [step for step in steps[name] if step > 0]
    chosen = (run.result or {}).get("step") if step is None else step
    at = chosen if chosen in later else max(later, default=None)
    return _comparison(run, name, 0 in steps[name], at, [s for s in later if s != at])


def compare_each(run: Run) -> list[Comparison]:
    """One comparison for every evaluation that is recorded, that of `compare` first."""
    first = compare(run)
    if first is None:
        return []
    steps: dict[str, list[int]] = {}
    for evaluation, recorded in run.evaluations():
        steps.setdefault(evaluation, []).append(recorded)
    rest = sorted(name for name in steps if name != first.name)
    named = (run.result or {}).get("step")
    found = [first]
    for name in rest:
        later = [step for step in steps[name] if step > 0]
        at = named if named in later else max(later, default=None)
        others = [step for step in later if step != at]
        found.append(_comparison(run, name, 0 in steps[name], at, others))
    return found


def _both(steps: list[int]) -> bool:
    return 0 in steps and len(steps) > 1


def _comparison(
    run: Run, name: str, has_base: bool, step: int | None, others: list[int]
) -> Comparison:
    before = run.summary(name, 0) if has_base else None
    after = run.summary(name, step) if step is not None else None
    base = _samples(run, name, 0) if has_base else None
    trained = _samples(run, name, step) if step is not None else None
    return Comparison(
        name=name,
        step=step,
        before=before,
        after=after,
        overall=_change(
            "all", before and before["overall"], after and after["overall"], base, trained
        ),
        groups=_changes("group", "groups", before, after, base, trained),
        domains=_changes("domain", "domains", before, after, base, trained),
        families=_changes("family", "families", before, after, base, trained),
        family_domain=_domains(trained if trained is not None else base),
        format_share=None if base is None or trained is None else format_share(base, trained),
        others=others,
    )


def _samples(run: Run, name: str, step: int) -> pd.DataFrame | None:
    try:
        return run.samples(name, step, columns=_COLUMNS)
    except RecordsError:
        return None  # the summary stands; only what needs single answers is left out


def _changes(
    column: str,
    key: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    base: pd.DataFrame | None,
    trained: pd.DataFrame | None,
) -> list[Change]:
    sides = [{} if side is None else side.get(key, {}) for side in (before, after)]
    names = sorted({*sides[0], *sides[1]})
    return [
        _change(
            name,
            sides[0].get(name),
            sides[1].get(name),
            None if base is None else base[base[column] == name],
            None if trained is None else trained[trained[column] == name],
        )
        for name in names
    ]


def _change(
    name: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    base: pd.DataFrame | None,
    trained: pd.DataFrame | None,
) -> Change:
    return Change(
        name,
        Estimate.from_dict(before["accuracy"]) if before else None,
        Estimate.from_dict(after["accuracy"]) if after else None,
        None if base is None or trained is None else paired_change(base, trained),
    )


def paired_change(
    base: pd.DataFrame, trained: pd.DataFrame, column: str = "correct"
) -> Estimate | None:
    """after - before by question; None unless both sides answered the same questions.

    The interval is that of `oneshot evaluate`: t over the questions' differences with two more of
    one answer's size, one up and one down. One question alone has none.
    """
    sides = [side.groupby("example_id")[column].agg(["mean", "size"]) for side in (base, trained)]
    before, after = sides
    if before.empty or set(before.index) != set(after.index):
        return None
    answers = None if len(before) == 1 else int(min(side["size"].min() for side in sides))
    after = after.loc[before.index]
    return paired_interval(before["mean"].to_numpy(), after["mean"].to_numpy(), samples=answers)


def format_share(base: pd.DataFrame, trained: pd.DataFrame) -> FormatShare | None:
    """Kitagawa's decomposition (JASA 1955) of the gain by whether an answer was boxed.

    `by_boxing` is the change in the boxed share at unchanged accuracy of boxed and unboxed
    answers, `within` the change of those accuracies at unchanged shares (each at the mean of both
    sides); they add up to the gain. Accounting, not cause. None without answers on a side.
    """
    if base.empty or trained.empty:
        return None
    (shares_before, right_before), (shares_after, right_after) = _by_box(base), _by_box(trained)
    by_boxing = within = 0.0
    for boxed in (True, False):
        # A kind that never occurs on one side has no accuracy there; the other side's stands in.
        known = [side[boxed] for side in (right_before, right_after) if boxed in side]
        if known:
            first, last = known[0], known[-1]
            moved = shares_after[boxed] - shares_before[boxed]
            by_boxing += moved * (first + last) / 2
            within += (last - first) * (shares_before[boxed] + shares_after[boxed]) / 2
    return FormatShare(by_boxing + within, by_boxing, within)


def _by_box(side: pd.DataFrame) -> tuple[dict[bool, float], dict[bool, float]]:
    """The share of boxed and unboxed answers, and the accuracy of each kind that occurs."""
    boxed = side["boxed"].astype(bool)
    shares = {True: float(boxed.mean()), False: float((~boxed).mean())}
    right = {kind: side.loc[boxed == kind, "correct"] for kind in shares}
    return shares, {kind: float(rows.mean()) for kind, rows in right.items() if len(rows)}


def _domains(samples: pd.DataFrame | None) -> dict[str, str]:
    if samples is None:
        return {}
    pairs = samples[["family", "domain"]].drop_duplicates()
    return dict(zip(pairs["family"], pairs["domain"], strict=True))
