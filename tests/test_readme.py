"""README's commands for one's own example run as they stand; what its demo shows agrees."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from oneshot_rlvr.records import Run
from oneshot_rlvr.tiny.families import FAMILIES
from oneshot_testing import table_rows

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def between(name: str) -> str:
    found = re.search(rf"<!-- {name}: begin -->\n(.*)<!-- {name}: end -->", README, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The block in a shell, its `oneshot` this checkout's; a training run made small by flags."""
    folder = tmp_path_factory.mktemp("own example")
    small = ["--train.steps", "1", "--rollouts.prompts_per_step", "2", "--train.threads", "1",
             "--evaluation.validation", "none", "--evaluation.test.questions", "1",
             "--evaluation.test.samples", "1"]  # fmt: skip
    program = folder / "bin" / "oneshot"
    program.parent.mkdir()
    program.write_text(
        f"""#!{sys.executable}
import sys
from oneshot_rlvr.cli import main
words = sys.argv[1:]
sys.exit(main(words + {small!r} if words[0] == "train" else words))
"""
    )
    program.chmod(0o755)
    lines = between("own example").splitlines()
    block = "\n".join(line.removeprefix("    ") for line in lines)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", block], cwd=folder, env={**os.environ, "PATH": path},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout)
    return folder


def test_ten_lines_train_on_ones_own_example_and_measure_it(example):
    assert len(between("own example").splitlines()) == 10
    run = Run(example / "runs" / "mine")
    assert run.status == "finished"
    (asked,) = {tuple(tokens) for tokens in run.rollouts([1])["prompt_tokens"]}
    assert len(asked) > 10
    told = run.info["recipe"]["examples"]["path"]
    assert told == "mine.jsonl"
    assert run.info["recipe"]["examples"]["items"] is None
    assert (example / "runs/mine/report.html").stat().st_size > 10_000
    (answers,) = (example / "runs/mine/asked").glob("held_out*.parquet")
    assert len(pd.read_parquet(answers)) == 2 * 16
    out = (example / "out.txt").read_text()
    assert "held_out, A: avg@16" in out
    assert "Tom has 52 cards" in out


def test_the_demos_table_names_families_that_exist_and_how_many_are_left_out():
    shown = [row[0].strip() for row in table_rows(between("demo"))]
    families = [name for name in shown if not name.startswith(("⋮", "all ", "overall"))]
    assert set(families) <= set(FAMILIES)
    left = len(FAMILIES) - len(families)
    assert f"{left} of the {len(FAMILIES)} families are left out" in between("demo")


def test_the_picture_is_there_and_says_what_the_table_says():
    picture = re.search(r"!\[.*?from ([\d.]+) % to ([\d.]+) %.*?\]\((.+?)\)", between("demo"))
    assert picture is not None
    assert (ROOT / picture[3]).read_bytes().startswith(b"\x89PNG")
    (overall,) = table_rows(between("demo"), "overall")
    before, after = (re.fullmatch(r" *([\d.]+) \[.*\] *", cell) for cell in overall[1:3])
    assert before is not None
    assert after is not None
    assert (before[1], after[1]) == picture.groups()[:2]


@pytest.mark.parametrize("line", re.findall(r"^    (oneshot .+?)(?: +#.*)?$",
    (ROOT / "docs/using.md").read_text(encoding="utf-8"), re.MULTILINE))  # fmt: skip
def test_the_commands_of_the_page_of_verbs_are_understood(line):
    from oneshot_rlvr.cli import build_parser
    from oneshot_rlvr.cli.recipe_flags import overrides

    args = build_parser().parse_all(shlex.split(line)[1:])
    assert overrides(args) is not None
