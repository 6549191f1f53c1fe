"""`watch`: a run, or a folder of runs -> the report's page, live, on this machine alone.

What is served is in the room `report.watch`; nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oneshot_rlvr.errors import ConfigError, MissingDependencyError


def watch(
    path: str | Path,
    *,
    port: int | None = None,
    pool: str | Path | None = None,
    price_per_hour: float | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves the page of a run, or the runs of a folder, on 127.0.0.1 until it is interrupted.

    Points, rollouts and words follow the run as it goes on; a run that is killed, resumed or begun
    later is picked up. port: None: 8421 or the next that is free. pool, price_per_hour: as in
    `report`. ready: told the address when the page can be opened.
    """
    from oneshot_rlvr.report.watch.places import checked

    if price_per_hour is not None and not 0 <= price_per_hour < float("inf"):
        raise ConfigError(f"price_per_hour is {price_per_hour}; wanted a number of at least 0.")
    root = checked(path)
    try:
        from oneshot_rlvr.report.watch.serve import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise MissingDependencyError(
            f"watch needs {error.name}, which is not installed: "
            "pip install 'oneshot-rlvr[watch]'. `oneshot report` needs neither."
        ) from error
    history = None
    if pool is not None:
        from oneshot_rlvr.selection import read_history

        history = read_history(pool)
    serve(
        root,
        port=port,
        pool=history,
        price_per_hour=price_per_hour,
        ready=ready or (lambda address: None),
    )
