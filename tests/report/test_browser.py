"""The file in a real browser: charts, reader, keys and links; nothing logged, nothing fetched."""

from __future__ import annotations

import csv
import re

import pytest

from browsing import serious
from oneshot_rlvr.records import Run
from oneshot_rlvr.report import report
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures import FIGURES
from oneshot_rlvr.report.numbers import every_number
from oneshot_rlvr.report.saving import save_one

pytestmark = pytest.mark.browser

# What holds a figure's values: a curve's line, a comparison's points, a matrix's cells.
MARKS = ":is(.mark-line, .mark-symbol, .mark-rect) path"
HOSTILE = '</script><script>window.owned = 1</script><img src="http://a.test/x" onerror="owned=2">'
NEEDS_MORE = {"pool"}  # drawn where a pool's history is given
CUT = """[...document.querySelectorAll('.chart svg')].flatMap(svg => {
    const whole = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('.role-legend-label text')].filter(label => {
        const box = label.getBoundingClientRect();
        return box.top < whole.top - 1 || box.right > whole.right + 1;
    }).map(label => `${svg.closest('.chart').dataset.figure}: ${label.textContent}`);
})"""
"""Names in legends that stand outside their picture."""
STEPS = ".chart[data-steps]"


@pytest.fixture(scope="module")
def address(finished_run, tmp_path_factory):
    return report(finished_run, tmp_path_factory.mktemp("page") / "page.html").as_uri()


@pytest.fixture(scope="module")
def rollouts(finished_run):
    return Run(finished_run).rollouts()


@pytest.fixture(scope="module")
def several(build, synthetic, tmp_path_factory):
    """Two seeds of the outcome reward, one run of a control."""
    folder = tmp_path_factory.mktemp("several")
    made = []
    for name, arm, seed in (("a", "outcome", 0), ("b", "outcome", 1), ("c", "random", 0)):
        train = {**synthetic.RECIPE["train"], "seed": seed}
        recipe = {**synthetic.RECIPE, "reward": {"arm": arm}, "train": train}
        info = {**synthetic.INFO, "recipe": recipe}
        made.append(build(folder / name, steps=20, questions=3, info=info, seed=seed))
    return report(made, folder / "page.html").as_uri()


def marks(page, name):
    return page.locator(f'[data-figure="{name}"] svg {MARKS}')


def found(page):
    return page.locator("#reader-found").inner_text()


def count(page):
    return int(re.match(r"[\d,]+", found(page))[0].replace(",", ""))


def keys(page):
    return page.eval_on_selector_all("#reader-rows button", "all => all.map(b => b.dataset.key)")


def searched(page, act):
    """Does something that searches, and waits for its end."""
    before = page.evaluate("document.documentElement.dataset.read")
    act()
    page.until(f"document.documentElement.dataset.read !== '{before}'")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 400])
def test_every_chart_is_drawn_and_nothing_is_logged_or_fetched(visit, address, width, dark):
    page = visit(address, width=width, dark=dark)
    for name in set(FIGURES) - NEEDS_MORE:
        assert marks(page, name).count() > 0, name
    assert page.said == []
    assert page.asked == [address]
    drawn = page.evaluate("document.documentElement.dataset.drawn")
    assert drawn == ("dark" if dark else "light")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("nav a").count() >= 7
    # The bars of the headline are as wide as the card, not dots.
    assert page.locator(".track").first.bounding_box()["width"] > 0.7 * width - 120
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('.panels')).gridTemplateColumns"
    )
    assert len(columns.split()) == (1 if width == 400 else 3)


def test_the_charts_follow_the_readers_colour_scheme(visit, address):
    page = visit(address)
    line = page.locator('[data-figure="entropy"] .mark-line path').first
    light = line.get_attribute("stroke")
    page.emulate_media(color_scheme="dark")
    page.until("document.documentElement.dataset.drawn === 'dark'")
    assert (
        page.locator('[data-figure="entropy"] .mark-line path').first.get_attribute("stroke")
        != light
    )
    assert page.said == []


def test_pointing_at_a_chart_tells_its_numbers(visit, address):
    page = visit(address)
    chart = page.locator('[data-figure="accuracy"]')
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    tip = page.locator("#vg-tooltip-element.visible")
    for nudge in range(200):
        page.mouse.move(box["x"] + box["width"] / 2 + nudge % 7, box["y"] + box["height"] / 3)
        if tip.count():
            break
        page.wait_for_timeout(50)
    text = tip.inner_text()
    assert re.search(r"rollout step\s*\d+", text)
    assert re.search(r"right answers \(%\)\s*\d+\.\d%", text)
    assert "undefined" not in text


