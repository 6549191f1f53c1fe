"""The first hour with examples of one's own, as the command line meets it."""

from __future__ import annotations

import json
import math

import pytest

import oneshot_rlvr
from oneshot_rlvr.cli import main
from oneshot_rlvr.config import load_recipe, recipe_fields
from oneshot_rlvr.errors import ConfigError, DataError, OneshotError, with_arguments
from oneshot_rlvr.examples import load_file
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.settings import value_from_text
from oneshot_rlvr.verbs.init import domains, init
from oneshot_rlvr.verbs.runs import runs

LINES = {"evaluation.validation": None, "evaluation.test": None}


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "row",
    [
        {"question": "add(a, b)?", "verifier": "python_code", "tests": "assert add(1, 2) == 3"},
        {
            "question": "Mate?",
            "verifier": "chess_move",
            "fen": "6k1/5ppp/8/8/8/8/5PPP/R5K1 w - - 0 1",
            "mate_in": 1,
        },
    ],
)
def test_a_row_whose_options_say_what_is_right_needs_no_gold(row, here):
    examples = load_file(jsonl(here / "a.jsonl", row))
    assert [e.answer for e in examples] == [""]
    with Scorer(load_recipe("tiny_one_shot").reward, seed=0) as scorer:
        scorer.check_golds(examples)


def test_a_row_that_needs_a_gold_is_told_of_options_as_columns(here):
    file = jsonl(here / "a.jsonl", {"question": "2 + 2?", "tests": "x"})
    with pytest.raises(DataError, match="tests, fen, choices, unit"):
        load_file(file)


def test_a_function_beside_the_data_grades_in_the_workers_too(here):
    (here / "data").mkdir()
    (here / "data" / "own_check_of_mine.py").write_text(
        "def check(text, example):\n    return '7' in text\n"
    )
    row = {
        "question": "say 7",
        "answer": "7",
        "verifier": "custom",
        "function": "own_check_of_mine:check",
    }
    examples = load_file(jsonl(here / "data" / "a.jsonl", row))
    with Scorer(load_recipe("tiny_one_shot").reward, seed=0) as scorer:
        verdicts = scorer.grade_texts(["a 7", "an 8"], examples * 2)
    assert [v.correct for v in verdicts] == [True, False]


def test_a_function_that_is_nowhere_says_where_was_looked(here):
    row = {
        "question": "q",
        "answer": "7",
        "verifier": "custom",
        "function": "not_there_at_all:check",
    }
    examples = load_file(jsonl(here / "a.jsonl", row))
    with (
        Scorer(load_recipe("tiny_one_shot").reward, seed=0) as scorer,
        pytest.raises(DataError, match=f"current folder .*{here.name}.*beside the examples"),
    ):
        scorer.check_golds(examples)


def test_a_held_out_file_is_asked_as_the_recipe_asks_its_own_test(here):
    jsonl(here / "held.jsonl", {"question": "2 + 2?", "answer": "4"})
    test = load_recipe("tiny_one_shot", {"evaluation.test": "held.jsonl"}).evaluation.test
    assert (test.benchmark, test.samples, test.temperature) == ("held.jsonl", 8, 0.6)
    assert test.questions == 0  # the 20 of each generated family are not for it
    from oneshot_rlvr.evaluation import load_benchmark

    assert [e.answer for e in load_benchmark(test).examples] == ["4"]


def test_files_are_found_beside_the_recipe_and_none_is_a_table_that_is_off(here):
    (here / "mine").mkdir()
    jsonl(here / "mine" / "a.jsonl", {"question": "2 + 2?", "answer": "4"})
    (here / "mine" / "r.toml").write_text(
        'base = "tiny_one_shot"\n[examples]\npath = "a.jsonl"\n[evaluation]\n'
        'validation = "none"\ntest = "a.jsonl"\n'
    )
    recipe = load_recipe("mine/r.toml")
    assert recipe.examples.path == "mine/a.jsonl"
    assert recipe.evaluation.validation is None
    assert recipe.evaluation.test.benchmark == "mine/a.jsonl"


