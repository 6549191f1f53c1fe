"""One HTTP exchange with a server of answers: JSON there, a JSON object back, or why not.

A connection is made soon or not at all; its answer may take as long as the caller allows, in drips
too. A redirect is followed within the same origin only: neither key nor questions go where nobody
sent them. Not here: what is asked, and whether to ask again (endpoint.py). The standard library's
HTTP only.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oneshot_rlvr.evaluation.endpoint import Endpoint

FATAL = (401, 403, 404, 405)
PASSING = (408, 409, 425, 429)  # and every 5xx
CONNECT_SECONDS = 20.0  # a host that is there takes a connection at once, however busy it is
MOST_BYTES = 32 << 20  # of a reply: no answer is longer
SHOWN = 200  # characters of a server's own words in our errors
SHORTEST_KEY = 8  # that is a secret: servers without keys are given "EMPTY" or the like


class Failed(Exception):
    """One attempt that gave no answer; `passing` when another may."""

    def __init__(self, reason: str, said: str, *, passing: bool, pause: float | None = None):
        super().__init__(said)
        self.reason, self.said, self.passing, self.pause = reason, said, passing, pause


def send(endpoint: Endpoint, path: str, body: bytes | None, timeout: float) -> dict[str, Any]:
    """One HTTP exchange; the reply's JSON object. Failed for anything else."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    request = urllib.request.Request(f"{endpoint.url}/{path}", data=body, headers=headers)
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            raw = _whole(response, timeout)
    except urllib.error.HTTPError as error:
        raise _status(error, endpoint) from error
    except TimeoutError as error:
        raise Failed("timeout", f"no answer in {timeout:g} s", passing=True) from error
    except http.client.IncompleteRead as error:
        raise Failed("cut_off", "the reply ended early", passing=True) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise Failed("timeout", f"no answer in {timeout:g} s", passing=True) from error
        raise Failed("unreachable", str(error.reason), passing=True) from error
    except (http.client.HTTPException, OSError) as error:
        raise Failed(
            "broken_connection", f"{type(error).__name__}: {error}", passing=True
        ) from error
    try:
        reply = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Failed("garbage", f"no JSON: {shown(raw, endpoint)!r}", passing=True) from error
    if not isinstance(reply, dict):
        raise Failed("garbage", f"no JSON object: {shown(raw, endpoint)!r}", passing=True)
    return reply


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urllib.parse.urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port


@contextlib.contextmanager
def _soon(connection: http.client.HTTPConnection) -> Iterator[None]:
    """A connection is made soon, however long its answer may then take."""
    whole = connection.timeout or CONNECT_SECONDS
    connection.timeout = soon = min(CONNECT_SECONDS, whole)
    try:
        yield
    except TimeoutError as error:
        raise OSError(f"no connection within {soon:g} s") from error
    finally:
        connection.timeout = whole
    connection.sock.settimeout(whole)


class _Http(http.client.HTTPConnection):
    def connect(self) -> None:
        with _soon(self):
            super().connect()


class _Https(http.client.HTTPSConnection):
    def connect(self) -> None:
        with _soon(self):
            super().connect()


class _HttpSoon(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_Http, req)


class _HttpsSoon(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        return self.do_open(_Https, req)


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Follows within an origin, with the body that was sent; never to another one."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request:
        try:
            same = _origin(newurl) == _origin(req.full_url)
        except ValueError:  # a port that is no number
            same = False
        if not same:
            raise Failed(
                f"fatal_{code}",
                f"it redirects to another origin ({newurl[:SHOWN]!r}), where neither the key nor "
                "the questions are sent; name that one with --endpoint if it is right",
                passing=False,
            )
        return urllib.request.Request(newurl, data=req.data, headers=dict(req.headers))

    # The standard library sends a POST on after 301 to 303 only, as a GET, and 308 from 3.11 on.
    http_error_307 = http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


_OPENER = urllib.request.build_opener(_SameOrigin, _HttpSoon, _HttpsSoon)


def _whole(response: Any, timeout: float) -> bytes:
    """The reply's bytes. A server that drips is timed out all the same."""
    ends, parts, size = time.monotonic() + timeout, [], 0
    while True:
        part = response.read1(1 << 16)
        if not part:
            break
        size += len(part)
        parts.append(part)
        if size > MOST_BYTES:
            raise Failed("garbage", f"more than {MOST_BYTES >> 20} MiB", passing=False)
        if time.monotonic() > ends:
            raise TimeoutError
    if response.length:  # what Content-Length promised and did not come
        raise http.client.IncompleteRead(b"".join(parts), response.length)
    return b"".join(parts)


def shown(said: str | bytes, endpoint: Endpoint) -> str:
    """The beginning of a server's own words in one line, without the key, which some repeat."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    if len(endpoint.api_key) >= SHORTEST_KEY:
        text = text.replace(endpoint.api_key, "[key]")
    return " ".join(text.split())[:SHOWN]


def _status(error: urllib.error.HTTPError, endpoint: Endpoint) -> Failed:
    """What an HTTP status means for going on."""
    body = b""
    with contextlib.suppress(OSError, http.client.HTTPException):
        body = error.read(4096)
    words = shown(body, endpoint) or shown(str(error.reason), endpoint)
    said = f"HTTP {error.code}: {words}"
    if error.code in FATAL:
        return Failed(f"fatal_{error.code}", said, passing=False)
    passing = error.code in PASSING or error.code >= 500
    return Failed(f"http_{error.code}", said, passing=passing, pause=_retry_after(error))


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    value = error.headers.get("Retry-After") if error.headers else None
    if not value:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