def test_a_brush_over_one_chart_is_what_all_of_them_show_and_can_be_taken_back(visit, address):
    page = visit(address)
    shown = f"""[...document.querySelectorAll('{STEPS}')].map(
        e => oneshot.views.get(e.dataset.figure).view.scale('x').domain().map(Math.round))"""
    whole = page.evaluate(shown)
    assert len(whole) > 8
    chart = page.locator('[data-figure="entropy"] svg')
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], middle, steps=4)
    page.mouse.up()
    page.until("document.getElementById('brush-told').textContent !== ''")
    low, high = (int(n) for n in re.findall(r"\d+", page.locator("#brush-told").inner_text()))
    assert 0 < low < high < 40
    assert page.evaluate(shown) == [[low, high]] * len(whole)
    page.locator("#brush-read").click()  # and their rollouts are one click away
    page.until(f"document.querySelector('#filters [name=low]').value === '{low}'")
    page.locator("#brush button[type=reset]").click()
    page.until("document.getElementById('brush-told').textContent === ''")
    assert page.evaluate(shown) == whole
    page.locator("#brush [name=low]").fill("10")  # the same by keyboard
    page.locator("#brush [name=high]").fill("20")
    page.locator("#brush [name=high]").press("Enter")
    page.until("document.getElementById('brush-told').textContent !== ''")
    assert page.evaluate(shown) == [[10, 20]] * len(whole)
    for low, high in ((10, 20), (10, 12), (10, 11)):  # whole steps, however near
        page.locator("#brush [name=low]").fill(str(low))
        page.locator("#brush [name=high]").fill(str(high))
        page.locator("#brush [name=high]").press("Enter")
        page.until(f"document.getElementById('brush-told').textContent.includes('{high}')")
        axis = page.locator(
            '[data-figure="entropy"] svg [aria-label*="rollout step"] .role-axis-label text'
        ).all_text_contents()
        found = sorted(map(int, axis))  # drawn again, they stand in any order
        assert found == sorted(set(found))
        assert (found[0], found[-1]) == (low, high)
    assert page.said == []


def test_the_reader_holds_all_that_fits_and_its_filters_find_what_the_records_hold(
    visit, address, rollouts
):
    page = visit(address)
    assert page.locator("#reader-told").inner_text() == "All 320 rollouts of the run."
    assert count(page) == len(rollouts) == 320
    filters = page.locator("#filters")
    right = rollouts["correct"]
    searched(page, lambda: filters.locator("[name=right]").select_option("0"))
    assert count(page) == int((~right).sum())
    searched(page, lambda: filters.locator("[name=reason]").select_option("no_answer"))
    assert count(page) == int((rollouts["reason"] == "no_answer").sum())
    searched(page, lambda: filters.locator("button[type=reset]").click())
    searched(page, lambda: filters.locator("[name=low]").fill("31"))
    assert count(page) == 80
    searched(page, lambda: filters.locator("[name=text]").fill("ANSWER IS"))
    says = rollouts["text"].str.lower().str.contains("answer is") & (rollouts["step"] >= 31)
    assert count(page) == int(says.sum())
    searched(page, lambda: filters.locator("button[type=reset]").click())
    lengths = rollouts["tokens"].map(len)
    few = int(lengths.median())
    searched(page, lambda: filters.locator("[name=tokens_high]").fill(str(few)))
    assert count(page) == int((lengths <= few).sum())
    searched(page, lambda: filters.locator("[name=example]").fill("nobody"))
    assert found(page) == "None is like that."
    searched(page, lambda: filters.locator("button[type=reset]").click())
    searched(page, lambda: filters.locator("[name=late]").select_option("1"))
    assert keys(page)[0] == "40.0.0"
    page.locator("#reader-more").click()
    page.until("document.querySelectorAll('#reader-rows button').length === 100")
    assert len(set(keys(page))) == 100
    assert page.said == []


