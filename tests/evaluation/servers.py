"""A small HTTP server that speaks the OpenAI protocol and misbehaves on order."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behave = Callable[[dict[str, Any], int], Any]
"""(request body, how often this very request came before) -> what to do:
a text (a right reply), ("status", code, headers[, body]), ("raw", bytes), ("short", bytes).
"""


class Server:
    """`url`, the bodies that came, and the most requests that were open at once."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}/v1"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()


@contextmanager
def serving(behave: Behave, names: tuple[str, ...] = ("served",)) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, json.dumps({"data": [{"id": name} for name in names]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told = json.dumps(body, sort_keys=True)
            with server.lock:
                before = server.seen[told]
                server.seen[told] += 1
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
                server.open += 1
                server.most_open = max(server.most_open, server.open)
            try:
                what = behave(body, before)
            finally:
                # Before the reply, on which the client may send its next request at once.
                with server.lock:
                    server.open -= 1
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has gone
                self._do(what, "prompt" in body)

        def _do(self, what: Any, bare: bool) -> None:
            if isinstance(what, str):
                what = {"text": what}
            if isinstance(what, dict):
                self._send(200, json.dumps(reply(bare=bare, **what)).encode())
            elif what[0] == "status":
                said = what[3] if len(what) > 3 else b'{"error": {"message": "no"}}'
                self._send(what[1], said, what[2])
            elif what[0] == "raw":
                self._send(200, what[1])
            elif what[0] == "short":  # fewer bytes than promised
                self.send_response(200)
                self.send_header("Content-Length", str(len(what[1]) + 100))
                self.end_headers()
                self.wfile.write(what[1])
                self.wfile.flush()
                self.close_connection = True

        def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    class Patient(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # with 5 a burst would wait for TCP to try again

    http = Patient(("127.0.0.1", 0), Handler)
    server = Server(http.server_address[1])
    thread = threading.Thread(
        target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join(timeout=60)


def reply(
    text: str | None, *, ended: str = "stop", tokens: int | None = 3, bare: bool = False
) -> dict[str, Any]:
    said = {"text": text} if bare else {"message": {"role": "assistant", "content": text}}
    usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
    return {"choices": [{**said, "finish_reason": ended, "index": 0}], **usage}
