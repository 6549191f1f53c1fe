"""Runs grouped into arms and seeds, the sentence on what numbers allow, the recipe's difference."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from oneshot_rlvr.analysis.comparison import Change, Comparison
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.estimators import Estimate
from oneshot_rlvr.report import verdict
from oneshot_rlvr.report.arms import Runs
from oneshot_rlvr.report.data import RunData
from oneshot_rlvr.report.figures.style import column
from oneshot_rlvr.report.recipe import against_base, command

RECIPE = {"name": "mine", "train": {"seed": 0, "steps": 5}, "reward": {"arm": "outcome"}}


def run(after, *, seed=0, arm="outcome", before=0.4, label="", questions=50, name="test", **keys):
    """A run whose every question is right with the share `after` of 10 answers."""
    recipe = {**RECIPE, "train": {"seed": seed, "steps": 5}, "reward": {"arm": arm}, **keys}
    sides = [Estimate(share, share - 0.05, share + 0.05, questions) for share in (before, after)]
    difference = Estimate(after - before, after - before - 0.06, after - before + 0.06, questions)
    overall = {"accuracy": sides[1].as_dict(), "samples": 10 * questions, "questions": questions}
    summary = {"overall": overall, "samples": 10}
    comparison = Comparison(
        name, 5, summary, summary, Change("all", *sides, difference), [], [], [], {}, None, []
    )
    shares = pd.Series([after] * questions, index=[f"q{i}" for i in range(questions)])
    return RunData(
        info={"recipe": recipe},
        status="finished",
        comparisons=[comparison],
        shares={name: shares},
        label=label or f"{arm}-{seed}",
    )


def test_runs_of_one_recipe_are_seeds_and_others_are_arms():
    runs = Runs.of(run(0.8, seed=0), run(0.9, seed=1), run(0.4, arm="random"))
    assert [(arm.name, arm.seeds) for arm in runs.arms] == [
        ("outcome reward", 2), ("random reward", 1),
    ]  # fmt: skip
    assert runs.arms[1].control == "random"
    assert len(Runs.of(run(0.8), run(0.8, seed=3), run(0.7, name_of="x")).arms) == 2
    unknown = RunData(info={}, label="a"), RunData(info={}, label="b")
    assert [arm.name for arm in Runs.of(*unknown).arms] == ["a", "b"]
    with pytest.raises(ConfigError, match="no run is given"):
        Runs.of()


def test_an_arm_is_named_by_what_differs():
    runs = Runs.of(
        run(0.8, algorithm={"name": "grpo", "kl": 0}), run(0.7, algorithm={"name": "rloo", "kl": 0})
    )
    assert [arm.name for arm in runs.arms] == ["algorithm grpo", "algorithm rloo"]


def test_a_lone_run_keeps_its_own_numbers_and_seeds_have_their_mean_and_spread():
    alone = Runs.of(run(0.8)).arms[0].overall("test")
    assert alone.difference == Estimate(0.4, 0.34, 0.46, 50) or math.isclose(
        alone.difference.value, 0.4
    )
    seeds = Runs.of(run(0.8), run(0.9, seed=1), run(0.7, seed=2)).arms[0].overall("test")
    assert seeds.after.value == pytest.approx(0.8)
    # Student t over 0.4, 0.5, 0.3: 4.3027 * 0.1 / sqrt(3)
    assert seeds.difference.low == pytest.approx(0.4 - 0.24841, abs=1e-4)
    assert seeds.difference.n == 3
    assert seeds.before.n == 50, "seeds share their base: it is one measurement"


def test_seeds_that_agree_by_chance_are_not_sure_of_their_difference():
    seeds = Runs.of(run(0.8), run(0.8, seed=1)).arms[0].overall("test")
    alone = Runs.of(run(0.8)).arms[0].overall("test")
    assert alone.difference.low < 0.4 < alone.difference.high
    assert seeds.difference.n == 2
    assert (seeds.difference.low, seeds.difference.high) == pytest.approx(
        (alone.difference.low, alone.difference.high)
    )


def test_arms_differ_over_seeds_where_both_have_two_and_else_over_questions():
    four = Runs.of(
        run(0.8), run(0.9, seed=1), run(0.4, arm="random"), run(0.5, arm="random", seed=1)
    )
    (versus,) = four.differences()
    # Welch: 0.85 - 0.45, standard error 0.0707 of 2 degrees, t 4.3027
    assert versus.over == "seeds"
    assert versus.difference.value == pytest.approx(0.4)
    assert versus.difference.low == pytest.approx(0.4 - 0.30424, abs=1e-4)
    assert versus.clear
    (versus,) = Runs.of(run(0.8), run(0.4, arm="random")).differences()
    assert (versus.over, versus.difference.n) == ("questions", 50)
    other = run(0.4, arm="random", questions=20)
    assert Runs.of(run(0.8), other).differences() == [], "not the same questions"


def test_the_sentence_says_what_one_run_allows_and_what_it_does_not():
    told = verdict.verdict(Runs.of(run(0.8)))
    assert told.startswith(
        "The numbers show a gain of 40.0 points on held\N{NON-BREAKING HYPHEN}out questions (95% "
        "interval +34.0 to +46.0 points, over questions); they do not say"
    )
    assert "another seed" in told
    assert "no control arm" in told
    assert ". " not in told, "one sentence"


def test_an_interval_that_holds_zero_is_no_change_and_a_loss_is_a_loss():
    assert "includes 0" in verdict.verdict(Runs.of(run(0.42)))
    assert "no change is shown" in verdict.verdict(Runs.of(run(0.42)))
    assert "show a loss of 30.0 points" in verdict.verdict(Runs.of(run(0.1)))


def test_seeds_and_a_control_take_their_limits_back():
    runs = Runs.of(
        run(0.8), run(0.9, seed=1), run(0.4, arm="random"), run(0.5, arm="random", seed=1)
    )
    told = verdict.verdict(runs)
    assert "another seed" not in told
    assert "no control arm" not in told
    assert "from random reward it differs by +40.0 points (+9.6 to +70.4, over seeds)" in told
    close = Runs.of(
        run(0.8), run(0.82, seed=1), run(0.7, arm="random"), run(0.9, arm="random", seed=1)
    )
    assert (
        "a difference from random reward is not shown, the interval includes 0"
        in verdict.verdict(close)
    )
    assert verdict.headline(runs).startswith("From 40.0% to 85.0% (outcome reward) and 45.0%")


def test_what_was_not_measured_is_said():
    assert "do not say whether it helped" in verdict.verdict(Runs.of(RunData(info={})))
    control = verdict.verdict(Runs.of(run(0.8, arm="random")))
    assert "this is the control arm random" in control
    watched = verdict.verdict(Runs.of(run(0.8, name="validation")))
    assert "not watched while training (no test)" in watched
    going = dataclasses.replace(run(0.8), status="running")
    assert "it is not finished" in verdict.verdict(Runs.of(going))


def test_a_recipe_is_told_as_what_it_changes_of_its_base_and_the_command_makes_it_again():
    from oneshot_rlvr.config import load_recipe

    def data(**overrides):
        recipe = load_recipe("tiny_one_shot", overrides).model_dump(mode="json")
        return RunData(info={"recipe": recipe})

    same = data()
    assert against_base(same).differences == []
    assert command(same) == "oneshot train tiny_one_shot --out runs/again"
    changed = data(**{"train.steps": 60, "reward.arm": "random", "optimizer.betas": [0.5, 0.9]})
    told = {d.key: (d.base, d.run) for d in against_base(changed).differences}
    assert told == {
        "train.steps": ("100", "60"), "reward.arm": ("outcome", "random"),
        "optimizer.betas": ("[0.9, 0.99]", "[0.5, 0.9]"),
    }  # fmt: skip
    words = command(changed)
    assert "--train.steps 60" in words
    assert "--reward.arm random" in words
    own = data(**{"examples.items": [{"question": "1 + 1?", "answer": "2"}]})
    assert command(own) == "oneshot train recipe.toml --out runs/again"
    assert against_base(RunData(info={})) is None
    assert against_base(RunData(info={"recipe": {"name": "nobody's"}})).base == "the defaults"


@pytest.mark.parametrize(
    "overrides",
    [
        {"evaluation.validation": None},  # a table of the base that is off
        {"evaluation.validation": None, "evaluation.test": None, "train.steps": 7},
        {"name": "mine", "examples.path": "mine/rows.jsonl", "evaluation.validation": None,
         "evaluation.test": "mine/held_out.jsonl"},
        {"model.path": "some/model", "name": "tiny_one_shot", "reward.format_penalty": 0.25},
    ],
)  # fmt: skip
def test_the_command_of_the_page_gives_the_very_recipe(overrides):
    import shlex

    from oneshot_rlvr.cli import build_parser
    from oneshot_rlvr.cli.recipe_flags import overrides as given
    from oneshot_rlvr.config import load_recipe

    recipe = load_recipe("tiny_one_shot", overrides)
    told = RunData(info={"recipe": recipe.model_dump(mode="json")})
    words = shlex.split(command(told))
    assert words[:3] == ["oneshot", "train", "tiny_one_shot"]
    again = load_recipe(words[2], given(build_parser().parse_all(words[1:])))
    assert again.model_copy(update={"name": recipe.name}) == recipe


@pytest.mark.parametrize("name", ["a.b", "a[0]", "train/reason.correct[x]:c", "plain"])
def test_a_column_of_any_name_is_drawn(name):
    import altair as alt
    import vl_convert

    rows = [{name: value, "x": value} for value in range(5)]
    chart = alt.Chart(alt.InlineData(values=rows)).mark_line().encode(x="x:Q", y=column(name))
    path = vl_convert.vegalite_to_svg(chart.to_dict()).split("mark-line")[1].split('d="')[1]
    ends = [point.split(",")[1] for point in path.split('"')[0].replace("M", "L").split("L")[1:]]
    assert len(ends) == 5
    assert len(set(ends)) == 5, "an empty or a flat line: the name was read as a path"
