"""`watch` in a real browser: a run that goes on, a server that goes away, a folder of runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oneshot_rlvr.records import RunWriter
from oneshot_rlvr.records.summary import summarise

pytestmark = pytest.mark.browser

HOSTILE = '</script><script>window.owned = 1</script><img src="http://a.test/x" onerror="owned=2">'


def drawn_steps(page, name="entropy"):
    """The steps that a chart holds now."""
    return page.evaluate(
        f"""Object.values(oneshot.views.get('{name}')?.spec.datasets ?? {{}})
        .flat().map(row => row.step).sort((a, b) => a - b)"""
    )


def holds(comparison):
    """Whether the chart of entropy holds a step for which the comparison is true."""
    rows = "Object.values(oneshot.views.get('entropy')?.spec.datasets ?? {}).flat()"
    return f"{rows}.some(row => row.step {comparison})"


def goes_on(synthetic, run, first, last):
    """The run trains on, in the same process order as a real one: rollouts, then metrics."""
    generator = synthetic.np.random.default_rng(1)
    with RunWriter.resume(run, first - 1) as writer:
        for step in range(first, last + 1):
            synthetic._step(writer, step, last, generator, None)


def test_a_live_run_adds_points_without_reload(visit, watching, build, synthetic, tmp_path):
    run = build(tmp_path / "run", steps=5, test=False, finish=False)
    with watching(run) as address:
        page = visit(address)
        page.evaluate("window.same = true")
        page.locator("#filters [name=right]").select_option("1")
        assert max(drawn_steps(page)) == 5
        assert "live: step 5 of 40" in page.locator("#live").inner_text()
        goes_on(synthetic, run, 6, 9)
        page.until(holds("=== 9"))
        assert drawn_steps(page) == list(range(1, 10))
        assert page.evaluate("window.same") is True
        assert page.locator("#filters [name=right]").input_value() == "1"
        # Words and charts are asked for one after the other: for a moment of two versions.
        page.until("document.body.innerText.includes('9 of 40 steps are recorded')")
        page.evaluate("location.hash = '#read?open=9.1.3'")
        page.until("document.querySelector('#reader-open [data-key=\"9.1.3\"]') !== null")
        assert page.said == []
        assert all(asked.startswith(address) for asked in page.asked)


def test_a_killed_and_restarted_server_is_picked_up(visit, build, synthetic, tmp_path):
    run = build(tmp_path / "run", steps=4, test=False, finish=False)

    def start(port):
        words = ["watch", str(run), "--port", str(port)]
        code = f"import sys, oneshot_rlvr.cli as cli; sys.exit(cli.main({words!r}))"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        return process, process.stdout.readline().split(" at ")[1].split()[0]

    process, address = start(0)
    try:
        page = visit(address)
        page.evaluate("window.same = true")
        process.kill()
        process.wait()
        page.until("document.getElementById('live').classList.contains('lost')")
        goes_on(synthetic, run, 5, 6)
        process, again = start(address.rsplit(":", 1)[1].strip("/"))
        assert again == address
        page.until(holds("=== 6"))
        page.until("!document.getElementById('live').classList.contains('lost')")
        assert page.evaluate("window.same") is True
        # The run itself is set back, as a resume does: what is dropped is gone here too.
        RunWriter.resume(run, 3).close()
        page.until(f"oneshot.views.has('entropy') && !{holds('> 3')}")
    finally:
        process.kill()
        process.wait()


def test_a_folder_lists_runs_as_they_begin_and_shows_them_together(
    visit, watching, build, tmp_path
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    folder = tmp_path / "runs"
    folder.mkdir()
    with watching(folder) as address:
        page = visit(address, width=400)
        assert "There is no run here yet" in page.locator("main").inner_text()
        build(folder / "first one", steps=3, questions=2)
        build(folder / "deep" / "second", steps=3, questions=2)
        page.until("document.querySelectorAll('#runs a').length === 2")
        assert page.locator("#runs a").all_inner_texts() == ["deep/second", "first one"]
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.locator("#runs a").first.click()
        page.until(
            "document.documentElement.dataset.drawn && document.documentElement.dataset.read"
        )
        assert "From" in page.locator("h1").inner_text()
        page.goto(f"{address}all/")
        page.until(
            "document.documentElement.dataset.drawn && document.documentElement.dataset.read"
        )
        assert "2 runs" in page.locator(".kicker").inner_text()
        faults = axe.run(page).response["violations"]
        assert [f["id"] for f in faults if f["impact"] in ("serious", "critical")] == []
        assert page.said == []


def test_hostile_text_is_inert_in_the_live_page_too(visit, watching, build, synthetic, tmp_path):
    info = {**synthetic.INFO, "examples": [dict.fromkeys(synthetic.EXAMPLE, HOSTILE)]}
    run = build(tmp_path / "run", steps=6, text=HOSTILE, info=info)
    with watching(run) as address:
        page = visit(f"{address}#read?kind=answers&beside=1")
        page.evaluate("location.hash = '#read?open=6.1.1'")
        page.until("document.querySelector('#reader-open [data-key=\"6.1.1\"]') !== null")
        assert HOSTILE in page.locator("#reader-open").inner_text()
        assert page.evaluate("typeof window.owned") == "undefined"
        assert all(asked.startswith(address) for asked in page.asked)
        assert page.said == []


def test_an_evaluation_that_comes_in_changes_the_first_words(
    visit, watching, build, synthetic, tmp_path
):
    run = build(tmp_path / "run", steps=5, test=False, validation=False, finish=False)
    with watching(run) as address:
        page = visit(address)
        assert "not measured" in page.locator("h1").inner_text()
        with RunWriter.resume(run, 5) as writer:
            generator = synthetic.np.random.default_rng(2)
            for step, progress in ((0, 0.0), (5, 1.0)):
                samples = list(synthetic._samples(progress, generator, None, 6))
                told = summarise(samples, benchmark="tiny", temperature=0.6, seed=7)
                writer.evaluation("test", step, samples, told)
        page.until("document.querySelector('h1').textContent.startsWith('From ')")
        assert "The numbers show a gain" in page.locator(".verdict-sentence").inner_text()
