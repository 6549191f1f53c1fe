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
from oneshot_rlvr.records.files import write_outputs
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.figures import FIGURES
from oneshot_rlvr.report.figures.style import THEMES

SUFFIXES = (".png", ".svg", ".csv")
_GROUNDS = {"light": "#ffffff", "dark": "#14171a"}


def save_one(
    runs: Runs,
    name: str,
    out: str | Path,
    width: int = 720,
    theme: str = "light",
    *,
    overwrite: bool = False,
) -> Path:
    """One figure, by the suffix of `out`. ConfigError, UnknownNameError, RecordsError."""
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise ConfigError(f"{out.name} names no known format; end it in .png, .svg or .csv")
    chart = FIGURES.load(name)(runs)
    if chart is None:
        raise RecordsError(f'{runs.first.label} has no records that figure "{name}" could draw')
    write_outputs({out: _drawn(chart.to_dict(), out.suffix, width, theme)}, overwrite=overwrite)
    return out


def save_all(
    runs: Runs, folder: Path, *, price_per_hour: float | None = None, overwrite: bool = False
) -> list[Path]:
    """Every figure that can be drawn in every format, and numbers.csv; the files."""
    from oneshot_rlvr.report.numbers import every_number

    outputs = {}
    for name in FIGURES:
        if (chart := FIGURES.load(name)(runs)) is not None:
            spec = chart.to_dict()
            for suffix in SUFFIXES:
                outputs[folder / f"{name}{suffix}"] = _drawn(spec, suffix)
    numbers = as_csv(every_number(runs, price_per_hour=price_per_hour))
    outputs[folder / "numbers.csv"] = numbers.encode("utf-8")
    return write_outputs(outputs, overwrite=overwrite)


def _drawn(spec: Mapping[str, Any], suffix: str, width: int = 720, theme: str = "light") -> bytes:
    """A chart in a format."""
    if suffix == ".csv":
        return as_csv(rows_of(spec)).encode("utf-8")
    import vl_convert

    config = {**THEMES[theme], "background": _GROUNDS[theme]}
    drawn = {**spec, "width": width, "config": config}
    if suffix == ".png":
        return bytes(vl_convert.vegalite_to_png(drawn, scale=2))
    return str(vl_convert.vegalite_to_svg(drawn)).encode("utf-8")


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
