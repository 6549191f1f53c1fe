"""Pages in a real browser, for the tests of every room that writes some: fixtures to import."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

DEADLINE_SECONDS = 60.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium that Playwright drives: the system's own, nothing is downloaded."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


def until(page: Any, expression: str) -> None:
    """Waits for an expression to hold. Playwright's own wait makes code of a text inside the page,
    which the page's policy forbids."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"{expression} never held; console: {page.said}"
        page.wait_for_timeout(40)


def serious(axe: Any, page: Any) -> list[tuple[str, str, str]]:
    """Serious and critical faults, with the first element of each."""
    faults = axe.run(page).response["violations"]
    return [
        (fault["id"], fault["nodes"][0]["html"][:200], fault["nodes"][0]["failureSummary"][:300])
        for fault in faults
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a tab of its own; the tab's `said` and `asked` are its console and its
    requests."""
    contexts = []

    def open_page(
        address: str,
        *,
        width: int = 1200,
        height: int = 900,
        dark: bool = False,
        drawn: bool = True,
    ) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.until = lambda expression: until(page, expression)
        page.goto(address)
        if drawn:
            page.until("document.documentElement.dataset.drawn")
            page.until(
                "!document.getElementById('filters') || document.documentElement.dataset.read"
            )
        return page

    yield open_page
    for context in contexts:
        context.close()
