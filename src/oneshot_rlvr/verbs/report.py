"""`report`: a run -> one HTML file. The page and its figures are in the room `report`."""

from __future__ import annotations

from pathlib import Path


def report(run: str | Path, out: str | Path | None = None) -> Path:
    """Writes a run as one HTML file that needs no network; None: report.html inside the run."""
    from oneshot_rlvr.report import report as write_report

    return write_report(run, out)
