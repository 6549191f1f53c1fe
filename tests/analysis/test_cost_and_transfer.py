"""What an accuracy costs, what of a gain is format, trained on x and tested on y: by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from oneshot_rlvr.analysis.comparison import Change, Comparison
from oneshot_rlvr.analysis.cost import cost_to_reach
from oneshot_rlvr.analysis.formats import format_gain
from oneshot_rlvr.analysis.transfer import cells, changes, matrix, trained_on
from oneshot_rlvr.estimators import Estimate, mean_interval

METRICS = pd.DataFrame({"step": [1, 2, 3, 4], "train/tokens": [100.0, 200.0, 300.0, 400.0]})
TIMINGS = pd.DataFrame(
    {
        "step": [0, 1, 2, 3, 4],
        "step_seconds": [math.nan, 2.0, 12.0, 2.0, 12.0],
        "evaluate_seconds": [7.0, math.nan, 10.0, math.nan, 10.0],
    }
)


def test_the_cost_is_that_of_all_steps_up_to_the_first_that_reaches_it():
    curves = {
        "training": [(1, 0.2), (2, 0.6), (3, 0.4), (4, 0.9)],
        "validation": [(0, 0.3), (2, 0.5), (4, 0.7)],
    }
    found = cost_to_reach(curves, METRICS, TIMINGS, (0.3, 0.5, 0.95)).set_index(["of", "target"])
    training = found.loc[("training", 0.5)]
    assert (training["step"], training["tokens"]) == (2, 300.0)
    assert (training["seconds"], training["evaluation_seconds"]) == (4.0, 10.0)
    base = found.loc[("validation", 0.3)]
    assert (base["step"], base["tokens"], base["seconds"]) == (0, 0.0, 0.0)
    never = found.loc[("validation", 0.95)]
    assert pd.isna(never["step"])
    assert pd.isna(never["tokens"])
    assert pd.isna(never["seconds"])


def test_a_run_without_clocks_has_steps_and_tokens_only():
    found = cost_to_reach({"t": [(3, 1.0)]}, METRICS, pd.DataFrame({"step": []}), (1.0,)).iloc[0]
    assert (found["step"], found["tokens"]) == (3, 600.0)
    assert math.isnan(found["seconds"])


def test_a_run_that_never_evaluates_spent_nothing_on_it():
    timings = pd.DataFrame({"step": [1, 2], "step_seconds": [2.0, 3.0]})
    found = cost_to_reach({"t": [(2, 1.0)]}, METRICS, timings, (1.0,)).iloc[0]
    assert (found["seconds"], found["evaluation_seconds"]) == (5.0, 0.0)


def side(rows: list[tuple[str, bool, bool, bool]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["example_id", "strict", "lenient", "boxed"]).assign(
        correct=lambda s: s["strict"]
    )


def test_the_gain_with_the_format_forgiven_stands_beside_the_gain():
    # The base is right on a, b and c and boxes a alone; the trained model boxes all and learns d.
    base = side(
        [("a", True, True, True), ("b", False, True, False), ("c", False, True, False),
         ("d", False, False, True)]
    )  # fmt: skip
    trained = side([(name, True, True, True) for name in "abcd"])
    found = format_gain(base, trained).set_index("part")
    assert found.loc["gain, an answer must be boxed", "gain"] == 0.75
    assert found.loc["gain, format forgiven", "gain"] == 0.25
    assert found.loc["gain that is format", "gain"] == 0.5
    # Bonett and Price over (0, 1, 1, 0) and (1, -1): mean 1 / 3, variance 5 / 9.
    low = 1 / 3 - 1.959964 * (5 / 9) ** 0.5 / 6**0.5
    assert found.loc["gain that is format", "low"] == pytest.approx(low, abs=1e-6)
    assert found.loc["by boxing more", "gain"] + found.loc["by being right more", "gain"] == 0.75


def test_without_lenient_verdicts_the_decomposition_stands_alone():
    base = side([("a", True, True, True), ("b", False, True, False)])[
        ["example_id", "correct", "boxed"]
    ]
    assert format_gain(base, base)["part"].tolist() == [
        "gain",
        "by boxing more",
        "by being right more",
    ]


def test_other_questions_give_no_format_share():
    one, two = side([("a", True, True, True)]), side([("b", True, True, True)])
    assert format_gain(one, two).empty


def comparison(**differences: float) -> Comparison:
    def change(name: str, by: float) -> Change:
        bounds = (Estimate(0.5, 0.4, 0.6, 9), Estimate(0.5 + by, 0.4, 0.9, 9))
        return Change(name, *bounds, Estimate(by, by - 0.1, by + 0.1, 9))

    domains = [change(name, by) for name, by in differences.items() if name != "all"]
    return Comparison(
        "test", 9, {}, {}, change("all", differences["all"]), [], domains, [], {}, None, []
    )


def test_trained_on_x_tested_on_y_from_several_runs():
    found = pd.concat(
        [
            changes("r1", "math", comparison(math=0.3, law=0.1, all=0.2)),
            changes("r2", "math", comparison(math=0.5, law=0.1, all=0.3)),
            changes("r3", "law", comparison(math=0.0, law=0.4, all=0.2)),
        ],
        ignore_index=True,
    )
    wide = matrix(found)
    assert list(wide.columns) == ["math", "law", "all"]
    assert wide.loc["math"].tolist() == pytest.approx([0.4, 0.1, 0.25])
    assert wide.loc["law"].tolist() == pytest.approx([0.0, 0.4, 0.2])
    cell = cells(found).set_index(["trained_on", "tested_on"])
    two = cell.loc[("math", "math")]
    expected = mean_interval([0.3, 0.5])
    assert expected.high > 1  # Student's t of two runs reaches beyond what shares can differ by
    assert (two["low"], two["high"], two["runs"]) == (expected.low, 1.0, 2)
    one = cell.loc[("law", "law")]
    assert (one["low"], one["high"], one["runs"]) == (pytest.approx(0.3), pytest.approx(0.5), 1)


def test_a_run_is_named_by_all_that_it_was_trained_on():
    assert (
        trained_on([{"domain": "law"}, {"domain": "algebra"}, {"domain": "law"}]) == "algebra+law"
    )
    assert trained_on([{"domain": ""}]) == trained_on([]) == "unnamed"
    assert trained_on([{"family": "add"}], by="family") == "add"
