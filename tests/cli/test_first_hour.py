"""What people type in their first hour, mistakes above all: each is told what to do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest

import oneshot_rlvr
from oneshot_rlvr.cli import VERBS, main
from oneshot_rlvr.cli.parser import ALSO_CALLED
from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.errors import DataError, OneshotError
from oneshot_rlvr.examples import load_file
from oneshot_rlvr.examples.gold import calculated, number_word
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.verbs.init import domains

NO_HELD_OUT = {"evaluation.validation": None, "evaluation.test": None}
FEN = "6k1/5ppp/8/8/8/8/5PPP/R5K1 w - - 0 1"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def scorer():
    with Scorer(load_recipe("tiny_one_shot").reward, seed=0) as made:
        yield made


def checked(path, text, scorer):
    path.write_text(text, encoding="utf-8")
    examples = load_file(path)
    scorer.check_golds(examples)
    return examples


def row(**fields):
    return json.dumps({"question": "Which?", **fields}) + "\n"


REFUSED = {
    "columns in capitals": (
        "a.csv",
        "Question,Answer,Verifier\n3+4?,7,numeric\n",
        """--examples.rename '{"Question": "question", "Answer": "answer", "Verifier": "verif""",
    ),
    "a column of another name": ("a.csv", "q,a\n3+4?,7\n", '{"q": "question", "a": "answer"}'),
    "a comma behind the row": ("a.jsonl", '{"question": "q", "answer": 7},\n', "ends with a comma"),
    "a comma before the bracket": ("a.jsonl", '{"question": "q",}\n', "before the closing bracket"),
    "single quotes": ("a.jsonl", "{'question': 'q'}\n", "JSON has double quotes"),
    "a spreadsheet": ("a.xlsx", "PK", "Save the sheet as CSV"),
    "a number in words": ("a.jsonl", row(answer="eight"), "Write 8"),
    "a calculation": ("a.jsonl", row(answer="5 + 3 = 8"), "Give the answer alone: 8"),
    "a sentence": ("a.jsonl", row(answer="Tom has 8 apples left."), "is prose"),
    "units for unit": (
        "a.jsonl",
        row(answer="7", verifier="numeric", units="EUR"),
        'numeric reads no column "units"; it reads unit',
    ),
    "a tolerance": (
        "a.jsonl",
        row(answer="7", verifier="numeric", tolerance="5%"),
        "it reads rel_tol and abs_tol",
    ),
    "options for choices": (
        "a.jsonl",
        row(answer="D", verifier="multiple_choice", options=["x", "y", "z"]),
        'multiple_choice reads no column "options"; it reads choices',
    ),
    "a column an option": (
        "a.csv",
        "question,A,B,C,answer,verifier\nWhich?,x,y,z,C,multiple_choice\n",
        'no column "A"; it reads choices',
    ),
    "choices as one text": (
        "a.csv",
        "question,answer,verifier,choices\nWhich?,B,multiple_choice,Moon|Mars|Sun\n",
        'Write them as JSON, in a CSV\'s cell too: ["Moon", "Mars", "Sun"]',
    ),
    "choices as Python prints them": (
        "a.jsonl",
        row(answer="B", verifier="multiple_choice", choices="['Moon', 'Mars']"),
        '["Moon", "Mars"]',
    ),
    "a position in the question only": (
        "a.jsonl",
        row(answer="Ra8#", verifier="chess_move"),
        "needs the position in a column fen",
    ),
    "a position in capitals": (
        "a.jsonl",
        row(answer="Ra8#", verifier="chess_move", FEN=FEN),
        'no column "FEN"; it reads fen',
    ),
    "a number as text": (
        "a.jsonl",
        row(answer="Ra8#", verifier="chess_move", fen=FEN, mate_in="1"),
        "wanted a whole number",
    ),
    "a verifier of another name, without a gold": (
        "a.jsonl",
        row(verifier="chess", fen=FEN),
        'The verifier here is "chess". Did you mean "chess_move"?',
    ),
    "test for tests": (
        "a.jsonl",
        row(answer="def f(): return 1", verifier="python_code", test="assert f() == 1"),
        'python_code reads no column "test"; it reads tests',
    ),
    "no tests": ("a.jsonl", row(verifier="python_code"), "option tests is missing"),
    "tests that compare and assert nothing": (
        "a.jsonl",
        row(verifier="python_code", tests="add(1, 2) == 3"),
        'the tests test nothing. Write "assert" before what must hold',
    ),
    "a list of such tests": (
        "a.jsonl",
        row(verifier="python_code", tests=["add(1, 2) == 3", "add(0, 0) == 0"]),
        "the tests test nothing",
    ),
    "an assert of nothing": (
        "a.jsonl",
        row(verifier="python_code", tests="x = add(1, 2)\nassert True"),
        'the tests pass whatever the code returns, so every answer would pass. Write "assert"',
    ),
}


