"""Figures as files of their own: PNG, SVG, and the numbers that are drawn as CSV.

Texts in a CSV that a spreadsheet would run as a formula are made inert, as `analysis` does it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oneshot_rlvr.analysis.everything import inert
from oneshot_rlvr.errors import ConfigError, RecordsError
from oneshot_rlvr.records.files import write_atomic
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures import FIGURES
from oneshot_rlvr.report.figures.style import THEMES

SUFFIXES = (".png", ".svg", ".csv")
_GROUNDS = {"light": "#ffffff", "dark": "#14171a"}


def save_one(
    runs: Runs, name: str, out: str | Path, width: int = 720, theme: str = "light"
) -> Path:
    """One figure, by the suffix of `out`. ConfigError, UnknownNameError, RecordsError."""
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise ConfigError(f"{out.name} names no known format; end it in .png, .svg or .csv")
    chart = FIGURES.load(name)(runs)
    if chart is None:
        raise RecordsError(f'{runs.first.label} has no records that figure "{name}" could draw')
    spec = chart.to_dict()
    if out.suffix == ".csv":
        write_atomic(out, as_csv(rows_of(spec)).encode("utf-8"))
        return out
    import vl_convert

    config = {**THEMES[theme], "background": _GROUNDS[theme]}
    drawn = {**spec, "width": width, "config": config}
    if out.suffix == ".png":
        write_atomic(out, vl_convert.vegalite_to_png(drawn, scale=2))
    else:
        write_atomic(out, vl_convert.vegalite_to_svg(drawn).encode("utf-8"))
    return out


def save_all(runs: Runs, folder: Path, *, price_per_hour: float | None = None) -> list[Path]:
    """Every figure that can be drawn in every format, and numbers.csv; the files."""
    from oneshot_rlvr.report.numbers import every_number

    files = []
    for name in FIGURES:
        if FIGURES.load(name)(runs) is not None:
            files += [save_one(runs, name, folder / f"{name}{suffix}") for suffix in SUFFIXES]
    path = folder / "numbers.csv"
    write_atomic(path, as_csv(every_number(runs, price_per_hour=price_per_hour)).encode("utf-8"))
    return [*files, path]


def rows_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that a chart draws, those of its layers together, in order and once each."""
    rows: dict[str, dict[str, Any]] = {}
    for data in spec.get("datasets", {}).values():
        for row in data:
            rows.setdefault(repr(sorted(row.items(), key=lambda item: item[0])), row)
    return list(rows.values())


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with the columns of all rows; numbers as they are, in full."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if (v := row.get(key)) is None else inert(v) for key in columns})
    return out.getvalue()
