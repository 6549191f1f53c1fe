"""The page: whole, self-contained, escaped, and sensible when pieces are missing."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import random
import re
from html.parser import HTMLParser

import pytest

from oneshot_rlvr.errors import ConfigError, RecordsError, RunError, UnknownNameError
from oneshot_rlvr.records import Run
from oneshot_rlvr.report import report, save_figure, save_figures
from oneshot_rlvr.report.figures import FIGURES
from oneshot_rlvr.report.page import LIMIT_BYTES
from oneshot_rlvr.report.reader.choice import packed

HOSTILE = (
    '</script><script>alert("owned")</script><img src=x onerror=alert(1)>'
    "<!--{{ 7*7 }}{% raw %}\u2028]]>&lt;'\"` $\\boxed{</style>}"
)


class Parsed(HTMLParser):
    """Elements with attributes, and the text of scripts and of everything else."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements, self.scripts, self.words, self._open = [], [], [], []
        self.feed(html)
        self.close()
        assert self._open == [], "an element is left open"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def data(self, number):
        """What one of the packed data scripts holds: the charts (0), the rollouts (1)."""
        return json.loads(gzip.decompress(base64.b64decode(self.scripts[number])))


@pytest.fixture(scope="module")
def html(finished_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "page.html"
    assert report(finished_run, out) == out
    return out.read_text("utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Parsed(html)


def test_the_report_stands_in_the_run_directory_unless_told(build, tmp_path):
    run = build(tmp_path / "run", steps=2)
    assert report(run) == run / "report.html"
    assert report(str(run), tmp_path / "deep" / "other.html").is_file()
    assert report(run).is_file(), "made again, it replaces itself"


def test_a_directory_without_a_run_is_a_run_error(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        report(tmp_path)


def test_everything_a_reader_wants_is_on_the_page(page):
    for needle in (
        "on held\N{NON-BREAKING HYPHEN}out questions, trained on one example",
        "95% interval",
        "Difference, paired by question",
        "What is 52 * 4?",
        "208",
        "Rollouts to read",
        "The numbers show a gain of",
        "how another seed would have gone (there is one run of it)",
        "there is no control arm",
        "What differs from the packaged recipe tiny_one_shot",
        "oneshot train",
        "prompts_per_step = 2",
        "2.13.0",
        "0123abc",
        "16,000",
        "What to keep in mind",
    ):
        assert needle in page.text
    assert "not finished" not in page.text


def test_every_figure_has_its_place_and_its_data(page):
    places = [attrs["data-figure"] for _, attrs in page.elements if "data-figure" in attrs]
    data = page.data(0)
    assert len(places) == len(set(places))
    assert set(places) == set(data["figures"])
    assert set(places) == set(FIGURES) - {"pool"}, "a pool is shown where its history is given"
    assert set(data["themes"]) == {"light", "dark"}


def test_nothing_is_loaded_from_anywhere(html, page):
    assert not {tag for tag, _ in page.elements} & {"link", "img", "iframe", "object", "base"}
    for _, attrs in page.elements:
        assert not {"src", "srcset", "action", "data", "poster"} & set(attrs)
        assert attrs.get("href", "#").startswith("#")
    css = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "url(" not in css
    assert "@import" not in css


def test_the_policy_allows_the_two_scripts_and_nothing_else(page):
    policy = next(
        attrs["content"]
        for _, attrs in page.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    script_sources = re.search(r"script-src ([^;]*);", policy)[1].split()
    assert "unsafe" not in " ".join(script_sources)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts]
    assert script_sources == [f"'sha256-{digest}'" for digest in digests[2:]]


def test_the_page_is_one_bundle_and_stays_small(html, page):
    assert len(page.scripts) == 4
    assert len(html.encode()) < 1_200_000
    (read,) = page.data(1)
    assert read["told"] == "All 320 rollouts of the run."
    assert len(read["rollouts"]) == 320


def test_a_long_run_stays_below_the_limit_and_says_what_stands_there(
    build, synthetic, tmp_path, monkeypatch
):
    assert LIMIT_BYTES == 5_000_000
    limit = 1_250_000
    monkeypatch.setattr("oneshot_rlvr.report.page.LIMIT_BYTES", limit)
    generator = random.Random(0)
    plain = synthetic._graded

    def long_winded(row, index, correct, step, text):
        said = "".join(generator.choice("abcdefghij 0123456789") for _ in range(1_500))
        return plain(row, index, correct, step, said)

    monkeypatch.setattr(synthetic, "_graded", long_winded)
    path = report(build(tmp_path / "run", steps=40, questions=2))
    assert 0.8 * limit < path.stat().st_size < limit
    (read,) = Parsed(path.read_text("utf-8")).data(1)
    assert 20 < len(read["rollouts"]) < 320
    assert read["told"].startswith(f"{len(read['rollouts'])} of ")


def test_hostile_text_stays_text(build, synthetic, tmp_path):
    example = dict.fromkeys(synthetic.EXAMPLE, HOSTILE)
    recipe = {**synthetic.RECIPE, "name": HOSTILE, "note": HOSTILE, "model": {"path": HOSTILE}}
    info = {**synthetic.INFO, "recipe": recipe, "examples": [example], HOSTILE: HOSTILE}
    run = build(tmp_path / "run", steps=12, text=HOSTILE, info=info)
    page = Parsed(report(run).read_text("utf-8"))
    assert len(page.scripts) == 4
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert page.text.count('<script>alert("owned")</script>') > 8
    assert page.data(1)[0]["rollouts"][0]["t"].startswith(HOSTILE)


def test_embedded_data_reads_back_and_cannot_end_its_element():
    value = {"a": [HOSTILE, 1.5, None], "nan": float("nan")}
    text = packed(value)
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", text)
    assert text == packed(value), "no clock in it"
    whole = json.loads(gzip.decompress(base64.b64decode(text)))
    assert whole == {"a": [HOSTILE, 1.5, None], "nan": None}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"test": False, "finish": False}, ["not finished: 3 of 40 steps", "not measured"]),
        ({"validation": False, "test": False}, ["No validation is recorded", "Nothing held out"]),
        ({"validation": False}, ["No validation is recorded", "95% interval"]),
        (
            {"steps": 0, "validation": False, "test": False, "finish": False, "info": {}},
            [
                "Not a step trained yet",
                "did not record its examples",
                "No rollouts are recorded",
                "These records do not say whether it helped",
            ],
        ),
    ],
)
def test_missing_pieces_are_said_to_be_missing(build, tmp_path, missing, said):
    run = build(tmp_path / "run", **{"steps": 3, "questions": 2, **missing})
    page = Parsed(report(run).read_text("utf-8"))
    for sentence in said:
        assert sentence in page.text


