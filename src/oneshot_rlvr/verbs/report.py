"""`report`: a run -> one HTML file. The page and its figures are in the room `report`."""

from __future__ import annotations

from pathlib import Path


def report(run: str | Path, out: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Writes a run as one HTML file that needs no network; None: report.html inside the run.

    RecordsError where `out` holds another file and `overwrite` is not given.
    """
    return report_and_damage(run, out, overwrite=overwrite)[0]


def report_and_damage(
    run: str | Path, out: str | Path | None = None, *, overwrite: bool = False
) -> tuple[Path, list[str]]:
    """As `report`; also what the page leaves out because it is not as it was written."""
    from oneshot_rlvr.report import write

    return write(run, out, overwrite=overwrite)
