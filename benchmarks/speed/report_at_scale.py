"""The report's page of a run of 2 million rollouts: as a file, and as `watch` serves it.

    python benchmarks/speed/report_at_scale.py [--folder DIR]

Makes the run once (2,000 parts of 1,024 rollouts, answers of about 230 tokens; a folder that holds
it is reused). The report is written by a process of its own that may use 2 cores, its peak memory
told. `watch` is started, then a headless Chromium opens its page; a paint is that of the browser
(first-contentful-paint, from the beginning of the navigation), each browser and server new. Needs
the extra `dev` and a Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from common import save

sys.path.insert(0, str(Path(__file__).parents[1]))

from selection_and_analysis import CORES, ROLLOUTS, STEPS, make_run, measure

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

REPORT = """
import json, sys, time
from oneshot_rlvr.report import report
began = time.perf_counter()
path = report(sys.argv[1], sys.argv[2])
print(json.dumps({"seconds": time.perf_counter() - began, "bytes": path.stat().st_size}))
"""

WATCH = """
import sys
from oneshot_rlvr.cli import main
sys.exit(main(["watch", sys.argv[1], "--port", "0"]))
"""

PAINT = """(() => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return paint ? paint.startTime / 1000 : null;
})()"""


def main() -> None:
    """Make what is not there, measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/scale"), help="the run's place")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    run = args.folder / "run"
    args.folder.mkdir(parents=True, exist_ok=True)
    if not (run / "made").exists():
        shutil.rmtree(run, ignore_errors=True)  # begun, and interrupted
        make_run(run)
        (run / "made").touch()
    page = args.folder / "report.html"
    written = [measure(REPORT, str(run), str(page)) for _ in range(args.repeats)]
    opened = [watched(run) for _ in range(args.repeats)]
    row: dict[str, Any] = {
        "rollouts": STEPS * ROLLOUTS,
        "report seconds": median(each["process_seconds"] for each in written),
        "report GB": max(each["peak_megabytes"] for each in written) / 1000,
        "page MB": written[0]["bytes"] / 1e6,
    }
    row |= {name: median(each[name] for each in opened) for name in opened[0]}
    settings = {"repeats": args.repeats, "cores": CORES, "written": written, "opened": opened}
    save("report_at_scale", settings, [row])


def watched(run: Path) -> dict[str, float]:
    """Seconds of one server and one browser: until the address, the first paint (browser's own
    clock), all charts drawn, and a filtered page of rollouts."""
    from playwright.sync_api import sync_playwright

    browser_path = next(found for found in map(shutil.which, BROWSERS) if found)
    began = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-c", WATCH, str(run)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(" at ")[1].split()[0]
        told = {"watch address seconds": time.perf_counter() - began}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=browser_path, args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.set_default_timeout(120_000)
            began = time.perf_counter()
            page.goto(address, wait_until="commit")
            told["watch first paint seconds"] = _until(page, PAINT)
            _until(page, "document.documentElement.dataset.read")
            told["first rollouts seconds"] = time.perf_counter() - began
            _until(page, "document.documentElement.dataset.drawn")
            told["all charts seconds"] = time.perf_counter() - began
            before = page.evaluate("document.documentElement.dataset.read")
            began = time.perf_counter()
            page.locator("#filters [name=low]").fill(str(STEPS - 100))
            _until(page, f"document.documentElement.dataset.read !== '{before}'")
            told["filtered rollouts seconds"] = time.perf_counter() - began
            browser.close()
        return told
    finally:
        server.kill()
        server.wait()


def _until(page: Any, expression: str) -> Any:
    while not (value := page.evaluate(expression)):
        time.sleep(0.01)
    return value


if __name__ == "__main__":
    main()