NUMBERS = [field for field in recipe_fields() if "number" in field.type_text]
ABSURD = ["9" * 23, "-" + "9" * 23, "1e308", "-1e308", "nan", "inf", "-inf", "1e999"]


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.key)
def test_every_number_of_a_recipe_has_bounds_that_its_error_names(field):
    for text in ABSURD:
        with pytest.raises(ConfigError, match=field.key.replace(".", r"\.")):
            load_recipe("tiny_one_shot", {field.key: value_from_text(field, text)})
    assert len(NUMBERS) > 60


def test_the_largest_seed_trains_and_a_larger_one_is_refused(small_recipe, tmp_path):
    recipe = small_recipe({"train.seed": (1 << 63) - 1, "train.steps": 1, **LINES})
    assert oneshot_rlvr.train(recipe, out=tmp_path / "run").stopped_after is None
    with pytest.raises(ConfigError, match="9,223,372,036,854,775,807"):
        small_recipe({"train.seed": 1 << 63})


def test_a_run_that_trained_nothing_makes_way_and_is_kept(small_recipe, tmp_path, monkeypatch):
    out = tmp_path / "run"
    from oneshot_rlvr.backends import local

    def broken(*args):
        raise RuntimeError("nothing came of it")

    with monkeypatch.context() as patch:
        patch.setattr(local, "run_steps", broken)
        with pytest.raises(RuntimeError):
            oneshot_rlvr.train(small_recipe({"train.steps": 1}), out=out)
    assert [one.state for one in runs(tmp_path)] == ["untrained"]
    oneshot_rlvr.train(small_recipe({"train.steps": 2, **LINES}), out=out)
    assert {one.path.name: one.state for one in runs(tmp_path)} == {
        "run": "finished",
        "run.untrained": "untrained",
    }


def test_a_run_is_listed_and_goes_on_by_its_name_alone(small_recipe, tmp_path, capsys):
    out = tmp_path / "run"
    oneshot_rlvr.train(small_recipe({"train.steps": 2}), out=out)
    (listed,) = runs(tmp_path)
    assert (listed.state, listed.step, listed.steps, listed.arm) == ("finished", 2, 2, "outcome")
    assert listed.before is not None
    assert listed.after is not None
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    assert main(["runs", str(tmp_path), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["state"] for one in told} == {"finished", "unreadable"}
    assert main(["train", "--resume", str(out)]) == 0
    assert "Reused the finished run" in capsys.readouterr().out
    assert main(["train", "--resume", str(out), "--train.steps", "3"]) == 2
    assert f"--fork {out}" in capsys.readouterr().err
    assert main(["train", "--resume"]) == 2
    assert "--resume RUN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("math", "math_answer"),
        ("code", "python_code"),
        ("chess", "chess_move"),
        ("numerc", "numeric"),
    ],
)
def test_a_name_is_suggested_by_its_words_before_its_letters(given, wanted):
    known = ["math_answer", "regex_match", "python_code", "chess_move", "numeric"]
    assert f'"{wanted}"' in nearest(given, known)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("lr", "optimizer.learning_rate"), ("num_generations", "rollouts.group_size"),
     ("beta", "algorithm.kl_coefficient"), ("max_steps", "train.steps")],
)  # fmt: skip
def test_what_other_trainers_call_a_key_is_understood(theirs, ours, capsys):
    assert main(["train", "tiny_one_shot", f"--{theirs}", "3"]) == 2
    assert f'Did you mean "{ours}"' in capsys.readouterr().err


def test_other_names_are_those_of_keys_that_exist():
    from oneshot_rlvr.settings import ALSO_CALLED

    assert set(ALSO_CALLED.values()) <= {field.key for field in recipe_fields()}


