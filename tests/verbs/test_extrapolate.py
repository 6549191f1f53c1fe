"""`oneshot extrapolate` on a real small run: the model, the claim, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import oneshot_rlvr
from oneshot_rlvr.backends.local import run as train
from oneshot_rlvr.cli import main
from oneshot_rlvr.config import ModelConfig
from oneshot_rlvr.errors import ConfigError, RunError
from oneshot_rlvr.policy import load_policy
from oneshot_rlvr.train.loop import Silent
from oneshot_rlvr.verbs.extrapolate import FACTS, find_point

KEPT = {"train.steps": 6, "train.save_every": 2, "train.keep_checkpoints": 9}


@pytest.fixture(scope="module")
def trained(small_recipe, tmp_path_factory):
    """Six steps, all saved: 2, 4, 6."""
    out = tmp_path_factory.mktemp("runs") / "six"
    train(small_recipe(KEPT), out=out)
    return out


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Answers go below the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(directory) -> dict[str, torch.Tensor]:
    return load_policy(ModelConfig(path=str(directory))).model.state_dict()


def at(run, step):
    return run / "checkpoints" / f"step-{step:06d}"


def test_the_model_lies_on_the_line_and_is_judged_beside_the_real_one(trained, here):
    found = oneshot_rlvr.extrapolate(f"{trained}@2", f"{trained}@4", 6, out=here / "six")
    a, b, predicted = weights(at(trained, 2)), weights(at(trained, 4)), weights(here / "six")
    for name, weight in predicted.items():
        twin = a[name].double() + 2 * (b[name].double() - a[name].double())
        assert torch.equal(weight, twin.float()), name
    assert found.reach == 2
    assert found.real == f"{trained}@6"
    assert found.weights is not None
    assert -1 <= found.weights.cosine <= 1
    (told,) = found.told.values()
    assert told.gap is not None
    assert told.moved is not None
    # The three differences are of the same answers.
    gain, gap, moved = (one.over_questions.value for one in (told.gain, told.gap, told.moved))
    assert gain == pytest.approx(gap + moved)
    assert told.claim.word in ("held", "did not hold", "undecided")
    # It is a plain directory, with its tokenizer and what it was made of.
    names = {path.name for path in (here / "six").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer_config.json", "README.md"} <= names
    facts = json.loads((here / "six" / FACTS).read_text())
    assert (facts["a"]["step"], facts["b"]["step"], facts["to"]) == (2, 4, 6)


def test_the_run_is_asked_as_it_was_tested(trained, here):
    """The real model's accuracy is the one that the run recorded."""
    from oneshot_rlvr.records import Run

    found = oneshot_rlvr.extrapolate(f"{trained}@2", f"{trained}@4", 6, out=here / "six")
    (told,) = found.told.values()
    recorded = Run(trained).summary("test", 6)["overall"]["accuracy"]["value"]
    assert told.moved is not None
    assert told.moved.after.accuracy.value == pytest.approx(recorded)


def test_again_the_model_is_there_and_the_answers_are_kept(trained, here):
    call = (f"{trained}@2", f"{trained}@4", 6)
    first = oneshot_rlvr.extrapolate(*call, out=here / "six")
    stamp = (here / "six" / "model.safetensors").stat().st_mtime_ns
    again = oneshot_rlvr.extrapolate(*reversed(call[:2]), 6, out=here / "six")
    assert (first.reused, again.reused) == (False, True)
    assert (here / "six" / "model.safetensors").stat().st_mtime_ns == stamp
    assert first.as_dict() == again.as_dict()
    with pytest.raises(RunError, match="holds something else"):
        oneshot_rlvr.extrapolate(f"{trained}@0", f"{trained}@4", 6, out=here / "six")