def test_a_run_that_never_reached_a_finite_loss_still_has_a_page(build, tmp_path):
    run = build(tmp_path / "run", steps=2, test=False, finish=False)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "train/accuracy": null, "train/entropy_nats": null}\n{"step": 4,')
    page = Parsed(report(run).read_text("utf-8"))
    values = page.data(0)["figures"]["entropy"]["datasets"]
    assert {row["step"] for rows in values.values() for row in rows} == {1, 2}


def test_several_examples_are_listed_and_counted(build, synthetic, tmp_path):
    examples = [{**synthetic.EXAMPLE, "question": f"question {i}?"} for i in range(5)]
    info = {**synthetic.INFO, "examples": examples}
    text = Parsed(report(build(tmp_path / "run", steps=2, info=info)).read_text("utf-8")).text
    assert "trained on 5 examples" in text
    assert "question 2?" in text
    assert "question 3?" not in text
    assert "and 2 more" in text


def test_one_question_has_no_interval_and_no_crash(build, synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "FAMILIES", {"multiply": ("arithmetic", "math", 0.5, 0.9)})
    text = Parsed(report(build(tmp_path / "run", steps=2, questions=1)).read_text("utf-8")).text
    assert "One question alone gives no interval" in text
    assert "nan" not in text


def test_a_figure_is_saved_alone(finished_run, tmp_path):
    png = save_figure(finished_run, "accuracy", tmp_path / "accuracy.png", width=400)
    assert png.read_bytes().startswith(b"\x89PNG")
    svg = save_figure(finished_run, "families", tmp_path / "families.svg", theme="dark")
    assert "right answers (%)" in svg.read_text()
    told = list(
        csv.DictReader(
            io.StringIO(save_figure(finished_run, "entropy", tmp_path / "entropy.csv").read_text())
        )
    )
    lines = [json.loads(line) for line in (finished_run / "metrics.jsonl").read_text().splitlines()]
    assert [float(row["value"]) for row in told] == [line["train/entropy_nats"] for line in lines]


def test_every_figure_is_saved_in_three_formats_with_every_number(finished_run, tmp_path):
    files = save_figures(finished_run, tmp_path)
    assert {path.suffix for path in files} == {".png", ".svg", ".csv"}
    assert len(files) == 3 * (len(FIGURES) - 1) + 1
    assert (tmp_path / "numbers.csv").read_text().startswith("where,of,step,what,value\n")


def test_a_figure_that_cannot_be_saved_says_why(finished_run, build, tmp_path):
    with pytest.raises(ConfigError, match=r"\.png, \.svg or \.csv"):
        save_figure(finished_run, "accuracy", tmp_path / "accuracy.pdf")
    with pytest.raises(UnknownNameError, match="accuracy"):
        save_figure(finished_run, "acuracy", tmp_path / "a.png")
    empty = build(tmp_path / "run", steps=0, validation=False, test=False)
    with pytest.raises(RecordsError, match="no records"):
        save_figure(empty, "accuracy", tmp_path / "a.png")


def test_the_report_reads_without_changing_the_run(finished_run, tmp_path):
    before = {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()}
    report(finished_run, tmp_path / "page.html")
    assert {p: p.read_bytes() for p in finished_run.rglob("*") if p.is_file()} == before
    assert Run(finished_run).status == "finished"


def test_the_same_run_gives_the_same_page(finished_run, html, tmp_path):
    assert report(finished_run, tmp_path / "page.html").read_text("utf-8") == html


def test_a_damaged_document_leaves_the_rest_of_the_run_to_read(build, tmp_path):
    run = build(tmp_path / "run", steps=5, questions=2)
    path = run / "run.json"
    path.write_text(path.read_text().replace('"grpo"', '"gspo"'))
    page = Parsed(report(run).read_text("utf-8"))
    assert "run.json is not as it was written" in page.text
    assert "did not record its recipe" in page.text
    assert len(page.data(1)[0]["rollouts"]) == 40
    path.write_text("{")
    assert "run.json is not as it was written" in Parsed(report(run).read_text("utf-8")).text


def test_damaged_rollouts_are_left_out_and_named(build, tmp_path):
    run = build(tmp_path / "run", steps=5, questions=2)
    (run / "rollouts" / "step-000003.parquet").write_bytes(b"PAR1")
    page = Parsed(report(run).read_text("utf-8"))
    assert "step-000003.parquet" in page.text
    assert {row["s"] for row in page.data(1)[0]["rollouts"]} == {1, 2, 4, 5}


def test_several_runs_need_a_file_and_none_may_be_named_twice(build, tmp_path):
    runs = [build(tmp_path / name, steps=2, questions=2) for name in ("a", "b")]
    with pytest.raises(ConfigError, match="--out FILE"):
        report(runs)
    with pytest.raises(ConfigError, match="twice"):
        report([runs[0], runs[0]], tmp_path / "page.html")
    with pytest.raises(ConfigError, match="no run is given"):
        report([], tmp_path / "page.html")
    page = Parsed(report(runs, tmp_path / "page.html").read_text("utf-8"))
    assert [part["name"] for part in page.data(1)] == ["a", "b"]
    assert "2 seeds" in page.text


def test_a_price_and_a_pool_are_shown_where_they_are_given(build, tmp_path):
    from oneshot_rlvr.verbs.report import report as verb

    run = build(tmp_path / "run", steps=40, questions=2)
    pool = tmp_path / "pool.csv"
    rows = [f"{name},{visit},{accuracy}" for name, shares in
            (("multiply-52-4", (0, 1)), ("b", (0.5, 0.5)), ("c", (1, 0.5)))
            for visit, accuracy in enumerate(shares)]  # fmt: skip
    pool.write_text("example,visit,accuracy\n" + "\n".join(rows) + "\n")
    page = Parsed(verb(run, pool=pool, price_per_hour=3.0).read_text("utf-8"))
    assert "0.05 at 3.00 an hour" in page.text  # 40 steps of 1.5 s
    assert "multiply-52-4 is rank 1 of 3." in page.text
    with pytest.raises(ConfigError, match="price_per_hour"):
        verb(run, price_per_hour=-1.0)