def test_arms_are_listed_with_what_they_pay(capsys):
    assert main(["list", "arms"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert len(line.split(maxsplit=1)) == 2, line


def test_the_package_shows_its_verbs_and_their_help():
    assert {"train", "evaluate", "select", "report", "analyse"} <= set(dir(oneshot_rlvr))
    assert "importlib" not in dir(oneshot_rlvr)
    assert oneshot_rlvr.train.__doc__.startswith("train(recipe")
    assert "overrides: dotted keys" in oneshot_rlvr.train.__doc__


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("choose another directory with --out.", "choose another directory with out."),
        ("continue it with --resume or", "continue it with resume=True or"),
        (
            "give one (--history), make one (--make-history RECIPE)",
            "give one (history), make one (make_history)",
        ),
        ("run `oneshot train RECIPE --resume`.", "run `oneshot train RECIPE --resume`."),
        ("set --train.steps=3", "set train.steps=3"),
    ],
)
def test_errors_of_calls_name_arguments(said, told):
    assert with_arguments(said) == told


def test_a_call_that_fails_names_arguments_and_the_command_line_flags(small_recipe, tmp_path):
    oneshot_rlvr.train(small_recipe({"train.steps": 1, **LINES}), out=tmp_path / "run")
    with pytest.raises(OneshotError, match="resume=True") as called:
        oneshot_rlvr.train(small_recipe({"train.steps": 1, **LINES}), out=tmp_path / "run")
    assert "--" not in str(called.value)


@pytest.mark.parametrize("domain", list(domains()))
def test_a_started_folder_grades_and_trains_as_it_stands(domain, here, capsys):
    assert main(["init", "mine", "--domain", domain]) == 0
    assert "next: oneshot train mine/recipe.toml" in capsys.readouterr().out
    assert 1 <= len((here / "mine/examples.jsonl").read_text().splitlines()) <= 4
    assert len((here / "mine/README.md").read_text().splitlines()) == 5
    small = ["--train.steps", "1", "--rollouts.prompts_per_step", "2", "--rollouts.group_size", "2"]
    asked = ["--evaluation.test.samples", "1", "--rollouts.max_new_tokens", "16"]
    assert main(["train", "mine/recipe.toml", *small, *asked, "--out", "run"]) == 0
    mine = here / "mine/examples.jsonl"
    begun = mine.read_text()
    (here / "mine/README.md").unlink()  # as a call that was cut short leaves it
    assert len(init("mine", domain=domain)) == 4
    assert mine.read_text() == begun
    (here / "mine/README.md").unlink()
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=r"examples\.jsonl already, which is kept"):
        init("mine", domain=domain)
    assert mine.read_text() == "mine"
    assert not (here / "mine/README.md").exists()


def test_the_domains_are_those_that_the_help_names():
    from oneshot_rlvr.cli.init import DOMAINS

    assert sorted(DOMAINS) == sorted(domains())


def test_a_pool_smaller_than_a_step_gets_the_visits_that_its_score_needs(small_recipe, here):
    import tomli_w

    recipe = small_recipe({"train.steps": 1, **LINES}).model_dump(mode="json", exclude_none=True)
    (here / "r.toml").write_text(tomli_w.dumps(recipe))
    rows = [{"question": f"say a {n}", "answer": "a", "verifier": "exact_match"} for n in range(2)]
    pool = jsonl(here / "pool.jsonl", *rows)
    found = oneshot_rlvr.select(
        pool, make_history="r.toml", history_out=here / "h", score="variance"
    )
    assert found.cost.steps == 2
    with pytest.raises(ConfigError, match="visits is 1 and the score needs 2"):
        oneshot_rlvr.select(
            pool, make_history="r.toml", visits=1, history_out=here / "i", score="limr"
        )
    assert not (here / "i").exists()


def test_a_step_of_forty_eight_million_rollouts_does_not_fit(capsys):
    assert (
        main(["train", "tiny_one_shot", "--rollouts.prompts_per_step", "1000000", "--dry-run"]) == 0
    )
    assert "does NOT fit" in capsys.readouterr().out
    assert math.isfinite(load_recipe("tiny_one_shot").rollouts.temperature)
