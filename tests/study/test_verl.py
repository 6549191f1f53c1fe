"""A study on the backend verl: its runs are submitted one after the other, with verl's own command
lines. verl itself is a stand-in that notes when it is called and ends with an error."""

from __future__ import annotations

import json
import stat
import sys

import pytest

from oneshot_rlvr.verbs.study import study

STANDIN = """#!{python}
import json, os, sys, time
if sys.argv[1] == "-c":  # which versions are installed
    print(json.dumps({{name: "1.0" for name in sys.argv[3:]}}))
    sys.exit()
began = time.time()
time.sleep(1.5)
with open({notes!r}, "a") as file:
    file.write(json.dumps({{"began": began, "ended": time.time(), "words": sys.argv[1:]}}) + "\\n")
sys.exit("ValueError: no GPU is free")
"""


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study_on_verl")
    notes, python = folder / "notes.jsonl", folder / "python"
    python.write_text(STANDIN.format(python=sys.executable, notes=str(notes)))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    (folder / "base.toml").write_text(
        f'[backend]\nname = "verl"\npython = "{python}"\n'
        '[model]\npath = "tiny"\ndevice = "cpu"\n'
        "[rollouts]\nprompts_per_step = 2\ngroup_size = 2\nmax_prompt_tokens = 64\n"
        'max_new_tokens = 8\nengine = "hf"\n[train]\nsteps = 2\n'
        '[[examples.items]]\nid = "x"\nquestion = "What is 1 + 1?"\nanswer = "2"\n'
    )
    (folder / "mine.toml").write_text(
        'name = "mine"\nbase = "base.toml"\nseeds = [3, 4]\n'
        '[benchmarks.test]\nbenchmark = "tiny"\nquestions = 1\n[arms.outcome]\n'
    )
    found = study(folder / "mine.toml", out=folder / "out", runs=folder / "arms")
    return found, [json.loads(line) for line in notes.read_text().splitlines()]


def test_each_run_has_ended_before_the_next_is_submitted(submitted):
    _, calls = submitted
    assert len(calls) == 2
    assert calls[0]["ended"] <= calls[1]["began"]


def test_what_is_submitted_is_verls_trainer_with_the_runs_own_seed_and_folder(submitted):
    _, calls = submitted
    for seed, call in zip((3, 4), calls, strict=True):
        module, program, *words = call["words"]
        assert (module, program) == ("-m", "verl.trainer.main_ppo")
        settings = dict(word.lstrip("+").split("=", 1) for word in words)
        assert settings["actor_rollout_ref.actor.data_loader_seed"] == str(seed)
        assert settings["trainer.total_training_steps"] == "2"
    folders = [[word for word in call["words"] if "hydra.run.dir" in word] for call in calls]
    assert folders[0] != folders[1]


def test_a_run_that_fails_there_is_told_and_the_next_is_submitted(submitted):
    found, _ = submitted
    assert set(found.failures) == {"outcome, seed 3", "outcome, seed 4"}
    assert all("no GPU is free" in why for why in found.failures.values())
