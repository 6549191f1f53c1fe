"""The addresses of `watch`: pages, data, and events that tell of changes. Reads only.

A run's page lies at / (or at /runs/NAME/ in a folder, and /all/ for all of its runs together); its
scripts ask beside it for parts.json, charts.json, rollouts.json, answers.json, beside.json and
events. The Host header has to name this machine, so that no other site's name can lead here; what
is sent may be read by no other site, framed by none, and is stored nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from oneshot_rlvr.records.files import to_json
from oneshot_rlvr.report.figures.style import THEMES
from oneshot_rlvr.report.page import (
    LIVE_POLICY,
    library,
    live_index,
    live_page,
    page_script,
    runs_part,
    titled,
)
from oneshot_rlvr.report.reader import search
from oneshot_rlvr.report.watch import index
from oneshot_rlvr.report.watch.places import is_run, runs_in
from oneshot_rlvr.report.watch.watched import State, Watched, version_of

if TYPE_CHECKING:
    from oneshot_rlvr.selection import History

HOSTS = ["127.0.0.1", "localhost"]
POLL_SECONDS = 1.0
_ALIVE_EVERY = 15  # polls after which a silent connection is told that it lives

_HEADERS = [
    (b"content-security-policy", f"{LIVE_POLICY}; frame-ancestors 'none'".encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]


class _Guarded:
    """Adds the headers to every answer."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self.app(scope, receive, guarded)


def make_app(
    root: Path,
    *,
    pool: History | None = None,
    price_per_hour: float | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> Starlette:
    """The application for a run's directory, or for a folder of runs, both resolved."""
    pages = _Pages(root, pool, price_per_hour)

    async def events(request: Request) -> Response:
        return await _events(request, pages, poll_seconds)

    def at(prefix: str) -> list[Route]:
        answers: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "": _in_thread(pages.page),
            "parts.json": _in_thread(pages.parts),
            "charts.json": _in_thread(pages.charts),
            "rollouts.json": _in_thread(pages.rollouts),
            "answers.json": _in_thread(pages.answers),
            "beside.json": _in_thread(pages.beside),
            "charts.js": _in_thread(lambda _: _script(library())),
            "page.js": _in_thread(lambda _: _script(page_script())),
            "events": events,
        }
        return [
            Route(f"{prefix}{name}", answer, methods=["GET"]) for name, answer in answers.items()
        ]

    prefixes = ["/"] if is_run(root) else ["/", "/all/", "/runs/{name:path}/"]
    return Starlette(
        routes=[route for prefix in prefixes for route in at(prefix)],
        middleware=[
            Middleware(_Guarded),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
        ],
    )


class _Pages:
    """What each address answers. Everything here runs in a thread."""

    def __init__(self, root: Path, pool: History | None, price_per_hour: float | None):
        self.root = root
        self._given = pool, price_per_hour
        self._watched: dict[str, Watched] = {}

    def watched(self, request: Request) -> Watched | None:
        """The page that the address means; None for the index of a folder. 404 for no such run."""
        if is_run(self.root):
            return self._page("", lambda: {self.root.name or "run": self.root})
        if request.url.path.startswith("/all/"):
            return self._page("/all/", lambda: runs_in(self.root))
        name = request.path_params.get("name")
        if name is None:
            return None
        found = runs_in(self.root).get(name)  # looked up, never joined to a path
        if found is None:
            raise HTTPException(404, "There is no such run here.")
        return self._page(f"/runs/{name}", lambda: {name: found} if is_run(found) else {})

    def _page(self, key: str, find: Callable[[], dict[str, Path]]) -> Watched:
        if key not in self._watched:
            self._watched[key] = Watched(find, *self._given)
        return self._watched[key]

    def version(self, request: Request) -> str:
        """Of what the page shows."""
        watched = self.watched(request)
        return version_of(runs_in(self.root)) if watched is None else watched.version()

    def page(self, request: Request) -> Response:
        """The page, without charts and rollouts, which its scripts ask for."""
        watched = self.watched(request)
        if watched is None:
            return _html(live_index(self._index()))
        state = _state(watched)
        return _html(live_page(state.runs, state.first_parts))

    def parts(self, request: Request) -> Response:
        """Every part as HTML, with title, version and how far it is."""
        watched = self.watched(request)
        if watched is None:
            found = {"parts": {"index": self._index()}, "title": "Runs", "told": "live"}
            return _json({**found, "version": self.version(request)})
        state = _state(watched)
        return _json(
            {
                "parts": state.parts,
                "title": titled(state.runs),
                "told": watched.told(state),
                "version": state.version,
            }
        )

    def charts(self, request: Request) -> Response:
        """Themes, specifications, and the tables' numbers."""
        watched = self.watched(request)
        if watched is None:
            return _json({"themes": THEMES, "figures": {}, "numbers": [], "name": "runs"})
        return _json(_state(watched).charts)

    def rollouts(self, request: Request) -> Response:
        """A page of rollouts."""
        run, data, pieces = self._one(request)
        query = search.Query.of(request.query_params)
        return _json(search.rollouts(run, query, pieces, data.examples))

    def answers(self, request: Request) -> Response:
        """A page of held-out answers."""
        run, _, _ = self._one(request)
        return _json(search.answers(run, search.Query.of(request.query_params)))

    def beside(self, request: Request) -> Response:
        """Base, early and late of one example or question."""
        run, data, pieces = self._one(request)
        asked = request.query_params
        if asked.get("kind") == "answers":
            name, question = asked.get("evaluation", ""), asked.get("example", "")
            return _json(search.answers_beside(run, name, question))
        return _json(search.rollouts_beside(run, asked.get("example", ""), pieces, data.examples))

    def _one(self, request: Request) -> Any:
        watched = self.watched(request)
        word = request.query_params.get("run", "0")
        place = int(word) if word.isascii() and word.isdigit() and len(word) < 6 else -1
        found = None if watched is None else watched.one(place)
        if found is None:
            raise HTTPException(404, "There is no such run here.")
        return found

    def _index(self) -> str:
        return runs_part(str(self.root), index.listed(runs_in(self.root)))


def _state(watched: Watched) -> State:
    state = watched.state()
    if state is None:
        raise HTTPException(404, "The run is not there any more.")
    return state


def _in_thread(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, request)

    return endpoint


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")


def _html(text: str) -> Response:
    return HTMLResponse(text.encode("utf-8", "replace"))


def _script(text: str) -> Response:
    return Response(text, media_type="text/javascript")


async def _events(request: Request, pages: _Pages, poll_seconds: float) -> Response:
    await run_in_threadpool(pages.version, request)  # 404 before the stream begins

    async def told() -> AsyncIterator[str]:
        last, silent = None, 0
        while True:
            try:
                version = await run_in_threadpool(pages.version, request)
            except (HTTPException, OSError):
                version = last or ""
            silent += 1
            if version != last:
                last, silent = version, 0
                yield f"event: changed\ndata: {version}\n\n"
            elif silent >= _ALIVE_EVERY:
                silent = 0
                yield ": alive\n\n"
            await asyncio.sleep(poll_seconds)

    return StreamingResponse(told(), media_type="text/event-stream")
