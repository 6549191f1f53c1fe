"""docs/own_example.md is true as it stands: its commands run, its rows are graded."""

import json
import re
import shlex
from pathlib import Path

import pytest

from oneshot_rlvr.cli import main
from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.examples import load_file
from oneshot_rlvr.rewards import Scorer

PAGE = (Path(__file__).parents[1] / "docs" / "own_example.md").read_text(encoding="utf-8")


def blocks(kind):
    return "".join(re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)).splitlines()


@pytest.mark.timeout(600)
def test_every_command_of_the_page_works_in_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands = blocks("bash")
    assert len(commands) == 10
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "oneshot"
        assert main(words[1:]) == 0, (command, capsys.readouterr().err)
    told = capsys.readouterr().out
    assert "reward.arm = random" in told.replace("\n", " ")
    assert "runs/control" in told


def test_every_row_of_the_page_is_an_example_that_its_verifier_accepts(tmp_path):
    rows = blocks("jsonl")
    for row in rows:
        assert json.loads(row)
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    examples = load_file(tmp_path / "rows.jsonl")
    assert len(examples) == len(rows) == 4
    with Scorer(load_recipe("tiny_one_shot").reward, seed=0) as scorer:
        scorer.check_golds(examples)