def test_a_step_that_was_not_saved_is_predicted_and_not_judged(trained, here, capsys):
    assert main(["extrapolate", f"{trained}@0", f"{trained}@6", "--to", "9", "--out", "nine"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "does what the trained one does: not checked" in out
    assert "has no model of step 9" in out
    assert "it has steps 0 (its base), 2, 4, 6" in out
    assert "extrapolated to 9" in out
    assert "less real" in out


def test_json_has_no_nan(trained, here, capsys):
    words = ["extrapolate", f"{trained}@2", f"{trained}@4", "--to", "6", "--out", "x", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["benchmarks"]["test"]["claim"] in ("held", "did not hold", "undecided")


def test_merged_adapters_are_extrapolated_in_float32(small_recipe, here, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "lora"
    lora = {"model.lora": {"rank": 2}, "model.dtype": "bfloat16", "optimizer.learning_rate": 0.05}
    train(small_recipe({**KEPT, **lora, "train.steps": 4}), out=out)
    oneshot_rlvr.extrapolate(f"{out}@0", f"{out}@2", 4, out=here / "four")
    told = json.loads((here / "four" / "config.json").read_text())
    assert told["dtype"] == "float32"
    base = load_policy(small_recipe().model.model_copy(update={"dtype": "bfloat16"}))
    after, found = weights(at(out, 2)), weights(here / "four")
    start = load_policy(small_recipe().model).model.state_dict()
    for name, weight in found.items():
        twin = start[name].double() + 2 * (after[name].double() - start[name].double())
        assert torch.equal(weight, twin.float()), name
    assert base.dtype == torch.bfloat16


def refusals(run):
    return {
        "no step": ((str(run), f"{run}@4", 6), "names no step of a run; wanted RUN@STEP"),
        "the same step": ((f"{run}@4", f"{run}@4", 6), "named twice; a line needs two"),
        "not saved": ((f"{run}@3", f"{run}@4", 6), r"no model of step 3; it has steps 0 .*2, 4, 6"),
        "no later step": ((f"{run}@2", f"{run}@4", 4), "to is 4; wanted a step after 4"),
        "no run": ((f"{run}x@2", f"{run}@4", 6), "run.json"),
    }


@pytest.mark.parametrize(
    "case", ["no step", "the same step", "not saved", "no later step", "no run"]
)
def test_what_gives_no_line_is_refused_in_one_sentence(case, trained, here):
    call, words = refusals(trained)[case]
    with pytest.raises((ConfigError, RunError), match=words):
        oneshot_rlvr.extrapolate(*call)
    assert not any(here.iterdir())


def test_two_runs_are_no_line_and_a_fork_is_one(trained, small_recipe, here, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(trained, folder / "other")
    with pytest.raises(RunError, match=r"are two runs, .* a run and its fork"):
        oneshot_rlvr.extrapolate(f"{trained}@2", f"{folder / 'other'}@4", 6)
    fork = folder / "fork"
    train(small_recipe({**KEPT, "train.steps": 8}), out=fork, fork=f"{trained}@4")
    found = oneshot_rlvr.extrapolate(f"{trained}@2", f"{fork}@6", 8, out=here / "eight")
    assert found.real == f"{fork}@8"
    with pytest.raises(RunError, match=r"is a fork, which began with a checkpoint .* name step 4"):
        find_point(f"{fork}@0")


def test_an_unfinished_run_can_be_extrapolated(small_recipe, here):
    """What it is for: the steps that were not taken."""

    class Interrupting(Silent):
        def step(self, step, metrics):
            if step == 5:
                raise KeyboardInterrupt

    run = here / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(small_recipe(KEPT), out=run, progress=Interrupting())
    found = oneshot_rlvr.extrapolate(f"{run}@2", f"{run}@4", 100, out=here / "hundred")
    assert found.real is None
    assert "it is not finished" in found.notes[0]


def test_without_a_held_out_set_a_benchmark_is_asked_for(small_recipe, here, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "bare"
    recipe = small_recipe({**KEPT, "evaluation.validation": None, "evaluation.test": None})
    train(recipe, out=out)
    with pytest.raises(ConfigError, match="name it with benchmarks"):
        oneshot_rlvr.extrapolate(f"{out}@2", f"{out}@4", 6)
    assert not any(here.iterdir())
