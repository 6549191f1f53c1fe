"""A server for `app` on 127.0.0.1: the port, the beginning and the end. Nothing else is bound."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.report.page import library
from oneshot_rlvr.report.watch.app import make_app

if TYPE_CHECKING:
    from oneshot_rlvr.selection import History

HOST, PORT = "127.0.0.1", 8421
_TRIED = 20
_WAITING = 64


def serve(
    root: Path,
    *,
    port: int | None = None,
    pool: History | None = None,
    price_per_hour: float | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves until it is interrupted; `ready` is told the address. ConfigError for a port in use.

    port: None takes 8421, or the next that is free.
    """
    listener = _bound(port)
    address = f"http://{HOST}:{listener.getsockname()[1]}/"
    # The charts' library takes seconds to put together: begun before the first reader asks for it.
    threading.Thread(target=library, daemon=True).start()
    config = uvicorn.Config(
        make_app(root, pool=pool, price_per_hour=price_per_hour),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,  # readers keep their event streams open
    )
    server = uvicorn.Server(config)
    ready(address)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()


def _bound(port: int | None) -> socket.socket:
    if port is not None and not 0 <= port < 2**16:
        raise ConfigError(f"the port is {port}; wanted one from 0 (any that is free) to 65535.")
    wanted = range(PORT, PORT + _TRIED) if port is None else [port]
    for number in wanted:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, number))
            # From here on a browser waits for the first answer, where it would have been refused.
            listener.listen(_WAITING)
            return listener
        except OSError:
            listener.close()
    told = f"port {port} is" if port is not None else f"ports {PORT} to {PORT + _TRIED - 1} are"
    raise ConfigError(f"{told} in use on {HOST}; name another with --port N (0: any that is free).")
