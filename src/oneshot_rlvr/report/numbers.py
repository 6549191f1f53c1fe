"""Every number of the page as rows of one table: where it stands, of what, at which step, which.

Values are those of the records, not rounded. The page's script makes the same table of what it
shows; a test holds both against the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.report import facts
from oneshot_rlvr.report.arms import KINDS, Runs
from oneshot_rlvr.report.figures import FIGURES

Row = dict[str, Any]


def every_number(runs: Runs, *, price_per_hour: float | None = None) -> list[Row]:
    """Columns: where, of, step, what, value."""
    return [*table_numbers(runs, price_per_hour=price_per_hour), *_figures(runs)]


def table_numbers(runs: Runs, *, price_per_hour: float | None = None) -> list[Row]:
    """The same without the figures, whose numbers stand in their data."""
    rows: list[Row] = []
    for arm in runs.arms:
        for evaluation in runs.evaluations:
            overall = arm.overall(evaluation)
            parts = [("all", overall)] if overall is not None else []
            for kind in KINDS:
                parts += [(f"{kind}: {c.name}", c) for c in arm.parts(evaluation, kind)]
            for name, change in parts:
                of = f"{arm.name}; {evaluation}; {name}"
                for side in ("before", "after", "difference"):
                    rows += _estimate("result", of, side, getattr(change, side))
    for versus in runs.differences():
        of = f"{versus.arm} - {versus.other}; {versus.evaluation}; over {versus.over}"
        rows += _estimate("arms", of, "difference", versus.difference)
    for run in runs.runs:
        rows += [
            _row("cost", run.label, None, name, value)
            for name, value in facts.cost_numbers(run, price_per_hour)
        ]
    return rows


def figure_numbers(name: str, data: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """A figure's data: a row a number, named by the texts that stand with it, and by its k."""
    for item in data:
        texts = [str(v) for key, v in item.items() if isinstance(v, str) and key != "told"]
        texts += [f"k = {item['k']}"] if "k" in item else []
        step = item.get("step")
        for key, value in item.items():
            if (
                key not in ("step", "k")
                and isinstance(value, int | float)
                and not isinstance(value, bool)
            ):
                yield _row(f"figure {name}", "; ".join(texts), step, key, value)


def _figures(runs: Runs) -> Iterator[Row]:
    from oneshot_rlvr.report.saving import rows_of

    for name in FIGURES:
        chart = FIGURES.load(name)(runs)
        if chart is not None:
            yield from figure_numbers(name, rows_of(chart.to_dict()))


def _estimate(where: str, of: str, side: str, estimate: Estimate | None) -> list[Row]:
    if estimate is None:
        return []
    told = estimate.as_dict()
    return [
        _row(where, of, None, side if key == "value" else f"{side} {key}", told[key])
        for key in ("value", "low", "high", "n")
        if told[key] is not None
    ]


def _row(where: str, of: str, step: Any, what: str, value: Any) -> Row:
    return {"where": where, "of": of, "step": step, "what": what, "value": value}
