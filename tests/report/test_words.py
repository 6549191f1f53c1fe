"""The page's sentences say what was measured and no more."""

from __future__ import annotations

import dataclasses

import pytest

from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.records import Run
from oneshot_rlvr.report import facts, verdict, words
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData, setting


@pytest.fixture
def data(finished_run):
    return RunData.load(Run(finished_run))


def changed(data, **overall):
    comparison = data.comparison
    new = dataclasses.replace(comparison.overall, **overall)
    return dataclasses.replace(data, comparisons=[dataclasses.replace(comparison, overall=new)])


def test_the_headline_tells_before_and_after(data):
    data = changed(
        data, before=Estimate(0.376, 0.35, 0.40, 84), after=Estimate(0.681, 0.65, 0.71, 84)
    )
    assert words.headline(data) == (
        "From 37.6% to 68.1% on held\N{NON-BREAKING HYPHEN}out questions, trained on one example"
    )


def test_a_fall_is_called_a_fall(data):
    data = changed(data, before=Estimate(0.7, 0.6, 0.8, 9), after=Estimate(0.4, 0.3, 0.5, 9))
    assert "From 70.0% down to 40.0%" in words.headline(data)


def test_validation_numbers_are_not_called_held_out_test_numbers(build, tmp_path):
    run = build(tmp_path / "run", steps=10, test=False, finish=False)
    data = RunData.load(Run(run))
    assert "on validation questions" in words.headline(data)
    text = " ".join(words.caveats(data))
    assert "watched while training" in text
    assert "not finished: 10 of 40 steps" in words.unfinished(data)


def test_a_run_before_its_first_validation_tells_where_it_began(build, tmp_path):
    run = build(tmp_path / "run", steps=5, test=False, finish=False)
    headline = words.headline(RunData.load(Run(run)))
    assert headline.endswith("% before training on one example, not yet measured after")


def test_the_caveats_tell_what_a_sceptic_asks(data):
    text = " ".join(words.caveats(data))
    assert "Wilson's with an effective number of questions" in text  # how intervals are made
    assert "t over the questions' differences" in text
    for needle in (
        "test set (benchmark tiny, seed 7): 84 questions, 4 answers each at temperature 0.6",
        "avg@4",
        "step 40, the last one, by the rule declared before the run",
        "Answers in a box went from",
        "go with boxing",
        "one training seed",
        "built for each other",
    ):
        assert needle in text


def test_a_control_arm_is_named(data):
    recipe = {**data.recipe, "reward": {"arm": "random"}}
    data = dataclasses.replace(data, info={**data.info, "recipe": recipe})
    assert "control arm random" in " ".join(words.caveats(data))


def test_an_empty_run_makes_sentences_too():
    data = RunData(info={})
    assert words.headline(data) == "Not a step trained yet"
    assert "Nothing held out" in words.caveats(data)[0]
    assert words.lede(data).endswith("for 0 steps.")
    assert facts.cost(data) == [("steps", "0")]
    assert facts.recipe_toml(data) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.4, "59.4 s"), (59.6, "1 min 0 s"), (252.4, "4 min 12 s"),
     (3599.7, "1 h 0 min"), (7325, "2 h 2 min")],
)  # fmt: skip
def test_durations_read_well(seconds, text):
    assert words.duration(seconds) == text


def test_points_have_a_sign_and_intervals_keep_it():
    assert words.points(-0.0213) == "\N{MINUS SIGN}2.1"
    assert words.interval(Estimate(0.0, -0.01, 0.02, 5), signed=True) == "\N{MINUS SIGN}1.0 to +2.0"
    assert words.interval(Estimate(0.5, float("nan"), float("nan"), 1)) == ""


def test_cost_adds_up_what_is_recorded(data):
    cost = dict(facts.cost(data))
    assert cost["steps"] == "40"
    assert cost["rollouts"] == "320"
    assert cost["generated tokens"] == "16,000"
    assert cost["time"] == "1 min 0 s"
    assert cost["time to generate"] == "36.0 s"
    assert cost["highest memory"] == "0.88 GiB"


def test_the_recipe_is_shown_as_toml_without_what_is_unset(data):
    text = facts.recipe_toml(data)
    assert "prompts_per_step = 2" in text
    assert "revision" not in text


def test_settings_are_read_by_dotted_key():
    assert setting({"a": {"b": 3}}, "a.b") == 3
    assert setting({"a": 1}, "a.b") is None


def test_a_run_that_goes_on_says_when_it_is_tested(build, synthetic, tmp_path):
    recipe = {**synthetic.RECIPE, "evaluation": {"test": {"benchmark": "tiny"}}}
    made = build(
        tmp_path / "run", steps=3, validation=False, test=False, finish=False,
        info={**synthetic.INFO, "recipe": recipe},
    )  # fmt: skip
    run = RunData.load(Run(made))
    assert words.headline(run) == "Step 3 of 40 of training on one example, tested when it ends"
    assert "asked when the run ends" in verdict.verdict(Runs.of(run))
    untested = build(tmp_path / "b", steps=3, validation=False, test=False, finish=False)
    assert "not measured before and after" in words.headline(RunData.load(Run(untested)))