@pytest.mark.parametrize(("name", "text", "words"), REFUSED.values(), ids=REFUSED)
def test_rows_that_nobody_would_reward_are_refused_with_what_to_do(name, text, words, here, scorer):
    with pytest.raises(DataError) as refused:
        checked(here / name, text, scorer)
    assert words in str(refused.value)


TAKEN = {
    "semicolons, as Excel writes them here": ("a.csv", "question;answer\n3, then 4?;7\n", "7"),
    "tabs": ("a.csv", "question\tanswer\n3+4?\t7\n", "7"),
    "a byte order mark and Windows lines": ("a.csv", "\ufeffquestion,answer\r\n3+4?,7\r\n", "7"),
    "an amount with its unit": ("a.jsonl", row(answer="$1,200", verifier="numeric"), "$1,200"),
    "a column nobody means": ("a.jsonl", row(answer="7", verifier="numeric", source="x"), "7"),
    "scores of a ranking": ("a.jsonl", row(answer="7", verifier="numeric", scores=[1]), "7"),
    "a gold beside the answer": ("a.jsonl", row(answer="7", gold="#### 7"), "7"),
    "an equation to solve": ("a.jsonl", row(answer="x = 8"), "x = 8"),
    "a sum that is left": ("a.jsonl", row(answer="5 + 3"), "5 + 3"),
    "tests of what is done in place": (
        "a.jsonl",
        row(verifier="python_code", tests="a = [2, 1]\norder(a)\nassert a == [1, 2]"),
        "",
    ),
    "tests that want nothing back": (
        "a.jsonl",
        row(verifier="python_code", tests="assert first([]) is None"),
        "",
    ),
}


@pytest.mark.parametrize(("name", "text", "gold"), TAKEN.values(), ids=TAKEN)
def test_what_is_right_in_another_form_is_taken(name, text, gold, here, scorer):
    assert [e.answer for e in checked(here / name, text, scorer)] == [gold]


def test_a_bad_gold_is_found_by_the_words_of_its_question(here, scorer):
    rows = row(answer="7", verifier="numeric") + json.dumps(
        {"question": "What is\n the rent?", "answer": "1.500,00 €", "verifier": "numeric"}
    )
    with pytest.raises(DataError, match=r"'1': the gold .* Its question: \"What is the rent\?\""):
        checked(here / "a.jsonl", rows, scorer)


@pytest.mark.parametrize(
    ("text", "result"),
    [("5+3=8", "8"), ("$18 * 6 + $79 = $187", "$187"), ("-5 + 3 = -2", "-2"), ("x = 8", None),
     ("2x + 3 = 8", None), ("3/4", None), ("1:2", None), ("8", None), ("8 = 8", None)],
)  # fmt: skip
def test_a_calculation_is_one_of_plain_numbers_that_says_its_result(text, result):
    assert calculated(text) == result


def test_one_word_is_a_number_and_more_are_not():
    assert (number_word("Twelve."), number_word("zero"), number_word("ninety")) == (12, 0, 90)
    assert number_word("one half") is None
    assert number_word("Tuesday") is None


MEANT = {
    "a verb": (["eval"], '"evaluate"'),
    "a verb by what it does": (["serve"], '"watch"'),
    "a kind of list": (["list", "verifier"], '"verifiers"'),
    "an option of a verb": (["evaluate", "tiny", "--benchmark", "tiny"], '"--benchmarks"'),
    "a table": (["train", "tiny_one_shot", "--model", "Qwen/x"], 'Did you mean "model.path"'),
    "a table of examples": (["train", "tiny_one_shot", "--examples", "a.jsonl"], '"examples.path"'),
    "a domain by what it is about": (["init", "x", "--domain", "nursing"], '"health"'),
    "a file behind the recipe": (
        ["train", "tiny_one_shot", "rows.jsonl"],
        "--examples.path rows.jsonl",
    ),
    "a file for the recipe": (
        ["train", "rows.jsonl"],
        "`oneshot train tiny_one_shot --examples.path rows.jsonl`",
    ),
    "the folder of a recipe": (["train", "started"], "Did you mean started/recipe.toml?"),
    "a run that is none": (
        ["train", "--resume", "nothere"],
        "holds no run that could be continued",
    ),
    "a folder of runs as a run": (["report", "runs"], "the runs in it are runs/a, runs/b"),
    "a folder that is not there": (["analyse", "nothere"], "there is no such folder"),
}


@pytest.mark.parametrize(("words", "told"), MEANT.values(), ids=MEANT)
def test_what_was_meant_is_told_in_one_line(words, told, here, capsys):
    (here / "rows.jsonl").write_text(row(answer="7"))
    main(["init", "started"])
    for name in "ab":
        (here / "runs" / name).mkdir(parents=True)
        (here / "runs" / name / "run.json").write_text("{}")
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_other_words_are_for_words_that_there_are():
    kinds = {"families", "arms", "engines"}
    assert set(ALSO_CALLED.values()) <= {*VERBS, *kinds}
    assert not set(ALSO_CALLED) & set(VERBS)
    from oneshot_rlvr.verbs.init import ALSO_CALLED as OF_DOMAINS

    assert set(OF_DOMAINS) == set(domains())


