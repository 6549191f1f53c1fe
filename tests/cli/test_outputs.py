"""What a verb writes never takes the place of something else, unless --overwrite says so.

A walk over every option that names a place to write to: a new one stands in the table or fails.
"""

from __future__ import annotations

import argparse
import json
import shutil

import pytest

from oneshot_rlvr.cli import build_parser, main
from oneshot_testing import files_of_at_most

POOL = [
    {"id": f"e{n}", "question": f"{n}: say a, please, and b.", "answer": "a",
     "verifier": "exact_match", "family": "f"}
    for n in range(4)
]  # fmt: skip

# verb, option -> (arguments before the option, what is written below the place given; "" itself)
WRITES = {
    ("select", "--out"): (["pool.jsonl", "--score", "first"], "x.parquet", ""),
    ("select", "--sets"): (["pool.jsonl", "--score", "first"], "sets", "top1_r128.parquet"),
    ("variants", "--out"): (["pool.jsonl", "--strip-suffix"], "x.jsonl", ""),
    ("report", "--out"): (["run"], "x.html", ""),
    ("analyse", "--out"): (["run"], "tables", "curves.csv"),
    ("evaluate", "--out"): (["MODEL", "--benchmarks", "pool.jsonl"], "x.json", ""),
    ("export", "--out"): (["tiny_one_shot", "--to", "trl"], "exported", "recipe.toml"),
    ("tiny pretrain", "--out"): (["--tokens", "0.001"], "base", "model.safetensors"),
}
# They have rules of their own, which their own tests hold: a run goes on with --resume only, a
# history too; graded answers lie beside those of another evaluation.
ELSEWHERE = {
    ("train", "--out"): "tests/backends/test_occupied.py",
    ("demo", "--out"): "tests/backends/test_occupied.py",
    ("select", "--history-out"): "tests/backends/test_occupied.py",
    ("evaluate", "--samples-out"): "tests/cli/test_evaluate.py",
    ("study", "--out"): "tests/study/test_study.py",
    ("import", "--out"): "tests/policy/test_gguf.py",
    ("diff", "--out"): "tests/verbs/test_diff.py",
    ("extrapolate", "--out"): "tests/verbs/test_extrapolate.py",
}


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in POOL))
    return tmp_path


def options(parser, verb=""):
    """(verb, longest name) of every option that takes a path to write to."""
    if getattr(parser, "fill", None) is not None:
        parser.fill, fill = None, parser.fill
        fill(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from options(below, f"{verb} {name}".strip())
        elif action.dest in ("out", "sets") or action.dest.endswith("_out"):
            yield verb, max(action.option_strings, key=len)


def test_every_option_that_names_an_output_is_walked():
    found = set(options(build_parser()))
    assert len(found) >= 11
    assert found == set(WRITES) | set(ELSEWHERE)


@pytest.fixture
def command(workdir, finished_run, babbler):
    def made(verb, option):
        given, place, below = WRITES[verb, option]
        if "run" in given:
            shutil.copytree(finished_run, workdir / "run")
        given = [str(babbler) if word == "MODEL" else word for word in given]
        if "MODEL" in WRITES[verb, option][0]:
            given += ["--max-new-tokens", "4", "--max-prompt-tokens", "99"]
        return [*verb.split(), *given, option, place], workdir / place, below

    return made


@pytest.mark.parametrize(("verb", "option"), WRITES)
def test_what_lies_where_an_output_goes_is_left_alone(command, capsys, verb, option):
    argv, place, below = command(verb, option)
    taken = place / below if below else place
    taken.parent.mkdir(parents=True, exist_ok=True)
    taken.write_text("mine")
    assert main(argv) == 2
    assert str(place.name) in capsys.readouterr().err
    assert taken.read_text() == "mine"
    if below:  # nothing lies beside it either
        assert [path.name for path in place.iterdir()] == [taken.name]
    if verb in ("export", "tiny pretrain"):  # a folder of many files: a new one it must be
        return
    assert main([*argv, "--overwrite"]) == 0
    assert taken.read_bytes() != b"mine"


@pytest.mark.parametrize("size", [0, 100, 1500])
@pytest.mark.parametrize(("verb", "option"), WRITES)
def test_an_output_that_finds_no_room_is_one_error_and_nothing_half(
    command, capsys, verb, option, size
):
    argv, place, below = command(verb, option)
    with files_of_at_most(size):
        code = main(argv)
    err = capsys.readouterr().err
    path = place / below if below else place
    if code == 0:  # all of it is smaller
        assert size
        assert max(len(p.read_bytes()) for p in [place, *place.rglob("*")] if p.is_file()) <= size
        return
    assert code == 2
    assert [line[:7] for line in err.splitlines() if "error" in line] == ["error: "], err
    assert "Raise the limit" in err or "raise the limit" in err or "room" in err
    assert not list(place.parent.rglob("*.part"))
    if verb == "export":
        assert not (place / "train.py").exists()  # what comes last
        return  # and it must be a new folder
    whole = {p: p.read_bytes() for p in [place, *place.rglob("*")] if p.is_file()}
    assert main(argv) == 0
    assert path.exists()
    if verb != "tiny pretrain":  # which goes on from its state
        assert {p: p.read_bytes() for p in whole} == whole  # nothing that stood there was half


@pytest.mark.parametrize(
    ("verb", "option"), [w for w in WRITES if w[0] not in ("export", "tiny pretrain")]
)
def test_the_same_again_is_no_other(command, capsys, verb, option):
    argv, place, below = command(verb, option)
    assert main(argv) == 0
    before = (place / below if below else place).read_bytes()
    assert main(argv) == 0
    assert (place / below if below else place).read_bytes() == before


def test_summaries_of_another_question_are_refused_before_any_is_asked(command, workdir, capsys):
    argv, place, _ = command("evaluate", "--out")
    assert main(argv) == 0
    before = place.read_bytes()
    shutil.rmtree(workdir / "evaluations")
    assert main([*argv, "--questions", "2"]) == 2
    assert "x.json is there already" in capsys.readouterr().err
    assert place.read_bytes() == before
    assert not list(workdir.rglob("*.journal.jsonl"))
    assert main([*argv, "--questions", "2", "--overwrite"]) == 0
    assert json.loads(place.read_bytes())["asked"]["questions"] == 2


def test_new_verdicts_take_the_place_of_none(babbler, workdir, capsys):
    given = ["--benchmarks", "pool.jsonl", "--max-new-tokens", "4", "--max-prompt-tokens", "99"]
    assert main(["evaluate", str(babbler), *given, "--samples-out", "ev"]) == 0
    (path,) = (workdir / "ev").glob("*.parquet")
    before = path.read_bytes()
    assert main(["evaluate", "--regrade", "ev"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["evaluate", "--regrade", "ev", "--samples-out", "again"]) == 0
    assert path.read_bytes() == before
    assert (workdir / "again" / path.name).exists()
    (workdir / "again" / path.name).write_text("mine")
    assert main(["evaluate", "--regrade", "ev", "--samples-out", "again"]) == 2
    assert (workdir / "again" / path.name).read_text() == "mine"
