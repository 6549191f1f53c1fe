"""A study's file: what it may say, and one sentence for each mistake, with nothing run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oneshot_rlvr.config import load_recipe, packaged_recipes, packaged_studies
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.study.arms import NAMED
from oneshot_rlvr.study.file import read_study
from oneshot_rlvr.study.identity import run_identity
from oneshot_rlvr.verbs.study import study

OUTCOME = {"named": "outcome"}

MISTAKES = {
    "an arm that changes nothing": (
        {"arms/same": {"set": {"rollouts.temperature": 1.0}}},
        "arms.same: changes nothing",
    ),
    "two arms that are equal": (
        {"arms/warm": {"set": {"rollouts.temperature": 1.2}}},
        "arms.hot and arms.warm are the same run",
    ),
    "two arms that are equal by name": (
        {"arms/again": {"named": "no_update"}},
        "arms.no_update and arms.again are the same run",
    ),
    "a claim about an arm that does not exist": (
        {"claims/0/arm": "outcomes"},
        "has no arm 'outcomes'. Did you mean \"outcome\"?",
    ),
    "a claim against an arm that does not exist": (
        {"claims/0/against": "random"},
        "has no arm 'random'",
    ),
    "an aligned base without its arm": (
        {"claims/0/against": "aligned_base"},
        "it needs the arm format_only",
    ),
    "a claim about a benchmark that does not exist": (
        {"claims/0/benchmark": "tests"},
        "has no benchmark 'tests'. Did you mean \"test\"?",
    ),
    "a claim about a statistic that does not exist": (
        {"claims/0/statistic": "acuracy"},
        "statistic 'acuracy' is not known. Did you mean \"accuracy\"?",
    ),
    "more answers than there are": (
        {"claims/0/statistic": "pass@8"},
        "pass@8 needs as many answers",
    ),
    "a claim of itself": ({"claims/0/against": "outcome"}, "compares outcome with itself"),
    "a claim of the aligned base about the arm that it is": (
        {"arms/format_only": {}, "claims/0/arm": "format_only", "claims/0/against": "aligned_base"},
        "compares format_only with itself",
    ),
    "a control twice": ({"controls": ["base", "base"]}, "controls: base stands there twice"),
    "a control twice by its other name": (
        {"arms/format_only": {}, "controls": ["format_only", "aligned_base"]},
        "controls: format_only stands there twice",
    ),
    "what is told over a run's time, of the base": (
        {"claims/0/statistic": "over_fitting"},
        "over_fitting is of a run's validations; base is no run",
    ),
    "what is told over a run's time, of an arm without training": (
        {
            "arms/shown": {"named": "in_context"},
            "claims/0/arm": "shown",
            "claims/0/statistic": "post_saturation",
            "claims/0/against": "outcome",
        },
        "post_saturation is of a run's validations; shown is no run",
    ),
    "what is told over a run's time, without validations": (
        {
            "set": {"evaluation.validation": "none"},
            "claims/0/statistic": "over_fitting",
            "claims/0/against": "no_update",
        },
        "the base recipe has none; set evaluation.validation",
    ),
    "what is told over a run's time, of a group of questions": (
        {
            "claims/0/statistic": "over_fitting",
            "claims/0/against": "no_update",
            "claims/0/only": {"group": "math"},
        },
        "over_fitting is of all validation questions; drop only",
    ),
    "a correlation over the base": (
        {
            "claims/0": {
                "name": "x",
                "statistic": "rank_correlation",
                "score": "s",
                "against": "base",
                "arms": ["base", "outcome", "no_update", "hot"],
            }
        },
        "claim 'x': the study has no arm 'base'",
    ),
    "a threshold in points": ({"claims/0/threshold": 2.0}, "threshold is 2; wanted a share"),
    "a correlation of at least 1": (
        {
            "claims/0": {
                "name": "x",
                "statistic": "rank_correlation",
                "score": "s",
                "threshold": 1.0,
                "against": "base",
                "arms": ["a", "outcome", "no_update", "hot"],
            }
        },
        "threshold is 1; wanted",
    ),
    "a group that no question has": (
        {
            "base": "tiny_one_shot",
            "claims/0/only": {"family": "ad"},
            "benchmarks/test": {"benchmark": "tiny", "questions": 1},
        },
        "no question of tiny has the family 'ad'. Did you mean \"add\"?",
    ),
    "a group of all but one that no question has": (
        {
            "base": "tiny_one_shot",
            "claims/0/only": {"group": "math", "family": "not ad"},
            "benchmarks/test": {"benchmark": "tiny", "questions": 1},
        },
        "no question of tiny has the family 'ad'",
    ),
    "groups that have no question in common": (
        {
            "base": "tiny_one_shot",
            "claims/0/only": {"group": "other", "family": "add"},
            "benchmarks/test": {"benchmark": "tiny", "questions": 1},
        },
        "no question of tiny is all of",
    ),
    "validations of its own": (
        {"arms/hot": {"set": {"evaluation.validation.questions": 2}}},
        "sets evaluation.validation.questions; arms answer the same questions",
    ),
    "more checkpoints to choose from": (
        {"arms/hot": {"set": {"train.eval_every": 1}}},
        "sets train.eval_every",
    ),
    "an arm without training that answers as the base": (
        {"arms/again": {"trains": False}},
        "arms.again: changes nothing: it answers as the base does",
    ),
    "a model that is not here": (
        {
            "arms/other": {"set": {"model.path": "runs/none"}, "differs": ["model.path"]},
            "note": "`make it` makes it.",
        },
        "arms.other: there is no runs/none here. The study's note: `make it` makes it.",
    ),
    "a claim that stands twice": (
        {"claims/1/name": "training helps"},
        "stands there twice",
    ),
    "a control that does not exist": ({"controls": ["bass"]}, "controls: the study has no arm"),
    "runs on different questions": (
        {"arms/hot": {"set": {"evaluation.test.questions": 2}}},
        "arms answer the same questions",
    ),
    "a checkpoint rule of its own": (
        {"arms/hot": {"set": {"train.checkpoint_rule": "best_validation"}}},
        "by the same checkpoint rule",
    ),
    "a seed of its own": ({"arms/hot": {"set": {"train.seed": 9}}}, "sets train.seed"),
    "another budget": (
        {"arms/hot": {"set": {"train.steps": 8}}},
        "arms.hot: train.steps is 8 and the other arms' 4",
    ),
    "a difference that is no budget": (
        {"arms/hot/differs": ["optimizer.learning_rate"]},
        "which is no key of the budget",
    ),
    "one seed and an interval over seeds": (
        {"seeds": [0]},
        "one seed shows no spread over seeds",
    ),
    "a seed twice": ({"seeds": [1, 1]}, "wanted different whole numbers"),
    "a seed that is text": ({"seeds": ["0", "1"]}, "seeds"),
    "an arm of no name": ({"arms/outcom": {}}, 'is no named arm. Did you mean "outcome"?'),
    "an arm without its data": ({"arms/two_shot": {}}, "set one of examples.items"),
    "a key that no recipe has": (
        {"arms/hot": {"set": {"rollouts.temprature": 1.2}}},
        'unknown key "rollouts.temprature". Did you mean "rollouts.temperature"?',
    ),
    "a key that no arm has": (
        {"arms/hot": {"sett": {}}},
        'unknown key "sett". Did you mean "set"?',
    ),
    "a key that no study has": ({"seed": [0, 1]}, 'unknown key "seed". Did you mean "seeds"?'),
    "a key that no claim has": (
        {"claims/0/treshold": 0.1},
        'unknown key "treshold". Did you mean "threshold"?',
    ),
    "no arms": ({"arms": {}}, "wanted one or more tables [arms.NAME]"),
    "no benchmarks": ({"benchmarks": None}, "benchmarks is missing; wanted tables by name"),
    "a claim without a name": ({"claims/0/name": None}, "claim 1: name is missing; wanted text"),
    "a name that is the base's": ({"arms/base": OUTCOME}, "kept for the base model"),
    "another name that is the base's": ({"arms/own_base": OUTCOME}, "kept for the base model"),
    "a name that leads out of its folder": ({"arms/../x": OUTCOME}, ""),
    "a reward arm that does not exist": (
        {"arms/hot": {"set": {"reward.arm": "randon"}}},
        'arms.hot: "randon" is not a known',
    ),
    "an algorithm that does not exist": (
        {"arms/hot": {"set": {"algorithm.name": "grp"}}},
        'arms.hot: "grp" is not a known',
    ),
    "a prompt that does not exist": (
        {"fair_base/prompts": ["boxd"]},
        "'boxd' is no template. Did you mean \"boxed\"?",
    ),
    "examples that are not here": (
        {"arms/two_shot": {"set": {"examples.path": "nowhere.jsonl"}}},
        "arms.two_shot: there is no nowhere.jsonl here",
    ),
    "a name that is a path": ({"name": "../x"}, "cannot name a folder"),
    "within nothing": ({"claims/1/threshold": 0.0}, "within needs a threshold above 0"),
    "a recipe that does not exist": ({"base": "tiny_one_sho"}, 'Did you mean "tiny_one_shot"?'),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_nothing_is_run(mistake, study_file, tmp_path):
    changes, sentence = MISTAKES[mistake]
    if mistake == "a name that leads out of its folder":
        file = study_file()
        file.write_text(file.read_text() + '\n[arms."../x"]\nnamed = "format_only"\n')
        sentence = "is no name of letters"
    else:
        file = study_file(changes)
    with pytest.raises(ConfigError) as caught:
        study(file, out=tmp_path / "out", runs=tmp_path / "arms")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "arms").exists()


def test_a_file_that_is_no_toml_or_is_not_there_is_told(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("arms = [")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_study(broken)
    with pytest.raises(ConfigError, match='Did you mean "controls"'):
        read_study("control")


def test_the_arm_of_the_method_may_change_nothing_and_others_say_what_differs(study_file):
    file = read_study(study_file({"arms/long": {"set": {"train.steps": 6},
                                               "differs": ["train.steps"]}}))  # fmt: skip
    assert file.arms["outcome"].differs == {}
    assert file.arms["long"].differs == {"train.steps": (4, 6)}
    assert file.arms["hot"].recipe.rollouts.temperature == 1.2
    assert file.arms["hot"].recipe.evaluation.test is None
    assert file.recipe_of("hot", 7).train.seed == 7


def test_a_named_arm_is_the_recipe_of_that_name_over_the_studys_base(study_file):
    recipe = read_study(study_file()).arms["no_update"].recipe
    assert recipe.algorithm.policy_coefficient == 0
    assert recipe.optimizer.weight_decay == 0
    assert recipe.model.path != load_recipe("ablations/nothing").model.path


@pytest.mark.parametrize("name", NAMED)
def test_every_named_arm_makes_a_recipe_of_the_tiny_one(name, study_file):
    arm = NAMED[name]
    if arm.recipe is not None and arm.recipe not in packaged_recipes():
        pytest.skip(f"no recipe {arm.recipe}")
    given = {"reward.wrong_label": "101"} if "reward.wrong_label" in arm.needs else {}
    if "examples.items" in arm.needs:
        given = {"examples.items": [{"id": "x", "question": "What is 1 + 1?", "answer": "2"}]}
    file = study_file({"base": "tiny_one_shot", "arms": {"it": {"named": name, "set": given}},
                       "claims": [], "controls": ["base"]})  # fmt: skip
    found = read_study(file).arms["it"]
    assert found.note or not found.trains
    assert found.trains is arm.trains


@pytest.mark.parametrize("name", packaged_studies())
def test_every_study_that_ships_can_be_read_and_is_named_after_its_file(name):
    try:
        found = read_study(name)
    except ConfigError as error:
        if "this version has no recipe rivals/" in str(error):
            pytest.skip(str(error))
        raise
    assert found.study.name == name.partition("/")[2]
    assert found.study.title
    assert found.study.claims
    assert found.study.intervals == "seeds and questions"


def test_the_page_of_studies_shows_one_that_can_be_read(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "study.md").read_text()
    (shown,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.toml").write_text(shown)
    file = read_study(tmp_path / "mine.toml")
    assert list(file.arms) == ["outcome", "format_only", "warm"]
    assert file.base.train.steps == 60


def test_a_run_is_the_same_wherever_its_files_lie_and_another_where_they_say_another(tmp_path):
    row = '{"question": "What is 1 + 1?", "answer": "2"}\n'
    for folder, text in (("a", row), ("b", row), ("c", row.replace("2", "3"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.jsonl").write_text(text)
    recipes = [
        load_recipe("tiny_one_shot", {"examples.path": str(tmp_path / f / "one.jsonl")})
        for f in "abc"
    ]
    a, b, c = map(run_identity, recipes)
    assert a == b != c


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [("train.threads", 7, True), ("train.save_every", 1, True), ("name", "x", True),
     ("evaluation.test.seed", 5, True), ("train.seed", 5, False), ("train.steps", 5, False),
     ("train.eval_every", 5, False), ("evaluation.validation.seed", 5, False),
     ("optimizer.learning_rate", 1.0, False), ("reward.arm", "random", False)],
)  # fmt: skip
def test_what_decides_a_runs_numbers_is_its_identity_and_nothing_else(key, value, same):
    one, other = load_recipe("tiny_one_shot"), load_recipe("tiny_one_shot", {key: value})
    assert (run_identity(one) == run_identity(other)) is same


def test_the_shipped_pool_is_what_the_tiny_world_generates():
    from oneshot_rlvr.examples import load_file
    from oneshot_rlvr.tiny import tasks

    folder = Path(__file__).parents[2] / "recipes" / "studies"
    families = [f.name for f in tasks.FAMILIES.values() if f.group == "math"]
    made = [e for name in families for e in tasks.generate(name, 0, 22, "train")]
    pool = load_file(folder / "tiny_pool.jsonl")
    assert [e.id for e in pool] == [e.id for e in made]
    assert [e.answer for e in pool] == [e.answer for e in made]
    for share, wrong in ((60, 119), (90, 178)):
        noisy = load_file(folder / f"tiny_pool_noise{share}.jsonl")
        assert sum(a.answer != b.answer for a, b in zip(pool, noisy, strict=True)) == wrong


def test_the_page_of_studies_names_all_arms_and_says_which_no_study_has():
    page = (Path(__file__).parents[2] / "docs" / "study.md").read_text()
    (listed,) = re.findall(r"<!-- arms: begin -->(.*?)<!-- arms: end -->", page, re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(NAMED)
    files = [read_study(name) for name in packaged_studies()]
    used = {arm.config.named or arm.name for file in files for arm in file.arms.values()}
    (unused,) = re.findall(r"stand in a study\s+that\s+ships\s+but (.*?):", page, re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", unused)) == sorted(set(NAMED) - used)
