"""Every row of every figure's CSV, and of the page's table, against the files of the run.

What is expected is computed here from metrics.jsonl, the answers in Parquet and the recorded
summaries, by pandas and by hand; of the product only the estimators' intervals are used.
"""

from __future__ import annotations

import csv
import json
import math
from itertools import pairwise

import pandas as pd
import pytest

from oneshot_rlvr.estimators import paired_interval
from oneshot_rlvr.records import Run
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures import FIGURES
from oneshot_rlvr.report.numbers import every_number, figure_numbers
from oneshot_rlvr.report.saving import save_one
from oneshot_rlvr.selection.history import from_matrix

TRAIN, HELD = "training example", "held out"
OVER_STEPS = {  # figure -> key of metrics.jsonl, column of the answers whose mean is drawn beside
    "reward": ("train/reward", None),
    "zero_variance": ("train/zero_variance_share", None),
    "gradient_norm": ("train/gradient_norm", None),
    "entropy": ("train/entropy_nats", None),
    "kl": ("train/kl", None),
    "length": ("train/tokens_mean", "tokens"),
    "truncated": ("train/truncated_share", "truncated"),
    "boxed": ("train/boxed_share", "boxed"),
    "recheck": ("train/recheck_share", "recheck"),
}
POOL = (["multiply-52-4", "a", "b"], [[0, 1, 0.5], [1, 1, 1], [0.5, 0.5, 1]])
SAMPLES = 4


@pytest.fixture(scope="module")
def folder(finished_run):
    return finished_run


@pytest.fixture(scope="module")
def runs(folder):
    return Runs.of(RunData.load(Run(folder), label="r", pool=from_matrix(*POOL)))


