"""A study's page in a real browser, from its file: nothing logged, nothing fetched, readable."""

from __future__ import annotations

import copy
import re

import pytest

from browsing import serious
from oneshot_rlvr.study.page import render

pytestmark = pytest.mark.browser

HOSTILE = '</style><script>window.owned = 1</script><img src="http://a.test/x" onerror="owned=2">'


@pytest.fixture(scope="module")
def address(finished):
    return (finished[1].directory / "study.html").as_uri()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 400])
def test_the_file_opens_without_a_word_and_fits(visit, address, width, dark):
    page = visit(address, width=width, dark=dark, drawn=False)
    assert page.said == []
    assert page.asked == [address]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown, hidden = (".dark-chart", ".light-chart") if dark else (".light-chart", ".dark-chart")
    assert page.locator(f"{shown} svg").count() >= 2
    for number in range(page.locator(f"{shown} svg").count()):
        box = page.locator(f"{shown} svg").nth(number).bounding_box()
        assert box["width"] >= 700  # letters of 9 pixels stay letters; the chart's box scrolls
    assert not page.locator(hidden).first.is_visible()


def test_claims_tell_rule_number_and_verdict(visit, address):
    page = visit(address, drawn=False)
    rows = page.locator('[aria-label="Claims"] tbody tr')
    assert rows.count() == 2
    text = rows.first.inner_text()
    assert "training helps" in text
    assert "accuracy of outcome over base (" in text
    assert "+36.8" in text
    assert re.search(r"holds|does not hold|cannot tell", text)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 400])
def test_axe_finds_no_serious_fault(visit, address, width, dark):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    assert serious(axe, visit(address, width=width, dark=dark, drawn=False)) == []


def test_words_of_the_study_are_shown_and_never_obeyed(visit, finished, tmp_path):
    result = copy.deepcopy(dict(finished[1].result))
    result |= {"title": HOSTILE, "note": HOSTILE, "unfinished": [HOSTILE],
               "failures": {HOSTILE: HOSTILE}}  # fmt: skip
    for row in (*result["arms"], *result["differences"], *result["curves"], *result["pass_at_k"],
                *result["budgets"], *result["base_ways"]):  # fmt: skip
        row |= {key: HOSTILE for key in ("note", "way") if key in row}
        if row.get("arm") == "hot":
            row["arm"] = HOSTILE
    for row in result["claims"]:
        row["why"] = HOSTILE
        row["claim"] |= {"name": HOSTILE, "paper": HOSTILE}
    (tmp_path / "page.html").write_text(render(result))
    page = visit((tmp_path / "page.html").as_uri(), drawn=False)
    assert page.evaluate("typeof window.owned") == "undefined"
    assert len(page.asked) == 1
    assert page.said == []
    assert page.locator("script, img").count() == 0
    assert HOSTILE in page.locator("header").inner_text()
