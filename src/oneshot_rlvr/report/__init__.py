"""Runs -> one page to read: what was trained, on what, and whether it helped.

`report` writes it as one HTML file, `report.watch` serves it while runs go on, `save_figure` and
`save_figures` write figures as PNG, SVG and CSV, `model_card` the final model's README. Reads
records only; needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneshot_rlvr.report.arms import Runs

__all__ = ["report", "save_figure", "save_figures"]

OneOrMore = str | Path | Sequence[str | Path]


def report(run: OneOrMore, out: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the report of a run's directory, or of several; `out`: report.html in it unless given.

    Works on unfinished and on damaged runs, and says so. RunError when a directory holds no run,
    ConfigError for several runs without `out`, RecordsError when the file cannot be written, or
    `out` holds another one and `overwrite` is not given. Returns the path written.
    """
    return write(run, out, overwrite=overwrite)[0]


def write(
    run: OneOrMore,
    out: str | Path | None = None,
    *,
    pool: str | Path | None = None,
    price_per_hour: float | None = None,
    figures: str | Path | None = None,
    overwrite: bool = False,
) -> tuple[Path, list[str]]:
    """As `report`; also what is left out because it is not as it was written, in words.

    pool: a history of the pool that the example was chosen from. price_per_hour: of the machine.
    figures: a folder for every figure as PNG, SVG and CSV, and for numbers.csv.
    """
    from oneshot_rlvr.errors import ConfigError
    from oneshot_rlvr.records.files import write_outputs
    from oneshot_rlvr.report.page import render
    from oneshot_rlvr.report.saving import save_all

    named = [run] if isinstance(run, str | Path) else list(run)
    if out is None and len(named) > 1:
        raise ConfigError("several runs have no folder in common; name the file with --out FILE")
    runs = load(named, pool)
    path = Path(out) if out is not None else Path(named[0]) / "report.html"
    page = render(runs, price_per_hour=price_per_hour).encode("utf-8", "replace")
    # The run's own page is made from its records, anew each time.
    write_outputs({path: page}, overwrite=overwrite or out is None)
    if figures is not None:
        save_all(runs, Path(figures), price_per_hour=price_per_hour, overwrite=overwrite)
    alone = runs.alone is not None
    return path, [
        what if alone else f"{data.label}: {what}" for data in runs.runs for what in data.damage
    ]


def save_figure(
    run: OneOrMore,
    name: str,
    out: str | Path,
    *,
    width: int = 720,
    theme: str = "light",
    overwrite: bool = False,
) -> Path:
    """Write one figure as PNG, SVG or CSV, by the suffix of `out`; `width` in pixels.

    UnknownNameError for an unknown figure, RecordsError when the run has no records for it, or
    another file lies there and `overwrite` is not given.
    """
    from oneshot_rlvr.report.saving import save_one

    runs = load([run] if isinstance(run, str | Path) else run)
    return save_one(runs, name, out, width, theme, overwrite=overwrite)


def save_figures(run: OneOrMore, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Every figure as PNG, SVG and CSV, and every number as numbers.csv; the files."""
    from oneshot_rlvr.report.saving import save_all

    runs = load([run] if isinstance(run, str | Path) else run)
    return save_all(runs, Path(folder), overwrite=overwrite)


def load(named: Sequence[str | Path], pool: str | Path | None = None) -> Runs:
    """The runs of a page. ConfigError for none or one that is given twice; RunError, DataError."""
    from oneshot_rlvr.errors import ConfigError
    from oneshot_rlvr.records import Run
    from oneshot_rlvr.records.files import shortest_names
    from oneshot_rlvr.report.arms import Runs
    from oneshot_rlvr.report.data import RunData

    if not named:
        raise ConfigError("no run is given; name at least one run's directory")
    opened = [Run(directory, partly=True) for directory in named]
    paths = [run.directory.resolve() for run in opened]
    if len(set(paths)) < len(paths):
        raise ConfigError("a run is given twice; name each once")
    history = None
    if pool is not None:
        from oneshot_rlvr.selection import read_history

        history = read_history(pool)
    return Runs.of(
        *(
            RunData.load(run, label=label, pool=history)
            for run, label in zip(opened, shortest_names(paths), strict=True)
        )
    )