@pytest.fixture(scope="module")
def raw(folder):
    """The run's files, read without the product: metrics, and evaluations as (summary, answers)."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    found = {}
    for path in sorted((folder / "evaluations").glob("*.json")):
        name, _, at = path.stem.rpartition("-")
        answers = pd.read_parquet(path.with_suffix(".parquet"))
        answers["truncated"] = ~answers["finished"]
        answers["recheck"] = answers["text"].str.contains("recheck")
        found[name, 0 if at == "base" else int(at)] = (json.loads(path.read_text()), answers)
    return [json.loads(line) for line in lines], found


def shares(answers, family=None, domain=None):
    """The share of right answers of each question, in the order of their ids."""
    for column, wanted in (("family", family), ("domain", domain)):
        answers = answers if wanted is None else answers[answers[column] == wanted]
    return answers.groupby("example_id")["correct"].mean().sort_index()


def change(before, after, **part):
    """value, low and high in points, paired by question."""
    one, other = shares(before, **part), shares(after, **part)
    assert list(one.index) == list(other.index)
    estimate = paired_interval(one, other, samples=SAMPLES)
    by_hand = sum(b - a for a, b in zip(one, other, strict=True)) / len(one)
    assert estimate.value == pytest.approx(by_hand)
    return {"change": 100 * by_hand, "low": 100 * estimate.low, "high": 100 * estimate.high}


def at_least_one(answers, k):
    """The mean over questions of 1 - C(n - c, k) / C(n, k) (arXiv 2107.03374, equation 1)."""
    right = answers.groupby("example_id")["correct"].agg(["sum", "count"])
    each = [
        1 - math.comb(n - int(c), k) / math.comb(n, k) for c, n in right.itertuples(index=False)
    ]
    return sum(each) / len(each)


def saturation(metrics):
    """The last of the first five steps in a row of at least 95 %."""
    row = 0
    for line in metrics:
        row = row + 1 if line["train/accuracy"] >= 0.95 else 0
        if row == 5:
            return line["step"]
    return None


def expected(name, raw):
    """The figure's rows, each with all of its numbers."""
    metrics, found = raw
    validations = {step: kept for (what, step), kept in found.items() if what == "validation"}
    before, after = found["test", 0], found["test", 40]
    if name in OVER_STEPS:
        key, column = OVER_STEPS[name]
        rows = [{"series": TRAIN, "step": line["step"], "value": line[key]} for line in metrics]
        for step, (_, answers) in validations.items() if column else ():
            rows.append({"series": HELD, "step": step, "value": float(answers[column].mean())})
        return rows
    if name == "accuracy":
        solved = saturation(metrics)
        later = sorted(step for step in validations if step >= solved)
        rows = [{"step": solved}]
        start = float(validations[later[0]][1]["correct"].mean())
        for step in later:
            to = float(validations[step][1]["correct"].mean())
            rows.append({"series": HELD, "step": step, "from": start, "to": to})
        for line in metrics:
            rows.append({"series": TRAIN, "step": line["step"], "value": line["train/accuracy"]})
        for step, (summary, answers) in validations.items():
            overall = summary["overall"]["accuracy"]
            value = float(answers["correct"].mean())
            bounds = {key: overall[key] for key in ("low", "high")}
            rows.append({"series": HELD, "step": step, "value": value, **bounds})
            for group, part in answers.groupby("group"):
                value = float(part["correct"].mean())
                rows.append({"series": f"{HELD}: {group}", "step": step, "value": value})
        return rows
    if name == "post_saturation":
        later = sorted(step for step in validations if step >= saturation(metrics))
        rows = []
        for step in later:
            told = change(validations[later[0]][1], validations[step][1])
            bounds = {"low": 0.0, "high": 0.0} if step == later[0] else told
            rows.append({"series": HELD, "step": step, "value": told["change"],
                         "low": bounds["low"], "high": bounds["high"]})  # fmt: skip
        return rows
    if name == "families":
        return [
            {"family": family.replace("_", " ") + " *" * (family == "multiply"),
             "domain": domain, "when": when, "value": float(part["correct"].mean()),
             **{key: summary["families"][family]["accuracy"][key] for key in ("low", "high")},
             "n": part["example_id"].nunique()}
            for when, (summary, answers) in (("before", before), ("after", after))
            for (family, domain), part in answers.groupby(["family", "domain"])
        ]  # fmt: skip
    domains = sorted(set(before[1]["domain"]))
    if name == "transfer":
        return [{"change": 0}] + [
            {"series": HELD, "domain": domain + " *" * (domain == "arithmetic"),
             **change(before[1], after[1], domain=domain),
             "n": len(shares(before[1], domain=domain))}
            for domain in domains
        ]  # fmt: skip
    if name == "cross_domain":
        told = [(domain, change(before[1], after[1], domain=domain)) for domain in domains]
        return [
            {"trained": "arithmetic", "tested": tested, **of, "runs": 1}
            for tested, of in [*told, ("all", change(before[1], after[1]))]
        ]
    if name == "pass_at_k":
        rows = []
        for when, (summary, answers) in (("before", before), ("after", after)):
            kept = {"1": summary["overall"]["accuracy"], **summary["overall"]["pass_at_k"]}
            for k, told in kept.items():
                bounds = {key: told[key] for key in ("low", "high") if told[key] is not None}
                value = at_least_one(answers, int(k))
                rows.append({"series": when, "k": int(k), "value": value, **bounds})
        return rows
    if name == "format":
        told = change(before[1], after[1])
        sides = [
            (float(a["boxed"].mean()), float(a["correct"].sum() / a["boxed"].sum()))
            for a in (before[1], after[1])
        ]
        (box, right), (box_after, right_after) = sides
        # Kitagawa: each part's change at the mean of the other.
        return [
            {"gain": 0},
            {"series": HELD, "part": "gain", "gain": told["change"],
             "low": told["low"], "high": told["high"]},
            {"series": HELD, "part": "by boxing more",
             "gain": 100 * (box_after - box) * (right + right_after) / 2},
            {"series": HELD, "part": "by being right more",
             "gain": 100 * (right_after - right) * (box + box_after) / 2},
        ]  # fmt: skip
    assert name == "pool", f"say here what figure {name} draws of the records"
    ids, matrix = POOL
    mean = {i: sum(row) / 3 for i, row in zip(ids, matrix, strict=True)}
    spread = {
        i: sum((x - mean[i]) ** 2 for x in row) / 3 for i, row in zip(ids, matrix, strict=True)
    }
    ranked = sorted(ids, key=lambda i: -spread[i])
    return [
        {"id": i, "series": TRAIN if i == "multiply-52-4" else "others of the pool",
         "mean": mean[i], "variance": spread[i], "rank": ranked.index(i) + 1, "visits": 3}
        for i in ids
    ]  # fmt: skip


def sorted_rows(rows):
    """Rows without empty cells and words of tooltips, in an order that numbers do not decide."""

    def key(row):
        texts = [str(value) for value in row.values() if isinstance(value, str)]
        return (sorted(texts), row.get("step", -1), row.get("k", -1), sorted(row))

    kept = [{k: v for k, v in row.items() if v not in ("", None) and k != "told"} for row in rows]
    return sorted(kept, key=key)


