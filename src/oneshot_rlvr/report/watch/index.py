"""The page of a folder: its runs and how far they are. Light: summaries, no samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from oneshot_rlvr.errors import OneshotError
from oneshot_rlvr.records import Run, schema
from oneshot_rlvr.records.files import read_lines
from oneshot_rlvr.report.words import percent


def listed(found: Mapping[str, Path]) -> list[dict[str, Any]]:
    """A row a run: name, address, state, steps, before, after."""
    return [_row(name, directory) for name, directory in found.items()]


def _row(name: str, directory: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "address": f"runs/{quote(name)}/",
        "state": "cannot be read",
        "steps": "",
        "before": "",
        "after": "",
    }
    try:
        run = Run(directory, partly=True)
        row["state"] = {"running": "not finished", "unknown": "damaged"}.get(run.status, run.status)
        lines = read_lines(directory / schema.METRICS)
        row["steps"] = f"{max((line['step'] for line in lines), default=0):,}"
        steps: dict[str, list[int]] = {}
        for evaluation, step in run.evaluations():
            steps.setdefault(evaluation, []).append(step)
        name = next((n for n in ("test", "validation", *steps) if len(steps.get(n, [])) > 1), "")
        if name:
            ends = min(steps[name]), max(steps[name])
            values = [run.summary(name, at)["overall"]["accuracy"]["value"] for at in ends]
            row["before"], row["after"] = (percent(value) for value in values)
    except (OneshotError, OSError, ValueError, KeyError, TypeError):
        pass  # what is known so far stands
    return row
