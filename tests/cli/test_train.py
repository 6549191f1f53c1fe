"""`oneshot train`, stopped by a signal: exit code 0, and the command it prints goes on."""

from __future__ import annotations

import os
import shlex
import signal

import pytest

from oneshot_rlvr.cli import main
from oneshot_rlvr.config import to_toml
from oneshot_rlvr.records import Run
from oneshot_rlvr.rewards import Scorer


@pytest.fixture
def recipe(small_recipe, tmp_path):
    path = tmp_path / "small recipe.toml"  # a blank, which the printed command must quote
    path.write_text(to_toml(small_recipe({"evaluation.test": None})))
    return path


def signals_at(monkeypatch, step, times=1):
    score = Scorer.score

    def signalled(self, rollouts, examples, at):
        if at == step:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGTERM)
        return score(self, rollouts, examples, at)

    monkeypatch.setattr(Scorer, "score", signalled)


def test_the_first_signal_ends_with_success_and_the_printed_command_finishes_the_run(
    recipe, tmp_path, capfd, monkeypatch
):
    out = tmp_path / "run"
    signals_at(monkeypatch, 3)
    flags = ["--tracking.print_every", "1"]
    assert main(["train", str(recipe), "--out", str(out), *flags]) == 0
    monkeypatch.undo()
    told = capfd.readouterr()
    assert "SIGTERM: stopping after this step" in told.err
    said, command = told.out.splitlines()[-2:]
    assert said == "Stopped after step 3 of 4; all of it is saved. Continue with:"
    words = shlex.split(command)
    assert words[0] == "oneshot"
    assert words[-1] == "--resume"
    assert Run(out).status == "running"
    assert main(words[1:]) == 0
    assert Run(out).status == "finished"
    assert Run(out).rollout_steps() == [1, 2, 3, 4]


def test_the_second_signal_ends_at_once_with_another_exit_code_and_the_same_command(
    recipe, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "run"
    signals_at(monkeypatch, 3, times=2)
    assert main(["train", str(recipe), "--out", str(out)]) == 130
    monkeypatch.undo()
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert Run(out).rollout_steps() == [1, 2]  # the step is lost, and nothing else
    command = error.partition("Continue with: ")[2]
    assert main(shlex.split(command)[1:]) == 0
    assert Run(out).rollout_steps() == [1, 2, 3, 4]
