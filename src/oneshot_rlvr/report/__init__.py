"""A run directory -> one HTML file to read: what was trained, on what, and whether it helped.

`report` writes the page, `save_figure` one figure as PNG or SVG, `model_card` the final model's
README. Reads records only; needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneshot_rlvr.report.data import RunData

__all__ = ["report", "save_figure"]


def report(run: str | Path, out: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the report of a run directory; `out` is report.html in it unless given.

    Works on unfinished and on damaged runs, and says so. RunError when the directory holds no run,
    RecordsError when the file cannot be written, or `out` holds another one and `overwrite` is not
    given. Returns the path written.
    """
    return write(run, out, overwrite=overwrite)[0]


def write(
    run: str | Path, out: str | Path | None = None, *, overwrite: bool = False
) -> tuple[Path, list[str]]:
    """As `report`; also what is left out because it is not as it was written, in words."""
    from oneshot_rlvr.records.files import write_outputs
    from oneshot_rlvr.report.page import render

    path, data = Path(out) if out is not None else Path(run) / "report.html", _load(run)
    page = render(data).encode("utf-8")
    # The run's own page is made from its records, anew each time.
    write_outputs({path: page}, overwrite=overwrite or out is None)
    return path, list(data.damage)


def save_figure(
    run: str | Path,
    name: str,
    out: str | Path,
    *,
    width: int = 720,
    theme: str = "light",
    overwrite: bool = False,
) -> Path:
    """Write one figure of a run as PNG or SVG, by the suffix of `out`; `width` in pixels.

    UnknownNameError for an unknown figure, RecordsError when the run has no records for it, or
    another file lies there and `overwrite` is not given.
    """
    import vl_convert

    from oneshot_rlvr.errors import ConfigError, RecordsError
    from oneshot_rlvr.records.files import write_outputs
    from oneshot_rlvr.report.figures import FIGURES
    from oneshot_rlvr.report.figures.style import THEMES

    out = Path(out)
    if out.suffix not in (".png", ".svg"):
        raise ConfigError(f"{out.name} names no known format; end it in .png or .svg")
    chart = FIGURES.load(name)(_load(run))
    if chart is None:
        raise RecordsError(f'{run} has no records that figure "{name}" could draw')
    ground = {"light": "#ffffff", "dark": "#14171a"}[theme]
    spec = {**chart.to_dict(), "width": width, "config": {**THEMES[theme], "background": ground}}
    if out.suffix == ".png":
        drawn = vl_convert.vegalite_to_png(spec, scale=2)
    else:
        drawn = vl_convert.vegalite_to_svg(spec).encode("utf-8")
    write_outputs({out: drawn}, overwrite=overwrite)
    return out


def _load(run: str | Path) -> RunData:
    from oneshot_rlvr.records import Run
    from oneshot_rlvr.report.data import RunData

    return RunData.load(Run(run, partly=True))