def read(path):
    rows = []
    for row in csv.DictReader(path.read_text("utf-8").splitlines()):
        rows.append({k: _value(v) for k, v in row.items()})
    return rows


def _value(text):
    try:
        return float(text)
    except ValueError:
        return text


@pytest.mark.parametrize("name", FIGURES)
def test_every_row_of_a_figures_csv_is_in_the_records_and_none_is_left_out(
    name, runs, raw, tmp_path
):
    drawn = sorted_rows(read(save_one(runs, name, tmp_path / f"{name}.csv")))
    wanted = sorted_rows(expected(name, raw))
    assert len(drawn) == len(wanted) > 0
    for one, other in zip(drawn, wanted, strict=True):
        assert one == pytest.approx(other), (one, other)


def test_the_table_of_every_number_holds_each_figure_s_rows_and_the_results(runs, raw):
    rows = every_number(runs)
    told = {(r["where"], r["of"], r["step"], r["what"]): r["value"] for r in rows}
    # Where a name stands twice, its numbers cannot be told apart; a curve and its area share one.
    twice = len(rows) - len(told)
    assert twice == 0, [r for r in rows if rows.count(r) > 1][:3]
    seen = set()
    for name in FIGURES:
        for row in figure_numbers(name, expected(name, raw)):
            key = (row["where"], row["of"], row["step"], row["what"])
            near = [k for k in told if k[0] == key[0] and k[2:] == key[2:]
                    and sorted(k[1].split("; ")) == sorted(key[1].split("; "))]  # fmt: skip
            assert len(near) == 1, key
            assert told[near[0]] == pytest.approx(row["value"])
            seen.add(near[0])
    assert {key for key in told if key[0].startswith("figure ")} == seen
    metrics, found = raw
    rest = {key: value for key, value in told.items() if key[0] == "result"}
    (before, first), (after, last) = found["test", 0], found["test", 40]
    parts = {"all": (before["overall"], after["overall"], {})}
    for kind, column in (("families", "family"), ("domains", "domain")):
        for part in before[kind]:
            parts[f"{kind}: {part}"] = (before[kind][part], after[kind][part], {column: part})
    wanted = {}
    for part, (one, other, where) in parts.items():
        points = change(first, last, **where)
        sides = {
            "before": one["accuracy"],
            "after": other["accuracy"],
            "difference": {
                "value": points["change"] / 100,
                "low": points["low"] / 100,
                "high": points["high"] / 100,
                "n": len(shares(first, **where)),
            },
        }
        for side, numbers in sides.items():
            for key in ("value", "low", "high", "n"):
                what = side if key == "value" else f"{side} {key}"
                wanted["result", f"tiny_one_shot; test; {part}", None, what] = numbers[key]
    grouped = {key for key in rest if "; groups: " in key[1] or "; validation; " in key[1]}
    assert {key: value for key, value in rest.items() if key not in grouped} == pytest.approx(
        wanted
    )
    assert told["cost", "r", None, "generated tokens"] == sum(m["train/tokens"] for m in metrics)


def test_the_steps_of_a_line_are_those_recorded_each_once(runs, raw, tmp_path):
    steps = [row["step"] for row in read(save_one(runs, "entropy", tmp_path / "entropy.csv"))]
    assert steps == [line["step"] for line in raw[0]]
    assert all(a < b for a, b in pairwise(steps))


def test_without_validations_the_accuracy_shows_the_test_before_and_after(build, tmp_path):
    folder = build(tmp_path / "run", steps=5, validation=False, questions=2)
    of = Runs.of(RunData.load(Run(folder)))
    chart = FIGURES.load("accuracy")(of).to_dict()
    held = [
        row for row in read(save_one(of, "accuracy", tmp_path / "a.csv")) if row["series"] == HELD
    ]
    sides = {
        at: pd.read_parquet(folder / "evaluations" / f"test-{name}.parquet")["correct"].mean()
        for at, name in ((0, "base"), (5, "000005"))
    }
    assert {row["step"]: row["value"] for row in held} == pytest.approx(sides)
    assert chart["title"] == "Training and held-out accuracy"
    assert "before and after only" in chart["description"]
    nothing = build(tmp_path / "nothing", steps=5, validation=False, test=False)
    alone = FIGURES.load("accuracy")(Runs.of(RunData.load(Run(nothing)))).to_dict()
    assert alone["title"] == "Training accuracy"
