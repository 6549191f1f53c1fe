"""The README's two pictures of a run's page: its top, and its reader.

    python benchmarks/pictures.py runs/demo

Writes docs/report.png and docs/reader.png. Needs the extra `dev` and a Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from oneshot_rlvr.report import report

DOCS = Path(__file__).parents[1] / "docs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1100


def main() -> None:
    """One page, two cuts of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    path = next(found for found in map(shutil.which, BROWSERS) if found)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        address = report(args.run, Path(folder) / "page.html").as_uri()
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(address)
        _drawn(page)
        end = page.locator("#figure-accuracy").bounding_box()
        height = end["y"] + end["height"] - 60
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height}
        page.screenshot(path=DOCS / "report.png", clip=clip, full_page=True)
        page.goto(f"{address}#read?beside=1&shade=logprob&right=0")
        page.reload()
        _drawn(page)
        page.locator("#reader").evaluate("e => e.querySelector('.list').style.maxHeight = '8em'")
        box = page.locator("#rollouts").bounding_box()
        top = box["y"] + page.evaluate("scrollY") - 20
        clip = {"x": 0, "y": top, "width": WIDTH, "height": min(900, box["height"] + 30)}
        page.screenshot(path=DOCS / "reader.png", clip=clip, full_page=True)
        browser.close()


def _drawn(page: Any) -> None:
    done = "document.documentElement.dataset.drawn && document.documentElement.dataset.read"
    end = time.monotonic() + 60
    while not page.evaluate(done):
        assert time.monotonic() < end, "the page was not drawn within a minute"
        page.wait_for_timeout(50)


if __name__ == "__main__":
    main()
