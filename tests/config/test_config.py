"""The recipe: what it refuses, in which words, and that it survives a round trip."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot_rlvr.config import (
    PRESETS,
    AlgorithmConfig,
    Recipe,
    TrainConfig,
    fingerprint,
    load_recipe,
    packaged_recipes,
    parse_recipe,
    recipe_fields,
    recipes_directory,
    to_toml,
)
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.settings import is_nullable, type_text, unknown_key, value_from_text

FIELDS = {field.key: field for field in recipe_fields()}


def write(directory: Path, text: str) -> Path:
    path = directory / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def message(data: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_recipe(data)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_an_empty_recipe_is_the_published_setting():
    recipe = parse_recipe({})
    assert recipe == Recipe()
    assert recipe.derived()["rollouts_per_step"] == 1024
    assert recipe.derived()["rollouts_per_update"] == 1024


@pytest.mark.parametrize(
    ("data", "key", "meant"),
    [
        ({"trian": {"steps": 3}}, "trian", "train"),
        ({"train": {"step": 3}}, "train.step", "train.steps"),
        ({"train": {"learning_rate": 1.0}}, "train.learning_rate", "optimizer.learning_rate"),
        # A key of another table comes before one that is merely spelt alike (train.steps).
        ({"train": {"items": []}}, "train.items", "examples.items"),
        (
            {"evaluation": {"validation": {"sample": 3}}},
            "evaluation.validation.sample",
            "evaluation.validation.samples",
        ),
    ],
)
def test_an_unknown_key_at_any_depth_names_the_nearest(data, key, meant):
    assert f'unknown key "{key}". Did you mean "{meant}"?' in message(data)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("example.path", "examples.path"),  # model.path is a path too
        ("optimiser.learning_rat", "optimizer.learning_rate"),
        ("evaluation.tests.samples", "evaluation.test.samples"),
        ("exmples.columsn", "examples.columns"),
    ],
)
def test_a_table_that_does_not_exist_is_matched_before_its_key(key, meant):
    text = unknown_key(key, Recipe)
    assert f'Did you mean "{meant}"?' in text
    assert f"Keys of [{meant.rpartition('.')[0]}]: " in text


def test_a_table_like_no_other_lists_the_tables():
    text = unknown_key("zzz.path", Recipe)
    assert "Known tables: model, " in text
    assert "[zzz]" not in text


def test_an_unknown_key_like_no_other_lists_its_table():
    text = message({"model": {"zzzz": 1}})
    assert "Did you mean" not in text
    assert "Keys of [model]: path, revision" in text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"train": {"steps": "many"}}, 'train.steps is "many"; wanted a whole number > 0.'),
        ({"train": {"steps": "10"}}, 'train.steps is "10"; wanted a whole number > 0.'),
        ({"train": {"steps": True}}, "train.steps is true; wanted a whole number > 0."),
        ({"train": {"steps": 0}}, "train.steps is 0; wanted a whole number > 0."),
        ({"train": 3}, "train is 3; wanted a table."),
        ({"optimizer": {"betas": [0.9, "a"]}}, 'optimizer.betas.1 is "a"; wanted a list of 2'),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate is NaN; wanted"),
        ({"algorithm": {"entropy_coefficient": float("inf")}}, "wanted a number."),
        (
            {"algorithm": {"averaging": "tokens"}},
            'algorithm.averaging is "tokens"; wanted "token", "sequence" or '
            '"fixed_length". Did you mean "token"?',
        ),
        ({"reward": {"random_share": 1.5}}, "wanted a number >= 0 and <= 1."),
    ],
)
def test_a_wrong_value_names_key_what_came_and_what_was_wanted(data, expected):
    assert expected in message(data)


def test_several_mistakes_are_all_told_in_one_line():
    text = message({"train": {"steps": 0, "seed": -1}})
    assert text.startswith("train.steps is 0;")
    assert "1 more: train.seed is -1;" in text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"rollouts": {"group_size": 1}}, "rollouts.group_size is 1; grpo compares"),
        (
            {
                "algorithm": {"name": "reinforce"},
                "rollouts": {"group_size": 1, "prompts_per_step": 1},
            },
            "a step of one rollout",
        ),
        ({"algorithm": {"name": "rloo", "gamma": 0.9}}, "algorithm.gamma is 0.9, which rloo has"),
        ({"algorithm": {"clip_low": 0.1, "name": "reinforce"}}, "clip_low is 0.1, which reinforce"),
        ({"algorithm": {"critic": "own"}}, "algorithm.critic is 'own', which grpo has no use for"),
        ({"algorithm": {"name": "ppo", "critic": None}}, 'Set algorithm.critic="own" or "shared"'),
        (
            {"algorithm": {"entropy_target": 0.2, "entropy_coefficient": 0.5}},
            "entropy_coefficient is 0.5 and moves between 0 and",
        ),
        ({"train": {"epochs": 2}}, "updates_per_rollout is 1, which 2 epochs cannot share"),
        (
            {
                "train": {"epochs": 2, "updates_per_rollout": 10},
                "rollouts": {"prompts_per_step": 4},
            },
            "only 4 rows to split among the updates of each of 2 epochs",
        ),
        ({"examples": {"path": "a.jsonl", "items": []}}, "are both set"),
        ({"train": {"checkpoint_rule": "best_validation"}}, "evaluation.validation is not set"),
        (
            {"train": {"updates_per_rollout": 9}, "rollouts": {"prompts_per_step": 8}},
            "only 8 rows to split",
        ),
    ],
)
def test_settings_that_cannot_work_together_are_refused(data, words):
    assert words in message(data)


def test_an_algorithm_brings_its_papers_values_for_keys_left_out():
    dapo = AlgorithmConfig(name="dapo")
    assert (dapo.clip_low, dapo.clip_high, dapo.kl_coefficient) == (0.2, 0.28, 0.0)
    given = AlgorithmConfig(name="dapo", clip_high=0.2)
    assert (given.clip_high, given.kl_coefficient) == (0.2, 0.0)
    assert AlgorithmConfig(name="ppo").critic == "own"


def test_values_told_and_values_left_out_are_the_same_recipe():
    for name, values in PRESETS.items():
        short = parse_recipe({"algorithm": {"name": name}})
        assert short == parse_recipe({"algorithm": {"name": name, **values}})
        assert parse_recipe(tomllib.loads(to_toml(short))) == short


def test_batch_numbers_follow_from_updates_and_epochs():
    told = {"train": {"steps": 5, "epochs": 2, "updates_per_rollout": 8}}
    derived = Recipe.model_construct(
        **{k: v for k, v in parse_recipe({}) if k != "train"}, train=TrainConfig(**told["train"])
    ).derived()
    assert derived["optimizer_steps"] == 40
    assert derived["rows_per_update"] == 32  # 128 rows in 4 parts, twice


def test_broken_toml_names_file_and_line(tmp_path):
    path = write(tmp_path, '[train]\nsteps = 3\nseed = "open\n')
    with pytest.raises(ConfigError, match=r"recipe\.toml, line 3, column \d+: not valid TOML"):
        load_recipe(path)


def test_a_recipe_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"name = '\xff'\n")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_recipe(path)


def test_a_missing_recipe_and_a_directory_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no recipe at .*nothing\.toml"):
        load_recipe(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="is a directory"):
        load_recipe(tmp_path)


def test_a_mistake_in_a_file_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"recipe\.toml: unknown key \"train\.step\""):
        load_recipe(write(tmp_path, "[train]\nstep = 3\n"))


def test_overrides_win_over_the_file_and_make_missing_tables(tmp_path):
    path = write(tmp_path, "[train]\nsteps = 3\nseed = 7\n")
    recipe = load_recipe(path, {"train.steps": 5, "evaluation.validation.samples": 8})
    assert (recipe.train.steps, recipe.train.seed) == (5, 7)
    assert recipe.evaluation.validation is not None
    assert recipe.evaluation.validation.samples == 8


def test_an_override_can_turn_a_table_off(tmp_path):
    path = write(tmp_path, "[evaluation.test]\nsamples = 3\n")
    assert load_recipe(path, {"evaluation.test": None}).evaluation.test is None


def test_an_override_through_a_value_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown key \"name\.first\""):
        load_recipe(write(tmp_path, 'name = "a"\n'), {"name.first": 1})


def test_every_key_tells_its_type_and_meaning():
    assert len(FIELDS) > 50
    without = [f.key for f in FIELDS.values() if not f.description]
    assert without == []
    assert FIELDS["train.steps"].default == 2000
    assert FIELDS["train.steps"].type_text == "whole number > 0"
    assert FIELDS["examples.first"].type_text == "whole number > 0 or none"


def test_a_key_that_may_be_none_is_none_by_default():
    # TOML has no null, so to_toml leaves such a key out; its default must then be None again.
    wrong = [f.key for f in FIELDS.values() if is_nullable(f.annotation) and f.default is not None]
    assert wrong == []


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("train.steps", "12", 12),
        ("optimizer.learning_rate", "5e-5", 5e-5),
        ("model.trust_remote_code", "true", True),
        ("model.path", "none", "none"),
        ("model.revision", "none", None),
        ("algorithm.sampler_correction", "none", "none"),  # a value of its own
        ("algorithm.covariance", "none", None),
        ("examples.first", "None", None),
        ("optimizer.betas", "[0.9, 0.95]", [0.9, 0.95]),
        (
            "examples.items",
            '[{"question": "1+1?", "answer": "2"}]',
            [{"question": "1+1?", "answer": "2"}],
        ),
        ("evaluation.test", "{samples = 4}", {"samples": 4}),
        ("evaluation.test", "none", None),
    ],
)
def test_a_flag_is_read_by_its_type(key, text, value):
    assert value_from_text(FIELDS[key], text) == value


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("train.steps", "many", 'train.steps is "many"; wanted a whole number > 0.'),
        ("train.steps", "0", "wanted a whole number > 0."),
        ("optimizer.betas", "0.9, 0.95", "Write it as JSON or inline TOML."),
        ("algorithm.averaging", "tokens", 'Did you mean "token"?'),
    ],
)
def test_a_flag_that_does_not_fit_is_refused(key, text, words):
    with pytest.raises(ConfigError) as caught:
        value_from_text(FIELDS[key], text)
    assert words in str(caught.value)


def test_equal_settings_have_equal_fingerprints_and_others_do_not():
    assert fingerprint(parse_recipe({})) == fingerprint(parse_recipe({"train": {"steps": 2000}}))
    assert fingerprint(parse_recipe({})) != fingerprint(parse_recipe({"train": {"steps": 2001}}))


@settings(deadline=None)  # a busy machine is no mistake
@given(
    name=st.text(max_size=20).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)),
    rate=st.floats(min_value=1e-12, max_value=1.0),
    steps=st.integers(min_value=1, max_value=10**9),
    first=st.none() | st.integers(min_value=1, max_value=100),
    test=st.none() | st.builds(dict, samples=st.integers(min_value=1, max_value=64)),
)
def test_a_recipe_survives_being_written_and_read(name, rate, steps, first, test):
    recipe = parse_recipe(
        {
            "name": name,
            "optimizer": {"learning_rate": rate},
            "train": {"steps": steps},
            "examples": {"first": first, "items": [{"question": name, "answer": "1"}]},
            "evaluation": {"test": test},
        }
    )
    again = parse_recipe(tomllib.loads(to_toml(recipe)))
    assert again == recipe
    assert fingerprint(again) == fingerprint(recipe)


def test_every_packaged_recipe_loads_by_name_and_by_path():
    names = packaged_recipes()
    assert len(names) >= 17
    for name in names:
        recipe = load_recipe(name)
        assert recipe == load_recipe(recipes_directory() / f"{name}.toml")
        assert recipe == load_recipe(f"recipes/{name}.toml")


def test_types_read_as_words():
    assert type_text(int | None) == "whole number or none"
    assert type_text(Literal["none", "a"] | None) == '"none" or "a"'
    assert type_text(tuple[float, float]) == "list of 2 numbers"
