"""The command line: mistakes are one line, help is complete and fast, dry runs tell the batch."""

from __future__ import annotations

import errno
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from oneshot_rlvr import cli
from oneshot_rlvr.cli import VERBS, main
from oneshot_rlvr.config import parse_recipe, recipe_fields
from oneshot_rlvr.config.loading import to_toml
from oneshot_rlvr.errors import ConfigError, UnknownNameError

PAPER = "paper_qwen25_math_1p5b_pi1"


def run(capsys, *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def code_of_help(*argv: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*argv, "--help"])
    return int(caught.value.code or 0)


MISTAKES = {
    "no such verb": (["evalute"], '"evalute" is not known. Did you mean "evaluate"?'),
    "no recipe given": (["train"], "oneshot train needs a RECIPE, or --resume RUN"),
    "no such recipe": (["train", "nothing.toml"], "no recipe at nothing.toml"),
    "no such key": (["train", PAPER, "--train.step", "3"], 'Did you mean "train.steps"?'),
    "no such key, with =": (["train", PAPER, "--train.step=3"], 'Did you mean "train.steps"?'),
    "no abbreviations": (["train", PAPER, "--dry"], 'unknown key "dry"'),
    "wrong type": (["train", PAPER, "--train.steps", "many"], 'train.steps is "many"; wanted'),
    "wrong choice": (["train", PAPER, "--model.dtype", "int8"], 'model.dtype is "int8"; wanted'),
    "unfit settings": (["train", PAPER, "--rollouts.group_size", "1"], "needs at least 2"),
    "unknown option": (["demo", "--sed", "3"], "unknown argument '--sed'"),
    "no such verifier": (
        ["verify", "--kind", "maths", "--text", "1"],
        'Did you mean "math_answer"?',
    ),
    "broken options": (["verify", "--text", "1", "--options", "{"], "is not JSON"),
    "no such kind": (["list", "recipe"], '"recipe" is not known. Did you mean "recipes"?'),
    "no such family": (["tiny", "examples", "ad"], 'Did you mean "add"?'),
    "no run": (["report", "no/such/run"], "no/such/run"),
    "no model": (["evaluate", "./no/such/model", "--seed", "1"], "no/such/model"),
}


