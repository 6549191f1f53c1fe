"""A server that watches, for the tests that need one; the browser is every room's (browsing)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def watching() -> Callable[..., Any]:
    """`with watching(directory) as address`: a server in this process, on any free port."""
    uvicorn = pytest.importorskip("uvicorn")
    from oneshot_rlvr.report.watch.app import make_app

    @contextmanager
    def serve(directory: Path, **options: Any) -> Iterator[str]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(64)
            app = make_app(directory.resolve(), poll_seconds=0.1, **options)
            config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
            server.should_exit = True
            thread.join(10)

    return serve
