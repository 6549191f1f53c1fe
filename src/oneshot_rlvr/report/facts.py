"""The page's tables of facts: what the run cost, and what it ran with. Rows of (name, value)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneshot_rlvr.report.data import RunData, setting
from oneshot_rlvr.report.recipe import toml
from oneshot_rlvr.report.words import duration, text_of

Row = tuple[str, str]

# Shown elsewhere on the page.
_ELSEWHERE = {"recipe", "examples"}


def cost(run: RunData, price_per_hour: float | None = None) -> list[Row]:
    """Steps, rollouts, tokens, time, memory and price, as far as they are recorded or given."""
    told = {
        "steps": "{:,}".format,
        "rollouts": "{:,}".format,
        "generated tokens": "{:,.0f}".format,
        "tokens a second, overall": "{:,.0f}".format,
        "price": lambda value: f"{value:,.2f} at {price_per_hour:,.2f} an hour",
    }
    return [
        (name, told[name](value) if name in told else _measured(name, value))
        for name, value in cost_numbers(run, price_per_hour)
    ]


def _measured(name: str, value: float) -> str:
    return f"{value:.2f} GiB" if name.startswith("highest ") else duration(value)


def cost_numbers(
    run: RunData, price_per_hour: float | None = None
) -> list[tuple[str, int | float]]:
    """The same as numbers: counts, seconds, GiB, and the price in the unit it was given in."""
    rows: list[tuple[str, int | float]] = [("steps", run.steps_done)]
    per_step = [setting(run.recipe, f"rollouts.{k}") for k in ("prompts_per_step", "group_size")]
    if all(per_step):
        rows.append(("rollouts", int((run.metrics["step"] > 0).sum()) * per_step[0] * per_step[1]))
    tokens = sum(value for _, value in run.training("train/tokens"))
    if tokens:
        rows.append(("generated tokens", tokens))
    total = total_seconds(run)
    if total:
        rows.append(("time", total))
        if price_per_hour is not None:
            rows.append(("price", price_per_hour * total / 3600))
        if tokens:
            rows.append(("tokens a second, overall", tokens / total))
    for column in run.timings.columns:
        if column.endswith("_seconds") and column not in _TOTALS:
            spent = float(run.timings[column].sum())
            rows.append((f"time to {_spoken(column.removesuffix('_seconds'))}", spent))
        elif column.endswith("_bytes"):
            gib = float(run.timings[column].max()) / 2**30
            named = _spoken(column.removesuffix("_bytes").removeprefix("peak_"))
            rows.append((f"highest {named}", gib))
    return rows


_TOTALS = ("step_seconds", "total_seconds")


def total_seconds(run: RunData) -> float:
    """The time of the recorded steps: their own total, else the sum of the parts."""
    for name in _TOTALS:
        if name in run.timings:
            return float(run.timings[name].sum())
    parts = [column for column in run.timings.columns if column.endswith("_seconds")]
    return float(run.timings[parts].sum().sum()) if parts else 0.0


def provenance(run: RunData) -> list[Row]:
    """Versions, machine, seeds, commit: everything else that run.json tells, flattened."""
    rows: list[Row] = []
    for key, value in run.info.items():
        if key not in _ELSEWHERE:
            rows += _flat(key, value)
    return rows


def recipe_toml(run: RunData) -> str:
    """The resolved recipe as it was recorded; empty when it was not."""
    return toml(run.recipe)


def _flat(name: str, value: Any) -> list[Row]:
    if isinstance(value, Mapping):
        return [row for key, item in value.items() for row in _flat(f"{name} · {key}", item)]
    text = text_of(value)
    return [(_spoken(name), text)] if text else []


def _spoken(name: str) -> str:
    return name.replace("_", " ").replace("/", " ")