def test_a_deep_link_opens_its_rollout_and_what_is_open_is_linked(visit, address, rollouts):
    page = visit(f"{address}#read?right=1&late=1&open=40.1.2")
    row = rollouts.query("step == 40 and row == 1 and index == 2").iloc[0]
    assert page.locator("#reader-open .text").last.inner_text() == row["text"]
    assert page.locator("#filters [name=right]").input_value() == "1"
    page.keyboard.press("j")
    page.until("!location.hash.includes('40.1.2')")
    opened = page.locator('#reader-rows [aria-current="true"]').get_attribute("data-key")
    assert page.evaluate("location.hash") == f"#read?right=1&late=1&open={opened}"
    gone = visit(f"{address}#read?open=99.0.0")
    assert "What the link names (99.0.0) is not here." in found(gone)


def test_keys_move_search_shade_and_put_side_by_side(visit, address, rollouts):
    page = visit(f"{address}#read?open=1.0.0")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    current = page.locator('#reader-rows [aria-current="true"]')
    assert current.get_attribute("data-key") == "1.0.1"
    text = page.locator("#reader-open .card > .text")
    assert text.locator("span[title]").count() == 0
    page.keyboard.press("t")
    row = rollouts.query("step == 1 and row == 0 and index == 1").iloc[0]
    shaded = text.locator("span[title]")
    assert shaded.count() >= len(row["tokens"])
    assert "".join(shaded.all_inner_texts()) == row["text"]
    assert shaded.nth(1).get_attribute("title") == "-0.10 nats"
    page.keyboard.press("t")
    told = text.locator("span[title]").first.get_attribute("title")
    assert told == f"advantage {row['advantage']:+.2f}".replace("-", "\N{MINUS SIGN}")
    page.keyboard.press("t")
    page.keyboard.press("b")
    page.until("document.querySelectorAll('#reader-open .column').length === 3")
    heads = page.locator("#reader-open .column > .label").all_inner_texts()
    assert heads == ["step 1, sampled before any update", "step 5", "step 40"]
    page.locator("#reader-open .column button").first.click()
    page.keyboard.press("b")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "text"
    page.keyboard.type("jk")  # letters in a field are letters
    assert page.locator("#filters [name=text]").input_value() == "jk"
    assert page.said == []


def test_the_answer_that_was_read_is_marked(visit, address, rollouts):
    row = rollouts[rollouts["correct"]].iloc[0]
    key = f"{row['step']}.{row['row']}.{row['index']}"
    page = visit(f"{address}#read?open={key}")
    marked = page.locator("#reader-open .extracted")
    assert marked.all_inner_texts() == ["208"]
    before = marked.first.evaluate("e => e.previousSibling.textContent")
    assert before.endswith("\\boxed{")


def test_held_out_answers_stand_with_their_prompt_and_side_by_side(visit, address):
    page = visit(f"{address}#read?kind=answers&example=multiply-3&beside=1")
    page.until("document.querySelectorAll('#reader-open .column').length === 2")
    heads = page.locator("#reader-open .column > .label").all_inner_texts()
    assert heads == ["the model before training", "step 40"], "the test is asked twice"
    asked = page.locator("#reader-open details .text").first
    assert asked.inner_text() == "<user>question 3<answer>"
    assert "held-out answers" in page.locator("#reader-told").inner_text()
    assert page.said == []


def test_every_number_as_csv_equals_the_records(visit, address, finished_run, tmp_path):
    """All rows, none more and none less, are those that test_numbers.py holds against the files."""
    page = visit(address)
    page.locator('#figure-entropy [data-save="csv"]').scroll_into_view_if_needed()
    with page.expect_download() as saved:
        page.locator("#save-numbers").click()
    saved.value.save_as(tmp_path / "numbers.csv")
    rows = list(csv.DictReader((tmp_path / "numbers.csv").read_text("utf-8").splitlines()))
    of = {(r["where"], r["of"], r["step"], r["what"]): float(r["value"]) for r in rows}
    wanted = {
        (r["where"], r["of"], "" if r["step"] is None else str(r["step"]), r["what"]): r["value"]
        for r in every_number(Runs.of(RunData.load(Run(finished_run))))
    }
    assert len(rows) == len(of) == len(wanted) > 500
    assert of == wanted
    assert of["cost", "finished", "", "rollouts"] == 320