@pytest.mark.parametrize(("argv", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(capsys, argv, words):
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert words in err


def test_debug_shows_the_traceback_of_a_mistake():
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        main(["train", "nothing.toml", "--debug"])


def test_debug_may_stand_anywhere():
    for argv in (["--debug", "tiny", "examples", "ad"], ["tiny", "examples", "ad", "--debug"]):
        with pytest.raises(UnknownNameError):
            main(argv)


def raising(error: BaseException):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt("Continue with --resume."), 130, "interrupted. Continue with --resume."),
        (
            OSError(errno.ENOSPC, "No space left on device", "a/b"),
            2,
            "No space left on device: a/b",
        ),
        (OSError(errno.EFBIG, "File too large", "a/b"), 2, "File too large: a/b. Raise the limit"),
        # safetensors, tokenizers and shutil make errors of their own of it
        (
            Exception("I/O error: No space left on device (os error 28)"),
            2,
            "No space left on device (os error 28). Free some space",
        ),
        (
            shutil.Error([("a", "b", "[Errno 28] No space left on device"), ("c", "d", "e")]),
            2,
            "b could not be written: [Errno 28] No space left on device. Free some space",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "Permission denied: /x"),
        (ConfigError("two\nlines"), 2, "two lines"),
    ],
)
def test_what_stops_a_verb_is_told_in_one_line(capsys, monkeypatch, error, code, words):
    monkeypatch.setattr("oneshot_rlvr.cli.report.run", raising(error))
    assert main(["report", "x"]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


FULL = Path("/dev/full")


def in_a_process(*argv: str, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
    code = "from oneshot_rlvr.cli import main; raise SystemExit(main())"
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        stdout=stdout, stderr=stderr, text=True, timeout=300, env=buffered,
    )  # fmt: skip


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_an_error_that_finds_no_room_ends_with_its_own_code():
    with FULL.open("w") as full:
        assert in_a_process("report", "no/such/run", stderr=full).returncode == 2
        assert in_a_process("report", "no/such/run", stdout=full, stderr=full).returncode == 2


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("argv", [["list", "algorithms"], ["tiny", "examples", "add"]])
def test_output_that_finds_no_room_is_one_error(argv):
    with FULL.open("w") as full:
        ended = in_a_process(*argv, stdout=full)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: No space left on device. Free some space")
    assert ended.stderr.count("\n") == 1


def test_a_bug_is_not_hidden(monkeypatch):
    monkeypatch.setattr("oneshot_rlvr.cli.report.run", raising(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        main(["report", "x"])


def test_no_arguments_print_help(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert all(verb in out for verb in VERBS)


def test_every_verb_has_help(capsys):
    assert len(VERBS) >= 8
    for verb in VERBS:
        assert code_of_help(verb) == 0
        assert f"oneshot {verb}" in capsys.readouterr().out


def test_train_help_shows_every_key_with_its_default(capsys):
    assert code_of_help("train") == 0
    # argparse wraps lines; a wrapped word never breaks inside.
    out = " ".join(capsys.readouterr().out.split())
    fields = recipe_fields()
    assert len(fields) > 50
    for field in fields:
        _, found, rest = out.partition(f"--{field.key} VALUE ")
        assert found, field.key
        assert "default " in rest.split(" --")[0], field.key
    assert "(whole number > 0; default 2000)" in out
    assert "[optimizer]:" in out


def test_a_dry_run_prints_a_recipe_and_the_batch_in_words(capsys):
    code, out, _ = run(
        capsys,
        *("train", PAPER, "--dry-run", "--train.steps", "10", "--train.updates_per_rollout", "3"),
        *("--rollouts.prompts_per_step=32", "--algorithm.entropy_coefficient=-1e-3"),
        *("--evaluation.test", "none", "--optimizer.betas", "[0.9, 0.95]"),
    )
    assert code == 0
    recipe = parse_recipe(tomllib.loads(out))
    assert recipe.train.steps == 10
    assert recipe.algorithm.entropy_coefficient == -0.001
    assert recipe.evaluation.test is None
    assert recipe.optimizer.betas == (0.9, 0.95)
    # By hand: 32 rows of 8; 3 updates share 32 rows, so at most 11 each; 10 steps.
    assert "32 rows x 8 rollouts = 256 rollouts" in out
    assert "11 rows, 88 rollouts; 3 updates a step" in out
    assert "10 steps, 30 optimizer updates, 2,560 rollouts" in out


def test_a_dry_run_tells_the_memory_and_the_micro_batch_that_fits(capsys):
    code, out, _ = run(capsys, "train", "tiny_one_shot", "--dry-run")
    assert code == 0
    told = [line for line in out.splitlines() if line.startswith("# ")]
    assert [line for line in told if line.startswith("# the model: 858,240 parameters, 32 bits")]
    (memory,) = [line for line in told if line.startswith("# memory:")]
    assert "program 700 MiB" in memory
    assert "KL reference" in memory
    assert re.search(r"train\.micro_batch_tokens is [\d,]+; up to [\d,]+ would fit", out)
    parse_recipe(tomllib.loads(out))  # all of it is comments to a reader of recipes


BAD_FILES = {
    "heldout.jsonl": (None, "no such file (looked in "),
    "empty.jsonl": ("", "holds no examples"),
    "broken.jsonl": ("{", "line 1: not valid JSON"),
}


@pytest.mark.parametrize(("name", "case"), BAD_FILES.items(), ids=BAD_FILES)
def test_a_dry_run_refuses_examples_as_training_does(name, case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held_out.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    text, words = case
    if text is not None:
        (tmp_path / name).write_text(text)
    given = ("train", "tiny_one_shot", "--examples.path", name)
    dry, wet = run(capsys, *given, "--dry-run"), run(capsys, *given)
    assert dry[0] == wet[0] == 2
    assert words in dry[2]
    assert dry[2] == wet[2]
    assert dry[1] == ""


def test_a_dry_run_counts_the_examples_and_leaves_those_of_others_alone(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONESHOT_DATA_DIR", raising=False)
    _, out, _ = run(capsys, "train", "tiny_one_shot", "--dry-run")
    assert "# examples:  1 question; every gold is accepted by its verifier\n" in out
    hub = ("--examples.path", "owner/name")
    _, out, _ = run(capsys, "train", "tiny_one_shot", *hub, "--dry-run")
    assert "# examples:  not read, owner/name is on the hub\n" in out
    _, out, _ = run(capsys, "train", PAPER, "--model.path", "tiny", "--dry-run")
    assert "# examples:  not read, there is no pi1_r128.parquet here; training needs it\n" in out


def test_a_dry_run_without_flags_changes_nothing(capsys):
    _, out, _ = run(capsys, "train", PAPER, "--dry-run")
    first = tomllib.loads(out)
    from oneshot_rlvr.config import load_recipe

    assert parse_recipe(first) == load_recipe(PAPER)


@pytest.mark.parametrize(
    "kind", ["recipes", "verifiers", "arms", "engines", "families", "benchmarks", "figures"]
)
def test_lists_name_what_there_is(capsys, kind):
    code, out, _ = run(capsys, "list", kind)
    assert code == 0
    expected = {"recipes": PAPER, "verifiers": "math_answer", "arms": "outcome"}
    expected |= {"engines": "hf", "families": "add", "benchmarks": "tiny", "figures": "accuracy"}
    lines = [line.split()[0] for line in out.splitlines()]
    assert expected[kind] in lines
    assert len(lines) == len(set(lines)) >= 2


def test_tiny_examples_are_rows_that_a_recipe_can_read(capsys, tmp_path):
    code, out, _ = run(capsys, "tiny", "examples", "add", "--count", "3", "--split", "train")
    assert code == 0
    path = tmp_path / "add.jsonl"
    path.write_text(out, encoding="utf-8")
    from oneshot_rlvr.config import ExamplesConfig
    from oneshot_rlvr.examples import load_examples

    assert len(load_examples(ExamplesConfig(path=str(path)))) == 3


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    return done.stdout


def test_help_is_fast_and_brings_neither_torch_nor_pydantic():
    # Measured by what is imported: a clock would fail on a busy machine.
    out = python(
        "import sys, oneshot_rlvr.cli as c; c.build_parser();"
        "print([m for m in ('torch', 'transformers', 'pydantic', 'pandas', 'numpy', 'rich')"
        " if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_the_verbs_of_the_table_are_modules_of_the_room():
    main([])  # registers every verb, hence imports its module
    for verb, name in VERBS.items():
        module = importlib.import_module(name)
        assert module.__name__.startswith(cli.__name__), verb
        assert callable(module.run)


def test_a_run_in_float16_is_planned_where_it_cannot_be_trained(capsys):
    words = ["train", "tiny_one_shot", "--model.dtype", "float16", "--model.device", "cpu"]
    code, out, _ = run(capsys, *words, "--dry-run", "--gpu", "L40S", "--price-per-hour", "1")
    assert code == 0
    assert "# the model: 858,240 parameters, 16 bits each, cpu" in out
    assert 'no step was measured here: model.dtype is "float16" and the device is a CPU' in out
    assert "by the speed of this machine's products" not in out  # it would not train it
    assert "on 1 x L40S 48 GB by the cost model" in out
    assert "# price:     about" in out


def test_a_dry_run_measures_a_step_and_tells_hours_and_the_price(capsys, small_recipe, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(to_toml(small_recipe({"train.steps": 1000})))
    words = ["train", str(path), "--dry-run", "--gpu", "H100:2", "--price-per-hour", "3"]
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert re.search(
        r"# time: +a step takes [\d.]+ s here, measured at the start with answers of", out
    )
    assert re.search(r"on 2 x H100 80 GB by the cost model, not measured: a step about", out)
    price, hours = re.search(
        r"price: +about ([\d,.]+) at 3 an hour and GPU, for ([\d,.]+)", out
    ).groups()
    assert float(price) == pytest.approx(3 * float(hours), rel=0.02, abs=0.02)
    # What was tried is gone, and the recipe stands as it was.
    assert [p.name for p in tmp_path.iterdir()] == ["small.toml"]


def test_a_dry_run_that_measures_nothing_says_why(capsys, small_recipe, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(to_toml(small_recipe()))
    code, out, _ = run(capsys, "train", str(path), "--dry-run", "--no-measure")
    assert code == 0
    assert "no step was measured here: it was not asked for" in out
    assert "by the speed of this machine's products a step would take about" in out
    long = ["--rollouts.prompts_per_step", "20000", "--rollouts.max_new_tokens", "190"]
    _, out, _ = run(capsys, "train", str(path), "--dry-run", *long)
    assert re.search(
        r"no step was measured here: it would take about [\d.,]+ (s|min|h), and more", out
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dry-run", "--gpu", "H1000"], "Known: A100, H100"),
        (["--dry-run", "--price-per-hour", "-1"], "wanted a number from 0 on"),
        (["--dry-run", "--answer-tokens", "0"], "wanted at least 1"),
        (["--gpu", "H100"], "--gpu is for --dry-run"),
        (["--price-per-hour", "2"], "--price-per-hour is for --dry-run"),
    ],
)
def test_options_of_the_forecast_that_cannot_be(words, message, capsys, tmp_path):
    out = ["--out", str(tmp_path / "run")]
    code, _, err = run(capsys, "train", "tiny_one_shot", *words, *out)
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()