def test_a_missing_file_is_not_taken_for_one_that_only_ends_alike(here, capsys):
    (here / "r.jsonl").write_text(row(answer="7"))
    (here / "held_out.jsonl").write_text(row(answer="7"))
    assert main(["train", "tiny_one_shot", "--examples.path", "nothere.jsonl", "--dry-run"]) == 2
    assert "Did you mean" not in capsys.readouterr().err
    assert main(["train", "tiny_one_shot", "--examples.path", "heldout.jsonl", "--dry-run"]) == 2
    assert 'Did you mean "held_out.jsonl"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "held_out", "words"),
    [
        (row(answer="7", verifier="numerical"), None, 'Did you mean "numeric"?'),
        (row(answer="7", verifier="numeric", units="m"), None, "it reads unit"),
        (row(answer="7"), row(answer="eight"), "Write 8"),
        (row(answer="7"), row(answer="7"), "in both the training and the test set"),
        (row(answer="7"), "", "holds no examples"),
    ],
)
def test_a_dry_run_refuses_what_training_would(rows, held_out, words, here, capsys):
    (here / "rows.jsonl").write_text(rows)
    given = ["train", "tiny_one_shot", "--examples.path", "rows.jsonl", "--no-measure", "--dry-run"]
    if held_out is not None:
        (here / "held.jsonl").write_text(held_out)
        given += ["--evaluation.test", "held.jsonl"]
    assert main(given) == 2
    assert words in capsys.readouterr().err


def test_a_dry_run_counts_what_is_trained_on_and_what_is_held_out(here, capsys):
    assert main(["init", "mine", "--domain", "education"]) == 0
    assert main(["train", "mine/recipe.toml", "--dry-run", "--no-measure"]) == 0
    told = "# examples:  2 questions, 11 questions in the test set; every gold is accepted"
    assert told in capsys.readouterr().out


def test_questions_that_hide_their_choices_are_told(here, small_recipe, caplog):
    hidden = row(answer="B", verifier="multiple_choice", choices=["copper", "wood"])
    shown = json.dumps({"question": "A) copper B) wood?", "answer": "B",
                        "verifier": "multiple_choice", "choices": ["copper", "wood"]})  # fmt: skip
    from oneshot_rlvr.running.prepare import read_sets

    for rows, told in ((hidden + shown, True), (shown, False)):
        caplog.clear()
        (here / "rows.jsonl").write_text(rows)
        recipe = load_recipe("tiny_one_shot", {"examples.path": "rows.jsonl", **NO_HELD_OUT})
        with Scorer(recipe.reward, seed=0) as made:
            read_sets(recipe, made, {})
        assert ("1 of 2 questions show none of their choices" in caplog.text) is told


def test_more_steps_name_the_one_command_that_goes_on_and_it_does(small_recipe, here, capsys):
    import tomli_w

    recipe = small_recipe({"train.steps": 2, **NO_HELD_OUT})
    (here / "r.toml").write_text(tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True)))
    assert main(["train", "r.toml", "--out", "runs/mine"]) == 0
    capsys.readouterr()
    for words in (
        ["train", "--resume", "runs/mine", "--train.steps", "4"],
        ["train", "r.toml", "--train.steps", "4", "--out", "runs/mine", "--resume"],
        ["train", "r.toml", "--train.steps", "4", "--out", "runs/mine"],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        command = shlex.split(re.search("`(.*)`", said)[1])
        assert command == ["oneshot", "train", "--fork", "runs/mine", "--train.steps", "4",
                           "--out", "runs/mine-4"]  # fmt: skip
    assert main(command[1:]) == 0
    from oneshot_rlvr.records import Run

    assert Run("runs/mine-4").metrics()["step"].tolist() == [3, 4]
    assert Run("runs/mine").metrics()["step"].tolist() == [1, 2]
    # Fewer steps, or another setting beside them, are another run.
    with pytest.raises(OneshotError, match="another recipe"):
        oneshot_rlvr.train(small_recipe({"train.steps": 1, **NO_HELD_OUT}), out="runs/mine",
                           resume=True)  # fmt: skip
    with pytest.raises(OneshotError, match="another recipe"):
        oneshot_rlvr.train(
            small_recipe({"train.steps": 4, "train.seed": 5, **NO_HELD_OUT}),
            out="runs/mine",
            resume=True,
        )


def test_the_command_is_there_without_its_script():
    done = subprocess.run(
        [sys.executable, "-m", "oneshot_rlvr", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("oneshot-rlvr ")
    assert done.returncode == 0