@pytest.mark.parametrize("name", sorted(set(FIGURES) - NEEDS_MORE))
def test_each_figure_s_csv_saved_from_the_page_is_the_one_that_python_saves(
    visit, address, finished_run, name, tmp_path
):
    page = visit(address)
    button = page.locator(f'#figure-{name} [data-save="csv"]')
    button.scroll_into_view_if_needed()
    page.until(f"oneshot.views.has('{name}')")
    with page.expect_download() as saved:
        button.click()
    saved.value.save_as(tmp_path / "page.csv")
    runs = Runs.of(RunData.load(Run(finished_run)))
    ours = save_one(runs, name, tmp_path / "python.csv")
    read = [
        [
            {k: float(v) if re.fullmatch(r"-?[\d.]+(e-?\d+)?", v) else v for k, v in row.items()}
            for row in csv.DictReader(path.read_text("utf-8").splitlines())
        ]
        for path in (tmp_path / "page.csv", ours)
    ]
    order = lambda row: repr(sorted(row.items()))  # noqa: E731
    assert sorted(read[0], key=order) == sorted(read[1], key=order)
    assert len(read[0]) > 1


@pytest.mark.parametrize(
    ("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("csv", b"step,")]
)
def test_a_figure_is_saved_from_the_page(visit, address, tmp_path, kind, begins):
    page = visit(address)
    button = page.locator(f'#figure-entropy [data-save="{kind}"]')
    button.scroll_into_view_if_needed()
    with page.expect_download() as saved:
        button.click()
    saved.value.save_as(tmp_path / "saved")
    data = (tmp_path / "saved").read_bytes()
    assert data.startswith(begins)
    assert len(data) > 1000
    assert page.said == []


def test_hostile_text_runs_nothing_and_fetches_nothing(visit, build, synthetic, tmp_path):
    info = {**synthetic.INFO, "examples": [dict.fromkeys(synthetic.EXAMPLE, HOSTILE)]}
    run = build(tmp_path / "run", steps=6, text=HOSTILE, info=info)
    address = report(run).as_uri()
    page = visit(address)
    for link in ("#read?open=6.1.1&shade=logprob", "#read?kind=answers", "#read?beside=1"):
        page.evaluate(f"location.hash = '{link}'")
        page.wait_for_timeout(300)
    assert HOSTILE in page.locator("#reader-open").inner_text()
    assert page.evaluate("typeof window.owned") == "undefined"
    assert page.asked == [address]
    assert page.said == []


def test_the_policy_stops_a_script_that_got_in_anyway(visit, finished_run, tmp_path):
    path = report(finished_run, tmp_path / "page.html")
    whole = path.read_text("utf-8")
    path.write_text(whole.replace('<main id="content">', f'<main id="content">{HOSTILE}'), "utf-8")
    page = visit(path.as_uri(), drawn=False)
    page.until("document.readyState === 'complete'")
    assert page.evaluate("typeof window.owned") == "undefined"
    assert "Content Security Policy" in " ".join(page.said)


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_serious_fault(visit, address, dark):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(f"{address}#read?shade=logprob", dark=dark)
    page.locator("#numbers summary").click()
    assert serious(axe, page) == []


@pytest.mark.parametrize("width", [1200, 400])
def test_several_runs_stand_beside_each_other(visit, several, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(several, width=width)
    assert page.said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".arm-name").all_inner_texts() == [
        "outcome reward 2 seeds",
        "random reward 1 seed",
    ]
    thin = page.locator('[data-figure="entropy"] .mark-line path[stroke-width="0.9"]')
    assert thin.count() == 2
    assert page.evaluate(CUT) == []
    dashes = page.locator('[data-figure="accuracy"] .role-legend-symbol path[stroke-dasharray]')
    assert dashes.count() == 2
    assert all(dashes.nth(n).get_attribute("stroke") for n in range(2))
    # Every column of a table can be read without a finger on it.
    for table in page.locator(".scroll:visible").all():
        assert table.evaluate("e => e.scrollWidth - e.clientWidth") <= 1
    page.locator("#filters [name=run]").select_option("2")
    assert serious(axe, page) == []


@pytest.mark.parametrize(
    "what",
    [
        {"steps": 0, "validation": False, "test": False, "finish": False, "info": {}},
        {"steps": 1, "questions": 1},
        {"steps": 7, "test": False, "finish": False},
    ],
)
def test_a_page_of_little_logs_nothing_either(visit, build, tmp_path, what):
    page = visit(report(build(tmp_path / "run", **what)).as_uri(), width=400)
    assert page.said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
