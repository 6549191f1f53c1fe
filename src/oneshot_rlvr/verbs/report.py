"""`report`: runs -> one HTML file. The page and its figures are in the room `report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def report(
    run: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    pool: str | Path | None = None,
    price_per_hour: float | None = None,
    figures: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a run, or several, as one HTML file that needs no network.

    Runs of one recipe are the seeds of an arm; arms stand beside each other. out: the file; None:
    report.html inside the run, of which there is one then. pool: the history that the example was
    chosen from, as `select` reads one. price_per_hour: of the machine, in any currency. figures: a
    folder for every figure as PNG, SVG and CSV, and for every number as numbers.csv. RecordsError
    where another file lies at `out` or among the figures and `overwrite` is not given.
    """
    return report_and_damage(
        run,
        out,
        pool=pool,
        price_per_hour=price_per_hour,
        figures=figures,
        overwrite=overwrite,
    )[0]


def report_and_damage(
    run: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    pool: str | Path | None = None,
    price_per_hour: float | None = None,
    figures: str | Path | None = None,
    overwrite: bool = False,
) -> tuple[Path, list[str]]:
    """As `report`; also what the page leaves out because it is not as it was written."""
    from oneshot_rlvr.errors import ConfigError
    from oneshot_rlvr.report import write

    if price_per_hour is not None and not 0 <= price_per_hour < float("inf"):
        raise ConfigError(f"price_per_hour is {price_per_hour}; wanted a number of at least 0.")
    return write(
        run,
        out,
        pool=pool,
        price_per_hour=price_per_hour,
        figures=figures,
        overwrite=overwrite,
    )
