"""A recipe laid over another: what it keeps, what it replaces, what is refused."""

from pathlib import Path

import pytest
import tomli_w

from oneshot_rlvr.config import load_recipe, packaged_recipes
from oneshot_rlvr.errors import ConfigError

ABLATIONS = [name for name in packaged_recipes() if name.startswith("ablations/")]


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_tables_merge_and_lists_are_replaced(tmp_path):
    write(
        tmp_path,
        "under.toml",
        'note = "under"\n[train]\nsteps = 3\nseed = 4\n[examples]\nids = ["a", "b"]\n',
    )
    path = write(
        tmp_path, "over.toml", 'base = "under.toml"\n[train]\nsteps = 5\n[examples]\nids = ["c"]\n'
    )
    recipe = load_recipe(path)
    assert (recipe.note, recipe.train.steps, recipe.train.seed) == ("under", 5, 4)
    assert recipe.examples.ids == ["c"]
    assert load_recipe(path, {"train.seed": 9}).train.seed == 9


def test_a_base_may_have_a_base_and_may_be_packaged(tmp_path):
    write(tmp_path, "middle.toml", 'base = "tiny_one_shot"\nname = "middle"\n')
    recipe = load_recipe(write(tmp_path, "top.toml", 'base = "middle.toml"\n[train]\nseed = 7\n'))
    assert (recipe.name, recipe.model.path, recipe.train.seed) == ("middle", "tiny", 7)


ITEMS = [{"question": "2 + 3?", "answer": "5"}]


@pytest.mark.parametrize(
    ("key", "value", "left"),
    [
        ("examples.path", "mine.jsonl", {"items": None, "path": "mine.jsonl"}),
        ("examples.items", ITEMS, {"items": ITEMS, "path": None}),
    ],
)
def test_a_source_of_examples_replaces_the_other_one(tmp_path, key, value, left):
    other = {"examples.path": "tiny_one_shot", "examples.items": "paper_qwen25_math_1p5b_pi1"}[key]
    before = load_recipe(other).examples
    assert (before.items is None) is (key == "examples.items")
    given = load_recipe(other, {key: value}).examples
    assert {"items": given.items, "path": given.path} == left
    name = key.partition(".")[2]
    text = tomli_w.dumps({"base": other, "examples": {name: value}})
    laid = load_recipe(write(tmp_path, "over.toml", text)).examples
    assert laid == given


def test_both_sources_of_examples_in_one_place_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"items and examples\.path are both set"):
        load_recipe("tiny_one_shot", {"examples.items": ITEMS, "examples.path": "mine.jsonl"})
    own = {"base": "tiny_one_shot", "examples": {"items": ITEMS, "path": "mine.jsonl"}}
    with pytest.raises(ConfigError, match=r"items and examples\.path are both set"):
        load_recipe(write(tmp_path, "over.toml", tomli_w.dumps(own)))


def test_turning_one_source_off_leaves_the_other_alone():
    recipe = load_recipe("tiny_one_shot", {"examples.path": None})
    assert len(recipe.examples.items) == 1


def test_the_base_can_be_replaced_from_outside():
    recipe = load_recipe("ablations/policy", {"base": "tiny_one_shot", "train.steps": 2})
    assert (recipe.model.path, recipe.train.steps) == ("tiny", 2)
    assert (recipe.algorithm.kl_coefficient, recipe.optimizer.weight_decay) == (0, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('base = "self.toml"\n', "leads back to a recipe above it (self -> self)"),
        ('base = "nowhere"\n', "no recipe at nowhere."),
        ("base = 3\n", "base is 3; wanted a recipe's name or file."),
    ],
)
def test_a_base_that_cannot_be_is_refused(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, "self.toml", text))
    assert words in str(caught.value)


def test_an_unknown_recipe_names_the_nearest_in_a_folder_too():
    with pytest.raises(ConfigError, match=r'Did you mean "ablations/policy_decay_kl"'):
        load_recipe("ablations/policy_decay_k")


def test_the_ablations_are_the_rows_of_the_papers_table():
    assert len(ABLATIONS) == 11
    base = load_recipe("paper_qwen25_math_1p5b_pi1")
    terms = {}
    for name in ABLATIONS:
        recipe = load_recipe(name)
        alike = recipe.model_copy(
            update={
                key: getattr(base, key)
                for key in ("name", "note", "algorithm", "optimizer", "reward")
            }
        )
        assert alike == base, name  # nothing else differs
        algorithm = recipe.algorithm
        terms[name.removeprefix("ablations/")] = (
            bool(algorithm.policy_coefficient),
            bool(recipe.optimizer.weight_decay),
            bool(algorithm.kl_coefficient),
            bool(algorithm.entropy_coefficient),
            recipe.reward.wrong_label if recipe.reward.arm == "wrong_label" else None,
        )
    assert terms == {
        "nothing": (False, False, False, False, None),
        "policy": (True, False, False, False, None),
        "policy_decay": (True, True, False, False, None),
        "policy_decay_kl": (True, True, True, False, None),
        "policy_decay_kl_entropy": (True, True, True, True, None),
        "policy_entropy": (True, False, False, True, None),
        "decay_kl": (False, True, True, False, None),
        "entropy": (False, False, False, True, None),
        "label_near": (True, True, True, True, "12.7"),
        "label_wrong_guessable": (True, True, True, True, "4"),
        "label_wrong_unguessable": (True, True, True, True, "929725"),
    }
