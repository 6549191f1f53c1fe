"""The page in a real browser: charts drawn, nothing logged, nothing fetched, nothing too wide."""

from __future__ import annotations

import re
import time

import pytest

from oneshot_rlvr.report import report
from oneshot_rlvr.report.figures import FIGURES

pytestmark = pytest.mark.browser

# What holds a figure's values: a curve's line, or a comparison's points.
MARKS = ":is(.mark-line, .mark-symbol) path"
HOSTILE = '</script><script>window.owned = 1</script><img src="http://a.test/x" onerror="owned=2">'


def drawn(name: str, part: str = "") -> str:
    """Of a figure's drawing all that `part` selects, or itself: an array's expression."""
    return f"[...document.querySelectorAll('[data-figure=\"{name}\"] svg {part}')]"


@pytest.fixture(autouse=True)
def needs_browser(chromium):
    if chromium.find() is None:
        pytest.skip(f"no browser: none of {', '.join(chromium.NAMES)} is installed")


@pytest.fixture(scope="module")
def address(finished_run, tmp_path_factory):
    return report(finished_run, tmp_path_factory.mktemp("page") / "page.html").as_uri()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 400])
def test_every_chart_is_drawn_and_nothing_is_logged_or_fetched(chromium, address, width, dark):
    with chromium.Page(address, width=width, dark=dark) as page:
        for name in FIGURES:
            assert page.evaluate(f"{drawn(name, MARKS)}.length") > 0, name
        assert page.console() == []
        assert page.requests() == [address]
        assert page.evaluate("document.documentElement.dataset.drawn") == (
            "dark" if dark else "light"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_charts_follow_the_readers_colour_scheme(chromium, address):
    with chromium.Page(address) as page:
        stroke = f"{drawn('entropy', '.mark-line path')}[0].getAttribute('stroke')"
        light = page.evaluate(stroke)
        scheme = {"name": "prefers-color-scheme", "value": "dark"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.wait_for("document.documentElement.dataset.drawn === 'dark'")
        assert page.evaluate(stroke) != light
        assert page.console() == []


def test_pointing_at_a_chart_tells_its_numbers(chromium, address):
    with chromium.Page(address) as page:
        box = page.evaluate(
            f"(r => [r.x, r.y, r.width, r.height])({drawn('accuracy')}[0].getBoundingClientRect())"
        )
        page.evaluate(f"window.scrollTo(0, {box[1] - 50})")
        nudge, end = 0, time.monotonic() + chromium.DEADLINE_SECONDS
        while not page.evaluate("!!document.querySelector('#vg-tooltip-element.visible')"):
            assert time.monotonic() < end
            nudge = 3 - nudge  # again and again: the first may come before the page has scrolled
            page.call(
                "Input.dispatchMouseEvent", type="mouseMoved",
                x=box[0] + box[2] / 2 + nudge, y=50 + box[3] / 3,
            )  # fmt: skip
            time.sleep(0.1)
        text = page.evaluate("document.querySelector('#vg-tooltip-element').textContent")
        assert re.search(r"rollout step\d+", text)
        assert re.search(r"right answers \(%\)\d+\.\d%", text)
        assert "undefined" not in text


def test_hostile_text_runs_nothing_and_fetches_nothing(chromium, build, synthetic, tmp_path):
    info = {**synthetic.INFO, "examples": [dict.fromkeys(synthetic.EXAMPLE, HOSTILE)]}
    run = build(tmp_path / "run", steps=6, text=HOSTILE, info=info)
    address = report(run).as_uri()
    with chromium.Page(address) as page:
        assert page.evaluate("typeof window.owned") == "undefined"
        assert page.requests() == [address]
        assert page.console() == []


def test_the_policy_stops_a_script_that_got_in_anyway(chromium, finished_run, tmp_path):
    path = report(finished_run, tmp_path / "page.html")
    path.write_text(path.read_text("utf-8").replace("<main>", f"<main>{HOSTILE}"), "utf-8")
    with chromium.Page(path.as_uri()) as page:
        assert page.evaluate("typeof window.owned") == "undefined"
        assert page.requests() in ([path.as_uri()], [path.as_uri(), "http://a.test/x"])
        end = time.monotonic() + chromium.DEADLINE_SECONDS
        while "Content Security Policy" not in " ".join(page.console()):
            assert time.monotonic() < end
            page.evaluate("1")  # reads what has come meanwhile
            time.sleep(0.1)
